package dev.graft.bench;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.bindings.global.graft;
import dev.graft.bindings.graft_add_norm_args;
import dev.graft.bindings.graft_add_norm_backward_args;
import dev.graft.io.Json;
import dev.graft.runtime.Device;
import dev.graft.runtime.Philox;
import java.util.LinkedHashMap;
import java.util.Map;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Residual + dropout + LayerNorm, both outputs used (pre-LN), so that the backward pass has both
 * gradients; against libtorch's add and layer_norm, with the documented mask where there is
 * dropout.
 */
public final class AddNormCase extends KernelCase {
  private static final float EPS = 1e-5f;
  private final long rows;
  private final long channels;
  private final int dropout;
  private final int outDropout;
  private final boolean backward;
  private final double[] x;
  private final double[] residual;
  private final double[] gamma;
  private final double[] beta;
  private final double[] dout;
  private final double[] dsum;
  private final Tensor tx;
  private final Tensor tresidual;
  private final Tensor tgamma;
  private final Tensor tbeta;
  private final Tensor tdout;
  private final Tensor tdsum;
  private final Tensor sum;
  private final Tensor out;
  private final Tensor mean;
  private final Tensor rstd;
  private final Tensor dresidual;
  private final Tensor dx;
  private final Tensor dgamma;
  private final Tensor dbeta;
  private final Tensor dbias;
  private final Tensor space;
  private final graft_add_norm_args forward = zeroed(new graft_add_norm_args());
  private final graft_add_norm_backward_args back = zeroed(new graft_add_norm_backward_args());

  public AddNormCase(
      Device device,
      int dtype,
      long rows,
      long channels,
      int dropout,
      int outDropout,
      boolean backward) {
    super(device, dtype);
    this.rows = rows;
    this.channels = channels;
    this.dropout = dropout;
    this.outDropout = outDropout;
    this.backward = backward;
    x = Torch.normal(1, rows * channels, 1, type);
    residual = Torch.normal(2, rows * channels, 1, type);
    gamma = Torch.normal(3, channels, 1, type);
    beta = Torch.normal(4, channels, 1, type);
    dout = Torch.normal(5, rows * channels, 1, type);
    dsum = Torch.normal(6, rows * channels, 1, type);
    tx = Torch.of(x, type, rows, channels);
    tresidual = Torch.of(residual, type, rows, channels);
    tgamma = Torch.of(gamma, type, channels);
    tbeta = Torch.of(beta, type, channels);
    tdout = Torch.of(dout, type, rows, channels);
    tdsum = Torch.of(dsum, type, rows, channels);
    sum = Torch.zeros(type, rows, channels);
    out = Torch.zeros(type, rows, channels);
    dresidual = Torch.zeros(type, rows, channels);
    dx = Torch.zeros(type, rows, channels);
    mean = Torch.zeros(Torch.F32, rows);
    rstd = Torch.zeros(Torch.F32, rows);
    dgamma = Torch.zeros(Torch.F32, channels);
    dbeta = Torch.zeros(Torch.F32, channels);
    dbias = Torch.zeros(Torch.F32, channels);
    forward
        .struct_size(forward.sizeof())
        .x(Torch.address(tx))
        .residual(Torch.address(tresidual))
        .sum(Torch.address(sum))
        .out(Torch.address(out))
        .gamma(Torch.address(tgamma))
        .beta(Torch.address(tbeta))
        .mean(floats(mean))
        .rstd(floats(rstd))
        .rows(rows)
        .channels(channels)
        .eps(EPS)
        .dropout(dropout)
        .out_dropout(outDropout)
        .op_id(3)
        .out_op_id(4)
        .dtype(dtype);
    back.struct_size(back.sizeof())
        .dout(Torch.address(tdout))
        .dsum(Torch.address(tdsum))
        .sum(Torch.address(sum))
        .gamma(Torch.address(tgamma))
        .mean(floats(mean))
        .rstd(floats(rstd))
        .dresidual(Torch.address(dresidual))
        .dx(dropout == 0 ? null : Torch.address(dx))
        .dgamma(floats(dgamma))
        .dbeta(floats(dbeta))
        .dbias(floats(dbias))
        .rows(rows)
        .channels(channels)
        .dropout(dropout)
        .out_dropout(outDropout)
        .op_id(3)
        .out_op_id(4)
        .dtype(dtype);
    try (LongPointer bytes = new LongPointer(1)) {
      check(graft.graft_add_norm_backward_workspace(context, back, bytes));
      space = workspace(bytes.get());
    }
    back.workspace(space.data_ptr()).workspace_bytes(space.numel() * 4);
  }

