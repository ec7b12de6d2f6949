package dev.graft.runtime;

import dev.graft.bindings.Status;
import dev.graft.bindings.global.graft;
import dev.graft.bindings.graft_context;
import dev.graft.bindings.graft_context_options;
import dev.graft.bindings.graft_step_inputs;
import dev.graft.bindings.graft_step_results;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Set;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.PointerPointer;

/**
 * A device, its stream and its step state: one native context. One thread at a time uses it; {@link
 * #activate()} makes the calling thread that one. Closing it closes the arenas on it.
 */
public final class Device extends NativeOwner {
  private final graft_context context;
  private final String name;
  private final int threads;
  private final graft_step_inputs inputs = new graft_step_inputs();
  private final graft_step_results results = new graft_step_results();
  private final Set<Arena> arenas = Collections.newSetFromMap(new IdentityHashMap<>());
  private Gemm gemm;

  private Device(int backend, String name, int index, int threads) {
    this.name = name;
    try (graft_context_options options = new graft_context_options();
        PointerPointer<graft_context> out = new PointerPointer<>(1)) {
      Pointer.memset(options, 0, options.sizeof());
      options.struct_size(options.sizeof()).backend(backend).device(index).threads(threads);
      Status.check(graft.graft_context_create(options, out));
      this.context = out.get(graft_context.class);
    }
    this.threads = graft.graft_context_threads(context);
    Pointer.memset(inputs, 0, inputs.sizeof());
    inputs.struct_size(inputs.sizeof());
    Pointer.memset(results, 0, results.sizeof());
    results.struct_size(results.sizeof());
    activate();
  }

  /** The processor, with OpenMP's default number of threads. */
  public static Device cpu() {
    return cpu(0);
  }

  /** The processor, with a number of threads; 0 for OpenMP's default. */
  public static Device cpu(int threads) {
    if (threads < 0) {
      throw new IllegalArgumentException("threads: expected at least 0, got " + threads);
    }
    return new Device(graft.GRAFT_CPU, "cpu", 0, threads);
  }

  /** Binds the calling thread to this device. Call it once on each thread that uses the device. */
  public void activate() {
    requireOpen();
    Status.check(graft.graft_context_activate(context));
  }

  /** {@code "cpu"} or {@code "cuda:0"}. */
  public String name() {
    return name;
  }

  /** CPU threads an op uses. */
  public int threads() {
    return threads;
  }

  /** The native context, for prepared calls. */
  public graft_context context() {
    requireOpen();
    return context;
  }

  /** The context without the check, for owners that give memory back while this closes. */
  graft_context handle() {
    return context;
  }

  synchronized void add(Arena arena) {
    requireOpen();
    arenas.add(arena);
  }

  synchronized void remove(Arena arena) {
    arenas.remove(arena);
  }

  /** Matrix products on this device. */
  public synchronized Gemm gemm() {
    requireOpen();
    if (gemm == null) {
      gemm = new OneDnnGemm(this);
    }
    return gemm;
  }

  /**
   * Writes what a step reads: seed and number of the random draws, learning rate, live sequences
   * (0: as recorded) and a factor for the gradient of each loss.
   */
  public void stepBegin(long seed, long step, float lr, int sequences, float scale0, float scale1) {
    inputs.seed(seed).step(step).lr(lr).sequences(sequences);
    inputs.loss_scale(0, scale0);
    inputs.loss_scale(1, scale1);
    check(graft.graft_step_begin(context(), inputs));
  }

  /** Sets the loss sums and counts to zero. */
  public void lossReset() {
    check(graft.graft_loss_reset(context()));
  }

  /** Waits for the device and reads its counters into the accessors below. */
  public void stepRead() {
    check(graft.graft_step_read(context(), results));
  }

  /**
   * Sum of the losses of slot {@code slot} since the last reset, as of the last {@link #stepRead}.
   */
  public double lossSum(int slot) {
    return results.loss_sum(slot);
  }

  /** Labels counted for loss {@code slot}, as of the last {@link #stepRead}. */
  public long lossCount(int slot) {
    return results.loss_count(slot);
  }

  /**
   * Sum of the weights of the labels counted for loss {@code slot}, what its mean divides by, as of
   * the last {@link #stepRead}: their number where there are no class weights.
   */
  public double lossWeight(int slot) {
    return results.loss_weight(slot);
  }

  /** Gradient norm before clipping, as of the last {@link #stepRead}. */
  public float gradNorm() {
    return results.grad_norm();
  }

  /** Whether the last norm was not finite, as of the last {@link #stepRead}. */
  public boolean skipped() {
    return results.skip() != 0;
  }

  /** Optimizer steps applied, as of the last {@link #stepRead}. */
  public long adamSteps() {
    return results.adam_t();
  }

  /** Optimizer steps skipped for a non-finite norm, as of the last {@link #stepRead}. */
  public long skippedSteps() {
    return results.skipped_steps();
  }

  /** Sets the optimizer's counters (resume) and zeroes the losses. */
  public void restore(long adamSteps, long skippedSteps) {
    Pointer.memset(results, 0, results.sizeof());
    results.struct_size(results.sizeof()).adam_t(adamSteps).skipped_steps(skippedSteps);
    check(graft.graft_step_restore(context(), results));
  }

  /** Returns when all work is done. */
  public void synchronize() {
    check(graft.graft_synchronize(context()));
  }

  private static void check(int status) {
    if (status != graft.GRAFT_OK) {
      Status.check(status);
    }
  }

  @Override
  protected void release() {
    if (gemm != null) {
      gemm.close();
    }
    for (Arena arena : List.copyOf(arenas)) {
      arena.close();
    }
    graft.graft_context_destroy(context);
    inputs.close();
    results.close();
  }

  @Override
  protected String description() {
    return "device " + name;
  }
}
