package dev.graft.runtime;

import dev.graft.bindings.Status;
import dev.graft.bindings.global.graft;
import dev.graft.bindings.graft_context;
import dev.graft.bindings.graft_context_options;
import dev.graft.bindings.graft_event;
import dev.graft.bindings.graft_step_inputs;
import dev.graft.bindings.graft_step_results;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.PointerPointer;

/**
 * A device, its stream and its step state: one native context. One thread at a time uses it; {@link
 * #activate()} makes the calling thread that one. Closing it closes the arenas on it.
 */
public final class Device extends NativeOwner {
  private enum Kind {
    CPU,
    CUDA,
    EMULATED
  }

  /**
   * System property: the most bytes that arenas of one device may hold together. To share a device,
   * or to see what a run does when there is no more.
   */
  public static final String MEMORY_LIMIT = "dev.graft.memory.limit";

  private static final long CARD_RESERVE = 512L << 20;
  private static final int FLOAT8_CAPABILITY = 89;
  private static final int HOPPER = 90;
  private static final Pattern CUDA_NAME = Pattern.compile("cuda(?::(\\d{1,3}))?");

  /** CUDA's name for its default stream where a null would mean none: cudaStreamLegacy. */
  private static final long LEGACY_STREAM = 1;

  private final Kind kind;
  private final boolean captures;
  private final graft_context context;
  private final String name;
  private final int index;
  private final int threads;
  private final graft_step_inputs inputs = new graft_step_inputs();
  private final graft_step_results results = new graft_step_results();
  private final HeldArenas arenas;
  private final Set<Graph> graphs = Collections.newSetFromMap(new IdentityHashMap<>());
  private final Staging staging;
  private Gemm gemm;

  private Device(Kind kind, String name, int index, int threads) {
    this(kind, name, index, threads, null, limit());
  }

  private static long limit() {
    return Long.getLong(MEMORY_LIMIT, Long.MAX_VALUE);
  }

