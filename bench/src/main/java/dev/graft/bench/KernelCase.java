package dev.graft.bench;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.bindings.Status;
import dev.graft.bindings.global.graft;
import dev.graft.bindings.graft_context;
import dev.graft.runtime.Device;
import java.util.Map;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * One kernel on one shape. The same object gives Graft's results, libtorch's at any precision, and
 * runs both for the clock. Graft's kernels work on libtorch's own memory, without a copy.
 *
 * <p>A new op is added by a subclass and a line in {@link KernelCases}.
 */
public abstract class KernelCase implements AutoCloseable {
  protected final Device device;
  protected final graft_context context;
  protected final int dtype;
  protected final ScalarType type;

  protected KernelCase(Device device, int dtype) {
    this.device = device;
    this.context = device.context();
    this.dtype = dtype;
    this.type = Torch.type(dtype);
  }

  /** For example {@code "attention"}. */
  public abstract String op();

  /** For example {@code "B4 H12 T512 D64 causal"}. */
  public abstract String shape();

  /** libtorch's results by name, gradients through autograd, computed at {@code precision}. */
  public abstract Map<String, double[]> reference(ScalarType precision);

  /** Graft's results under the same names. */
  public abstract Map<String, double[]> results();

  /** What is timed. */
  public abstract void runGraft();

  /** Makes what {@link #runTorch} keeps from run to run; called once before it. */
  public void prepareTorch() {}

  /** libtorch's way to the same results at this case's dtype. */
  public abstract void runTorch();

  /**
   * The same work as a case of bench/peers/torch_peers.py, without its dtype, or null if it has
   * none.
   */
  public ObjectNode pytorch() {
    return null;
  }

  /** Bytes that have to be moved at least; 0 if the op is bound by arithmetic. */
  public double bytes() {
    return 0;
  }

  /** Floating-point operations that have to be done; 0 if the op is bound by memory. */
  public double flops() {
    return 0;
  }

  public String dtypeName() {
    return dtype == graft.GRAFT_BFLOAT16 ? "bf16" : "fp32";
  }

  protected int elementBytes() {
    return dtype == graft.GRAFT_BFLOAT16 ? 2 : 4;
  }

  protected static void check(int status) {
    if (status != graft.GRAFT_OK) {
      Status.check(status);
    }
  }

  protected static <A extends Pointer> A zeroed(A args) {
    Pointer.memset(args, 0, args.sizeof());
    return args;
  }

  /** A workspace of so many bytes that libtorch owns, 64-byte aligned as its allocator does. */
  protected static Tensor workspace(long bytes) {
    return Torch.zeros(Torch.F32, Math.max(16, (bytes + 3) / 4));
  }

  protected void step(float lr, float scale0) {
    device.stepBegin(SEED, STEP, lr, 0, scale0, 1);
  }

  protected static final long SEED = 0x1234_5678_9abc_def0L;
  protected static final long STEP = 7;

  @Override
  public void close() {}
}
