package dev.graft.torch;

import static dev.graft.torch.Arguments.refuse;
import static dev.graft.torch.Arguments.zeroed;

import dev.graft.bindings.Status;
import dev.graft.bindings.global.graft;
import dev.graft.bindings.graft_adamw_args;
import dev.graft.bindings.graft_grad_norm_args;
import dev.graft.bindings.graft_parameter;
import dev.graft.bindings.graft_parameter_set;
import dev.graft.runtime.Address;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.PointerPointer;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;

/**
 * AdamW over all parameters in one launch, with the global norm, the clip and the check for
 * non-finite gradients that otherwise take passes of their own (Loshchilov &amp; Hutter,
 * arXiv:1711.05101, algorithm 2). Shaped as PyTorch's optimizers are:
 *
 * <pre>{@code
 * FusedAdamW optimizer = new FusedAdamW(device, module.parameters(), FusedAdamW.Options.of(1e-3));
 * loss.backward();
 * optimizer.step();       // clips, checks, updates, zeroes the gradients
 * }</pre>
 *
 * <p>Parameters and their gradients are fp32 and contiguous. A step with a non-finite norm changes
 * no parameter ({@link #skippedSteps}). Adam's t is the device's: one optimizer a device. One
 * thread at a time.
 */
public final class FusedAdamW implements AutoCloseable {
  /**
   * Settings.
   *
   * @param clip largest gradient norm; 0 for no clipping
   * @param zeroGrad whether a step leaves the gradients zero, in the same pass
   */
  public record Options(
      double lr,
      double beta1,
      double beta2,
      double eps,
      double weightDecay,
      double clip,
      boolean zeroGrad) {

    /** PyTorch's defaults at a learning rate, clipped to 1, gradients left zero. */
    public static Options of(double lr) {
      return new Options(lr, 0.9, 0.999, 1e-8, 1e-2, 1, true);
    }
  }

  private final Device device;
  private final Tensor[] parameters;
  private final Tensor[] firstMoments;
  private final Tensor[] secondMoments;
  private final long[] gradients;
  private final double weightDecay;
  private final graft_adamw_args update = zeroed(new graft_adamw_args());
  private final graft_grad_norm_args norm = zeroed(new graft_grad_norm_args());
  private graft_parameter_set set;
  private double lr;

  /**
   * @param parameters fp32, contiguous; kept, not copied
   * @throws IllegalArgumentException if one is not, by its number
   */
  public FusedAdamW(Device device, TensorVector parameters, Options options) {
    this.device = device;
    int count = Math.toIntExact(parameters.size());
    this.parameters = new Tensor[count];
    firstMoments = new Tensor[count];
    secondMoments = new Tensor[count];
    gradients = new long[count];
    for (int i = 0; i < count; i++) {
      // A handle of its own: the vector may go.
      Tensor parameter = new Tensor(parameters.get(i));
      long[] shape = parameter.defined() ? Arguments.shape(parameter) : new long[0];
      TorchTensors.contiguous("parameter " + i, parameter, device, DType.FLOAT32, shape);
      this.parameters[i] = parameter;
      firstMoments[i] = Arguments.empty(parameter, DType.FLOAT32, parameter.numel()).zero_();
      secondMoments[i] = Arguments.empty(parameter, DType.FLOAT32, parameter.numel()).zero_();
    }
    lr = options.lr();
    weightDecay = options.weightDecay();
    update
        .struct_size(update.sizeof())
        .beta1((float) options.beta1())
        .beta2((float) options.beta2())
        .eps((float) options.eps())
        .zero_grad(options.zeroGrad() ? 1 : 0);
    norm.struct_size(norm.sizeof()).max_norm((float) options.clip());
    device.restore(0, 0);
  }

  /** The learning rate of the steps to come. */
  public void setLearningRate(double rate) {
    lr = rate;
  }

  /**
   * Clips, checks and updates.
   *
   * @throws IllegalArgumentException if a parameter has no gradient, or not an fp32 one of its
   *     shape
   */
  public void step() {
    bind();
    device.stepBegin(0, 0, (float) lr, 0, 1, 1);
    Status.check(graft.graft_grad_norm(device.context(), norm));
    Status.check(graft.graft_adamw(device.context(), update));
  }

  /** Gradients may be other tensors than at the last step: PyTorch's zero_grad drops them. */
  private void bind() {
    boolean moved = set == null;
    for (int i = 0; i < parameters.length; i++) {
      // A handle that waited for the garbage collector would keep the gradient's memory.
      try (Tensor grad = parameters[i].grad()) {
        if (!grad.defined()) {
          throw refuse("parameter " + i, "a gradient", "none (backward() makes it)");
        }
        TorchTensors.contiguous(
            "gradient " + i, grad, device, DType.FLOAT32, Arguments.shape(parameters[i]));
        long address = grad.numel() == 0 ? 0 : grad.data_ptr().address();
        moved |= gradients[i] != address;
        gradients[i] = address;
      }
    }
    if (moved) {
      makeSet();
    }
  }

  private void makeSet() {
    dropSet();
    int count = parameters.length;
    try (graft_parameter list = new graft_parameter(Math.max(1, count));
        PointerPointer<graft_parameter_set> out = new PointerPointer<>(1)) {
      Pointer.memset(list, 0, (long) count * list.sizeof());
      for (int i = 0; i < count; i++) {
        list.position(i)
            .grad(Address.floats(gradients[i]))
            .weight(floats(parameters[i]))
            .weight16(null)
            .m(floats(firstMoments[i]))
            .v(floats(secondMoments[i]))
            .count(parameters[i].numel())
            .weight_decay((float) weightDecay)
            .lr_scale(1);
      }
      list.position(0);
      Status.check(graft.graft_parameter_set_create(device.context(), list, count, out));
      set = out.get(graft_parameter_set.class);
    }
    update.parameters(set);
    norm.parameters(set);
  }

  private void dropSet() {
    if (set != null) {
      Status.check(graft.graft_parameter_set_destroy(device.context(), set));
      set = null;
    }
  }

  private static FloatPointer floats(Tensor tensor) {
    return tensor.numel() == 0 ? null : new FloatPointer(tensor.data_ptr());
  }

  /** The last step's gradient norm before clipping. Waits for the device. */
  public double gradNorm() {
    device.stepRead();
    return device.gradNorm();
  }

  /** Steps that were not applied for a non-finite norm. Waits for the device. */
  public long skippedSteps() {
    device.stepRead();
    return device.skippedSteps();
  }

  /** Zeroes the gradients there are. */
  public void zeroGrad() {
    for (Tensor parameter : parameters) {
      try (Tensor grad = parameter.grad()) {
        if (grad.defined()) {
          grad.zero_();
        }
      }
    }
  }

  /** Frees the moments; parameters stay the module's. */
  @Override
  public void close() {
    dropSet();
    for (int i = 0; i < parameters.length; i++) {
      parameters[i].close();
      firstMoments[i].close();
      secondMoments[i].close();
    }
    update.close();
    norm.close();
  }
}
