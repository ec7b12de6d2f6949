package dev.graft.program;

import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.runtime.Graph;
import dev.graft.runtime.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * A step recorded as a list of prepared calls. Life: record through {@link Ops}, {@link #seal}
 * (lays out the activations by lifetime and binds every call), then {@link #run} any number of
 * times.
 *
 * <p>Running allocates nothing on the Java heap and does not synchronise. Where the device can
 * capture work (CUDA), the first run warms the kernels up, the second captures the calls, and from
 * then on a run is the launch of one graph.
 */
public final class Program implements AutoCloseable {
  private static final long ALIGNMENT = 256;

  private static final class Activation {
    final Tensor tensor;
    int first = Integer.MAX_VALUE;
    int last = -1;
    boolean keep;
    long offset;

    Activation(Tensor tensor) {
      this.tensor = tensor;
    }

    boolean overlaps(Activation other) {
      return keep || other.keep || (first <= other.last && other.first <= last);
    }

    long end() {
      return offset + (tensor.byteSize() + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
  }

  private final String name;
  private final ActivationArena arena;
  private final boolean plan;
  private final List<Call> recorded = new ArrayList<>();
  private final Map<Tensor, Activation> activations = new IdentityHashMap<>();
  private Call[] calls;
  private long bytes;
  private boolean closed;
  private boolean warm;
  private Graph graph;

  /** An empty program whose activations will live in {@code arena}. */
  public Program(String name, ActivationArena arena) {
    this(name, arena, false);
  }

  private Program(String name, ActivationArena arena, boolean plan) {
    this.name = name;
    this.arena = arena;
    this.plan = plan;
  }

  /**
   * A program that is recorded for its {@link #activationBytes} alone: nothing is timed for it, and
   * it cannot be sealed.
   */
  public static Program plan(String name, ActivationArena arena) {
    return new Program(name, arena, true);
  }

  boolean isPlan() {
    return plan;
  }

  public String name() {
    return name;
  }

  public Device device() {
    return arena.device();
  }

  /** An activation: it has memory from its first to its last use in this program. */
  public Tensor activation(String tensorName, DType dtype, long... shape) {
    requireRecording();
    Tensor tensor = new Tensor(tensorName, dtype, shape);
    activations.put(tensor, new Activation(tensor));
    return tensor;
  }

  /** Keeps an activation's memory for itself, so that it can be read or written between runs. */
  public Tensor keep(Tensor tensor) {
    requireRecording();
    Activation activation = activations.get(tensor.root());
    if (activation == null) {
      throw new IllegalArgumentException(tensor + " is not an activation of program " + name);
    }
    activation.keep = true;
    return tensor;
  }

  /** Adds a call that touches these tensors (nulls are skipped). */
  void record(Call call, Tensor... touched) {
    requireRecording();
    int index = recorded.size();
    recorded.add(call);
    for (Tensor tensor : touched) {
      Activation activation = tensor == null ? null : activations.get(tensor.root());
      if (activation != null) {
        activation.first = Math.min(activation.first, index);
        activation.last = Math.max(activation.last, index);
      }
    }
  }

  /** Ends the recording: lays out the activations and binds the calls. */
  public Program seal() {
    requireRecording();
    if (plan) {
      throw new IllegalStateException("program " + name + " is a plan");
    }
    bytes = layOut();
    calls = recorded.toArray(new Call[0]);
    arena.add(this, bytes);
    return this;
  }

  /**
   * Greedy by size: the largest activation first, each at the lowest offset that is free during its
   * whole life.
   *
   * @return bytes of all
   */
  private long layOut() {
    long whole = 0;
    List<Activation> order = new ArrayList<>();
    for (Activation activation : activations.values()) {
      if (activation.last >= 0 || activation.keep) {
        order.add(activation);
      }
    }
    order.sort(
        Comparator.comparingLong((Activation a) -> -a.tensor.byteSize())
            .thenComparingInt(a -> a.first)
            .thenComparing(a -> a.tensor.name()));
    List<Activation> placed = new ArrayList<>();
    for (Activation activation : order) {
      Activation[] living =
          placed.stream()
              .filter(activation::overlaps)
              .sorted(Comparator.comparingLong(a -> a.offset))
              .toArray(Activation[]::new);
      activation.offset = 0;
      for (Activation other : living) {
        if (activation.end() <= other.offset) {
          break;
        }
        activation.offset = Math.max(activation.offset, other.end());
      }
      placed.add(activation);
      whole = Math.max(whole, activation.end());
    }
    return whole;
  }

  void bind() {
    forgetGraph();
    for (Activation activation : activations.values()) {
      if (activation.last >= 0 || activation.keep) {
        activation.tensor.place(arena.arena(), arena.address() + activation.offset);
      }
    }
    for (Call call : calls) {
      call.bind();
    }
  }

  /**
   * Bytes of activations, lifetimes shared; of a recording that is not sealed, those of its calls
   * so far.
   */
  public long activationBytes() {
    return calls == null ? layOut() : bytes;
  }

  /** Number of native calls a run makes. */
  public int size() {
    return calls.length;
  }

  /** Runs every call in order. */
  public void run() {
    requireRunnable();
    if (warm && graph == null && arena.device().captures()) {
      graph = arena.device().capture(this::runCalls);
    }
    if (graph != null) {
      graph.launch();
    } else {
      runCalls();
      warm = true;
    }
  }

  private void runCalls() {
    Call[] list = calls;
    for (int i = 0; i < list.length; i++) {
      list[i].run();
    }
  }

  /** Whether runs are launches of a captured graph by now. */
  public boolean isCaptured() {
    return graph != null;
  }

  /** The calls have other addresses now. */
  private void forgetGraph() {
    warm = false;
    if (graph != null) {
      graph.close();
      graph = null;
    }
  }

  /**
   * Runs with a clock around each call, waiting for the device after it.
   *
   * @return nanoseconds summed by call name, in order of first appearance
   */
  public Map<String, Long> profile() {
    requireRunnable();
    Map<String, Long> nanos = new LinkedHashMap<>();
    for (Call call : calls) {
      long start = System.nanoTime();
      call.run();
      device().synchronize();
      nanos.merge(call.name(), System.nanoTime() - start, Long::sum);
    }
    return nanos;
  }

  private void requireRunnable() {
    if (calls == null || closed) {
      throw new IllegalStateException(
          "program " + name + (closed ? " was closed" : " is not sealed"));
    }
    arena.arena().requireOpen();
  }

  private void requireRecording() {
    if (calls != null) {
      throw new IllegalStateException("program " + name + " is sealed");
    }
  }

  /** Frees the prepared calls; tensors stay their owners'. */
  @Override
  public void close() {
    if (!closed) {
      closed = true;
      arena.remove(this);
      forgetGraph();
      recorded.forEach(Call::close);
    }
  }

  @Override
  public String toString() {
    return String.format(
        "program %s: %d calls, %,d bytes of activations %s",
        name, recorded.size(), bytes, Arrays.toString(new Object[] {arena.device().name()}));
  }
}
