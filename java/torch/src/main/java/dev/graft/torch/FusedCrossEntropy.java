package dev.graft.torch;

import static dev.graft.torch.Arguments.address;
import static dev.graft.torch.Arguments.bytes;
import static dev.graft.torch.Arguments.refuse;
import static dev.graft.torch.Arguments.zeroed;

import dev.graft.bindings.Status;
import dev.graft.bindings.global.graft;
import dev.graft.bindings.graft_classifier_args;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import org.bytedeco.javacpp.IntPointer;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * {@code cross_entropy} and its gradient in one pass, in place of the logits: a vocabulary's logits
 * need no second copy for their gradient. One thread at a time.
 */
public final class FusedCrossEntropy implements AutoCloseable {
  private static final int SLOT = 0;

  /**
   * What a pass came to.
   *
   * @param sum of the losses of the rows counted
   * @param count rows counted: those whose target is not the ignored one
   */
  public record Loss(double sum, long count) {
    /** The mean, as PyTorch reduces by default: NaN if no row counts. */
    public double mean() {
      return sum / count;
    }
  }

  private final Device device;
  private final int ignoreIndex;
  private final graft_classifier_args args = zeroed(new graft_classifier_args());

  /** Ignores targets of −100, without smoothing. */
  public FusedCrossEntropy(Device device) {
    this(device, -100, 0);
  }

  /**
   * @param ignoreIndex target of rows that do not count
   * @param labelSmoothing part of each target that is spread over all classes, 0 to 1
   */
  public FusedCrossEntropy(Device device, int ignoreIndex, double labelSmoothing) {
    this.device = device;
    this.ignoreIndex = ignoreIndex;
    args.struct_size(args.sizeof())
        .slot(SLOT)
        .ignore_index(ignoreIndex)
        .label_smoothing((float) labelSmoothing);
  }

  /**
   * The loss; the logits become the gradient of its mean.
   *
   * @param logits [N, V], fp32 or bf16, rows of a wider matrix allowed; overwritten
   * @param targets [N], int32, or int64 as PyTorch has them (then N integers are converted)
   */
  public Loss forwardBackward(Tensor logits, Tensor targets) {
    return run(logits, targets, false);
  }

  /** The loss alone; the logits stay as they are. */
  public Loss forward(Tensor logits, Tensor targets) {
    return run(logits, targets, true);
  }

  private Loss run(Tensor logits, Tensor targets, boolean forwardOnly) {
    DType dtype = TorchTensors.dtype("logits", logits);
    if (!dtype.isFloat()) {
      throw refuse("logits", "FLOAT32 or BFLOAT16", dtype);
    }
    TorchTensors.rows("logits", logits, device, dtype, -1, -1);
    if (targets.defined() && targets.scalar_type().intern() == ScalarType.Long) {
      try (Tensor narrow = targets.to(ScalarType.Int)) {
        return run(logits, dtype, narrow, forwardOnly);
      }
    }
    return run(logits, dtype, targets, forwardOnly);
  }

  private Loss run(Tensor logits, DType dtype, Tensor targets, boolean forwardOnly) {
    TorchTensors.contiguous("targets", targets, device, DType.INT32, logits.size(0));
    long count = counted(targets);
    args.logits(address(logits))
        .targets(targets.numel() == 0 ? null : new IntPointer(targets.data_ptr()))
        .rows(logits.size(0))
        .vocabulary(logits.size(1))
        .row_stride(logits.size(0) > 1 ? TorchTensors.rowStride(logits) : logits.size(1))
        .forward_only(forwardOnly ? 1 : 0)
        .dtype(dtype.code());
    try (Tensor workspace =
        Arguments.workspace(
            logits, out -> graft.graft_classifier_workspace(device.context(), args, out))) {
      args.workspace(address(workspace)).workspace_bytes(bytes(workspace));
      device.stepBegin(0, 0, 0, 0, count == 0 ? 0 : 1f / count, 1);
      device.lossReset();
      Status.check(graft.graft_classifier(device.context(), args));
      device.stepRead();
    }
    return new Loss(device.lossSum(SLOT), device.lossCount(SLOT));
  }

  private long counted(Tensor targets) {
    try (Scalar ignored = new Scalar(ignoreIndex);
        Tensor counts = targets.ne(ignored);
        Tensor sum = counts.sum()) {
      return sum.item_long();
    }
  }

  @Override
  public void close() {
    args.close();
  }
}