  private Device(Kind kind, String name, int index, int threads, Pointer stream, long memoryLimit) {
    this.arenas = new HeldArenas(memoryLimit);
    this.kind = kind;
    this.captures = kind != Kind.CPU && (stream == null || stream.address() != LEGACY_STREAM);
    this.name = name;
    this.index = index;
    this.staging = kind == Kind.CPU ? null : new Staging(this);
    int backend = kind == Kind.CPU ? graft.GRAFT_CPU : graft.GRAFT_CUDA;
    try (graft_context_options options = new graft_context_options();
        PointerPointer<graft_context> out = new PointerPointer<>(1)) {
      Pointer.memset(options, 0, options.sizeof());
      options.struct_size(options.sizeof()).backend(backend).device(index).threads(threads).stream(
          stream);
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
    return new Device(Kind.CPU, "cpu", 0, threads);
  }

  /** The processor where it is part of an emulated device, whose own the limit is. */
  static Device cpuWithoutLimit() {
    return new Device(Kind.CPU, "cpu", 0, 0, null, Long.MAX_VALUE);
  }

  /**
   * A CUDA device, {@code "cuda:0"} for index 0, with a stream of its own.
   *
   * @throws DeviceUnavailableException if CUDA cannot be used here or there is no such device,
   *     saying why
   */
  public static Device cuda(int index) {
    requireCard(index);
    return new Device(Kind.CUDA, "cuda:" + index, index, 0);
  }

  private static void requireCard(int index) {
    if (index < 0) {
      throw new IllegalArgumentException("device: expected an index of at least 0, got " + index);
    }
    CudaBackend.require();
    int count = CudaBackend.cards().size();
    if (index >= count) {
      throw new DeviceUnavailableException(
          "cuda:" + index + ": the devices here are cuda:0 to cuda:" + (count - 1));
    }
  }

  /**
   * A CUDA device whose work is ordered on a stream of the caller's, which stays the caller's and
   * must outlive this: what the caller has enqueued there is done before, what it enqueues later
   * after.
   *
   * @param stream a {@code cudaStream_t} of that device; null for CUDA's default stream, on which
   *     nothing can be captured
   * @throws DeviceUnavailableException as {@link #cuda(int)}
   */
  public static Device cuda(int index, Pointer stream) {
    requireCard(index);
    return new Device(Kind.CUDA, "cuda:" + index, index, 0, orLegacy(stream), limit());
  }

  private static Pointer orLegacy(Pointer stream) {
    return stream == null || stream.isNull() ? Address.of(LEGACY_STREAM) : stream;
  }

  /**
   * The CUDA kernels emulated on the processor, for tests: {@code "emulate"}. It takes the place of
   * CUDA for the whole process.
   *
   * @throws DeviceUnavailableException if its library is not there, see {@link
   *     CudaBackend#EMULATED_LIBRARY}
   */
  public static Device emulated() {
    CudaBackend.requireEmulated();
    return new Device(Kind.EMULATED, "emulate", 0, 0);
  }

  /** The same on a stream of the caller's, as {@link #cuda(int, Pointer)} is. */
  static Device emulated(Pointer stream) {
    CudaBackend.requireEmulated();
    return new Device(Kind.EMULATED, "emulate", 0, 0, orLegacy(stream), limit());
  }

  /**
   * A device by the name users write.
   *
   * @param name {@code cpu}, {@code cuda} (the first), {@code cuda:N} or {@code emulate}
   * @param threads of the processor; 0 for OpenMP's default; no matter to others
   * @throws IllegalArgumentException if there is no such name
   * @throws DeviceUnavailableException if CUDA cannot be used here, saying why
   */
  public static Device open(String name, int threads) {
    requireName(name);
    if (name.equals("cpu")) {
      return cpu(threads);
    }
    if (name.equals("emulate")) {
      return emulated();
    }
    Matcher cuda = CUDA_NAME.matcher(name);
    cuda.matches();
    return cuda(cuda.group(1) == null ? 0 : Integer.parseInt(cuda.group(1)));
  }

  /**
   * Refuses what {@link #open} knows no device by; whether the machine has it is not asked.
   *
   * @throws IllegalArgumentException naming what was expected
   */
  public static void requireName(String name) {
    if (!name.equals("cpu") && !name.equals("emulate") && !CUDA_NAME.matcher(name).matches()) {
      throw new IllegalArgumentException(
          "device: expected cpu, cuda, cuda:N or emulate, got " + name);
    }
  }

  /**
   * What decides the bits of its results beside the libraries: {@code "cpu"}, {@code "emulate"}, or
   * the card's name.
   */
  public String model() {
    return kind == Kind.CUDA ? card().name() : name;
  }

  private CudaBackend.Card card() {
    return CudaBackend.cards().get(index);
  }

  /** 10 · major + minor; the emulated card's is Hopper's, a processor's 0. */
  private int capability() {
    return switch (kind) {
      case CPU -> 0;
      case EMULATED -> HOPPER;
      case CUDA -> card().capability();
    };
  }

  /**
   * Whether attention has an engine for its warpgroup products: cards of compute capability 9.0.
   */
  public boolean hasWarpgroups() {
    return capability() == HOPPER;
  }

  /** Whether its products take 8-bit floats: cards from compute capability 8.9 on. */
  public boolean hasFloat8() {
    return capability() >= FLOAT8_CAPABILITY;
  }

  /** Bytes of memory of its own; 0 if that is the host's. */
  public long memoryBytes() {
    return kind == Kind.CUDA ? card().memoryBytes() : 0;
  }

  /** Whether its memory is the host's. */
  public boolean isHost() {
    return kind == Kind.CPU;
  }

  /** Copies to and from its memory; null where that is the host's. */
  Staging staging() {
    return staging;
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

  /** CPU threads an op uses; 0 on other devices. */
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

  /**
   * Memory of a device; {@link Long#MAX_VALUE} each where the system does not say.
   *
   * @param total all there is, in bytes
   * @param free what can still be allocated
   */
  public record Memory(long total, long free) {
    /** Whether the system says. */
    public boolean isKnown() {
      return free != Long.MAX_VALUE;
    }
  }

  /** What memory there is, and what of it is free; see also {@link #MEMORY_LIMIT}. */
  public Memory memory() {
    try (LongPointer free = new LongPointer(1);
        LongPointer total = new LongPointer(1)) {
      Status.check(graft.graft_memory_info(context(), free, total));
      return new Memory(
          Math.min(total.get(), arenas.limit()), Math.min(free.get(), roomUnderLimit()));
    }
  }

  /**
   * Of so many free bytes those that activations should leave: on a card for graphs and for what
   * products are timed in, on the processor for the scratch of products.
   */
  public long reserveOf(long free) {
    return switch (kind) {
      case CPU -> free / 16;
      case CUDA -> CARD_RESERVE;
      case EMULATED -> 0;
    };
  }

  /** Bytes of its arenas by their names, the largest first. */
  public synchronized Map<String, Long> held() {
    return arenas.byName();
  }

  /** Bytes the limit leaves. */
  synchronized long roomUnderLimit() {
    return arenas.room();
  }

  synchronized void add(Arena arena) {
    requireOpen();
    arenas.add(arena);
  }

  synchronized void remove(Arena arena) {
    arenas.remove(arena);
  }

  synchronized void add(Graph graph) {
    graphs.add(graph);
  }

  synchronized void remove(Graph graph) {
    graphs.remove(graph);
  }

  /** Whether work can be captured and launched again as a whole. */
  public boolean captures() {
    return captures;
  }

  /**
   * Captures what {@code work} enqueues here; none of it runs yet. It must neither allocate on the
   * device nor wait for it.
   */
  public Graph capture(Runnable work) {
    return new Graph(this, work);
  }

  /** The {@code cudaStream_t} the work is ordered on, for other CUDA libraries; null on the CPU. */
  public Pointer stream() {
    try (PointerPointer<Pointer> out = new PointerPointer<>(1)) {
      out.put(0, (Pointer) null);
      Status.check(graft.graft_context_stream(context(), out));
      return out.get();
    }
  }

  /** Matrix products on this device. */
  public synchronized Gemm gemm() {
    requireOpen();
    if (gemm == null) {
      gemm =
          switch (kind) {
            case CPU -> new OneDnnGemm(this);
            case EMULATED -> new EmulatedGemm(this);
            case CUDA -> new CublasLtGemm(this);
          };
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

  /** What {@code work} takes here: of one run, the mean of several. */
  public double microseconds(int repeats, Runnable work) {
    try (PointerPointer<graft_event> out = new PointerPointer<>(1);
        FloatPointer milliseconds = new FloatPointer(1)) {
      check(graft.graft_event_create(context(), out));
      graft_event begin = out.get(graft_event.class);
      check(graft.graft_event_create(context(), out));
      graft_event end = out.get(graft_event.class);
      try {
        check(graft.graft_event_record(context(), begin));
        for (int i = 0; i < repeats; i++) {
          work.run();
        }
        check(graft.graft_event_record(context(), end));
        check(graft.graft_event_elapsed(context(), begin, end, milliseconds));
      } finally {
        graft.graft_event_destroy(context(), begin);
        graft.graft_event_destroy(context(), end);
      }
      return milliseconds.get() * 1000.0 / repeats;
    }
  }

  /** Returns when all work is done. */
  public void synchronize() {
    check(graft.graft_synchronize(context()));
  }

  static void check(int status) {
    if (status != graft.GRAFT_OK) {
      Status.check(status);
    }
  }

  @Override
  protected void release() {
    if (!isHost()) {
      // Work on its way still uses what is freed here; its failure was told by an earlier call.
      graft.graft_synchronize(context);
      List.copyOf(graphs).forEach(Graph::close);
      staging.close();
    }
    if (gemm != null) {
      gemm.close();
    }
    for (Arena arena : arenas.all()) {
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