  private static FloatPointer floats(Tensor tensor) {
    return tensor.numel() == 0 ? null : new FloatPointer(tensor.data_ptr());
  }

  @Override
  public String op() {
    return backward ? "add_norm forward+backward" : "add_norm forward";
  }

  @Override
  public String shape() {
    return rows
        + "x"
        + channels
        + (dropout > 0 ? " dropout " + dropout : "")
        + (outDropout > 0 ? " out dropout " + outDropout : "");
  }

  private Tensor mask(int k, int opId, ScalarType precision) {
    return Torch.of(
        KeepMask.hidden(Philox.streamKey(SEED, STEP, opId), k, rows, channels),
        precision,
        rows,
        channels);
  }

  @Override
  public Map<String, double[]> reference(ScalarType precision) {
    Tensor rx = Torch.leaf(x, precision, rows, channels);
    Tensor rr = Torch.leaf(residual, precision, rows, channels);
    Tensor rg = Torch.leaf(gamma, precision, channels);
    Tensor rb = Torch.leaf(beta, precision, channels);
    Tensor dropped = dropout == 0 ? rx : rx.mul(mask(dropout, 3, precision));
    Tensor s = rr.add(dropped);
    Tensor normed = norm(s, rg, rb);
    Tensor o = outDropout == 0 ? normed : normed.mul(mask(outDropout, 4, precision));
    Map<String, double[]> results = new LinkedHashMap<>();
    results.put("sum", Torch.values(s));
    results.put("out", Torch.values(o));
    if (backward) {
      o.mul(Torch.of(dout, precision, rows, channels))
          .sum()
          .add(s.mul(Torch.of(dsum, precision, rows, channels)).sum())
          .backward();
      results.put("dresidual", Torch.values(rr.grad()));
      results.put("dx", Torch.values(rx.grad()));
      results.put("dgamma", Torch.values(rg.grad()));
      results.put("dbeta", Torch.values(rb.grad()));
      results.put("dbias", Torch.values(rx.grad().to(precision).sum(0)));
    }
    return results;
  }

  private Tensor norm(Tensor s, Tensor g, Tensor b) {
    return torch.layer_norm(
        s, new long[] {channels}, new TensorOptional(g), new TensorOptional(b), EPS, false);
  }

  @Override
  public Map<String, double[]> results() {
    dgamma.zero_();
    dbeta.zero_();
    dbias.zero_();
    runGraft();
    Map<String, double[]> results = new LinkedHashMap<>();
    results.put("sum", Torch.values(sum));
    results.put("out", Torch.values(out));
    if (backward) {
      results.put("dresidual", Torch.values(dresidual));
      results.put("dx", Torch.values(dropout == 0 ? dresidual : dx));
      results.put("dgamma", Torch.values(dgamma));
      results.put("dbeta", Torch.values(dbeta));
      results.put("dbias", Torch.values(dbias));
    }
    return results;
  }

  @Override
  public void runGraft() {
    step(0, 1);
    check(graft.graft_add_norm_forward(context, forward));
    if (backward) {
      check(graft.graft_add_norm_backward(context, back));
    }
  }

  @Override
  public ObjectNode pytorch() {
    return dropout > 0 || outDropout > 0
        ? null
        : Json.object()
            .put("op", "add_norm")
            .put("rows", rows)
            .put("channels", channels)
            .put("backward", backward);
  }

  @Override
  public void runTorch() {
    if (backward) {
      Tensor rx = tx.detach().set_requires_grad(true);
      Tensor rr = tresidual.detach().set_requires_grad(true);
      Tensor rg = tgamma.detach().set_requires_grad(true);
      Tensor rb = tbeta.detach().set_requires_grad(true);
      Tensor s = rr.add(rx);
      Tensor o = norm(s, rg, rb);
      // Both outputs carry a gradient; one backward call from their dot products would add passes
      // that a model does not make, so the two gradients are handed to autograd as they are.
      org.bytedeco.pytorch.TensorVector roots = new org.bytedeco.pytorch.TensorVector(o, s);
      org.bytedeco.pytorch.TensorVector grads = new org.bytedeco.pytorch.TensorVector(tdout, tdsum);
      torch.backward(
          roots,
          grads,
          new org.bytedeco.pytorch.BoolOptional(),
          false,
          new org.bytedeco.pytorch.TensorVector());
      rx.grad().sum(0);
    } else {
      try (NoGradGuard guard = new NoGradGuard()) {
        norm(tresidual.add(tx), tgamma, tbeta);
      }
    }
  }

  @Override
  public double bytes() {
    return (backward ? 8.0 : 4.0) * rows * channels * elementBytes();
  }

  @Override
  public void close() {
    forward.close();
    back.close();
  }
}
