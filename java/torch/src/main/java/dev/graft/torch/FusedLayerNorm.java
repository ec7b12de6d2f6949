package dev.graft.torch;

import static dev.graft.torch.Arguments.address;
import static dev.graft.torch.Arguments.bytes;
import static dev.graft.torch.Arguments.refuse;
import static dev.graft.torch.Arguments.zeroed;

import dev.graft.bindings.Status;
import dev.graft.bindings.global.graft;
import dev.graft.bindings.graft_add_norm_args;
import dev.graft.bindings.graft_add_norm_backward_args;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.pytorch.Tensor;

/**
 * Residual addition and {@code layer_norm} in one pass, forward and backward: s = x + residual, out
 * = LayerNorm(s) · γ + β over the last axis (Ba et al., arXiv:1607.06450). One thread at a time.
 */
public final class FusedLayerNorm implements AutoCloseable {
  /**
   * What the backward pass reads.
   *
   * @param out as x
   * @param sum x + residual; x itself without a residual
   * @param mean fp32, one a row
   * @param rstd fp32, one a row: 1 / √(variance + ε)
   */
  public record Result(Tensor out, Tensor sum, Tensor mean, Tensor rstd, Tensor gamma) {}

  /**
   * Gradients.
   *
   * @param dsum gradient of the sum, which is that of x and of the residual
   * @param dgamma fp32 [C]
   * @param dbeta fp32 [C]
   */
  public record Gradients(Tensor dsum, Tensor dgamma, Tensor dbeta) {}

  private final Device device;
  private final graft_add_norm_args forward = zeroed(new graft_add_norm_args());
  private final graft_add_norm_backward_args backward = zeroed(new graft_add_norm_backward_args());

  /** PyTorch's ε is 1e-5, BERT's 1e-12. */
  public FusedLayerNorm(Device device, double eps) {
    this.device = device;
    forward.struct_size(forward.sizeof()).eps((float) eps);
    backward.struct_size(backward.sizeof());
  }

  /**
   * Adds and normalises.
   *
   * @param x [..., C] contiguous, fp32 or bf16
   * @param residual as x, or null
   * @param gamma [C] of the dtype of x
   * @param beta [C] of the dtype of x
   */
  public Result forward(Tensor x, Tensor residual, Tensor gamma, Tensor beta) {
    DType dtype = TorchTensors.dtype("x", x);
    if (!dtype.isFloat() || x.dim() == 0) {
      throw refuse("x", "FLOAT32 or BFLOAT16 of one axis or more", x.dim() + " axes of " + dtype);
    }
    long[] shape = Arguments.shape(x);
    TorchTensors.contiguous("x", x, device, dtype, shape);
    if (residual != null) {
      TorchTensors.contiguous("residual", residual, device, dtype, shape);
    }
    long channels = shape[shape.length - 1];
    long rows = channels == 0 ? 0 : x.numel() / channels;
    TorchTensors.contiguous("gamma", gamma, device, dtype, channels);
    TorchTensors.contiguous("beta", beta, device, dtype, channels);
    Tensor sum = residual == null ? x : Arguments.empty(x, dtype, shape);
    Result result =
        new Result(
            Arguments.empty(x, dtype, shape),
            sum,
            Arguments.empty(x, DType.FLOAT32, rows),
            Arguments.empty(x, DType.FLOAT32, rows),
            gamma);
    if (rows > 0) {
      forward
          .x(address(x))
          .residual(address(residual))
          .sum(residual == null ? null : address(sum))
          .out(address(result.out()))
          .gamma(address(gamma))
          .beta(address(beta))
          .mean(new FloatPointer(result.mean().data_ptr()))
          .rstd(new FloatPointer(result.rstd().data_ptr()))
          .rows(rows)
          .channels(channels)
          .dtype(dtype.code());
      Status.check(graft.graft_add_norm_forward(device.context(), forward));
    }
    return result;
  }

  /**
   * The gradients of a forward pass.
   *
   * @param dout gradient of its output, contiguous, as it
   * @param dsum gradient that reaches the sum by another way, contiguous, as it; or null
   */
  public Gradients backward(Result result, Tensor dout, Tensor dsum) {
    Tensor sum = result.sum();
    DType dtype = TorchTensors.dtype("sum", sum);
    long[] shape = Arguments.shape(sum);
    TorchTensors.contiguous("dout", dout, device, dtype, shape);
    if (dsum != null) {
      TorchTensors.contiguous("dsum", dsum, device, dtype, shape);
    }
    long channels = shape[shape.length - 1];
    Gradients gradients =
        new Gradients(
            Arguments.empty(sum, dtype, shape),
            Arguments.empty(sum, DType.FLOAT32, channels).zero_(),
            Arguments.empty(sum, DType.FLOAT32, channels).zero_());
    if (sum.numel() > 0) {
      backward
          .dout(address(dout))
          .dsum(address(dsum))
          .sum(address(sum))
          .gamma(address(result.gamma()))
          .mean(new FloatPointer(result.mean().data_ptr()))
          .rstd(new FloatPointer(result.rstd().data_ptr()))
          .dresidual(address(gradients.dsum()))
          .dgamma(new FloatPointer(gradients.dgamma().data_ptr()))
          .dbeta(new FloatPointer(gradients.dbeta().data_ptr()))
          .rows(sum.numel() / channels)
          .channels(channels)
          .dtype(dtype.code());
      try (Tensor workspace =
          Arguments.workspace(
              sum,
              out -> graft.graft_add_norm_backward_workspace(device.context(), backward, out))) {
        backward.workspace(address(workspace)).workspace_bytes(bytes(workspace));
        Status.check(graft.graft_add_norm_backward(device.context(), backward));
      }
    }
    return gradients;
  }

  @Override
  public void close() {
    forward.close();
    backward.close();
  }
}
