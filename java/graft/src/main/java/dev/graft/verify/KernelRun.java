package dev.graft.verify;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.program.ActivationArena;
import dev.graft.program.Ops;
import dev.graft.program.Program;
import dev.graft.runtime.Arena;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.runtime.Tensor;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Kernels recorded as a step records them. One run does the work several times, each time on
 * operands of its own: so the launch of the graph is shared, as in a step, and what is read has
 * left the caches.
 */
final class KernelRun implements SpeedCase {
  /** Records the work once. */
  interface Work {
    void record(KernelRun run, Ops ops);
  }

  /** What is recorded, and how it is counted. */
  record Kind(String name, DType dtype, String shape, double bytes, double flops) {}

  private final Device device;
  private final Kind kind;
  private final int repeats;
  private final Arena arena;
  private final ActivationArena workspaces;
  private final Program program;
  private final List<AutoCloseable> owned = new ArrayList<>();
  private final Map<String, ObjectNode> peers = new LinkedHashMap<>();
  private int filled;

  KernelRun(Device device, Kind kind, int repeats, Work work) {
    this.device = device;
    this.kind = kind;
    this.repeats = repeats;
    arena = new Arena(device, kind.name());
    workspaces = new ActivationArena(device, kind.name() + " workspaces");
    program = new Program(kind.name(), workspaces);
    try {
      Ops ops = new Ops(program);
      for (int i = 0; i < repeats; i++) {
        work.record(this, ops);
      }
      program.seal();
    } catch (RuntimeException e) {
      // What there was no memory for must not keep the next one's.
      close();
      throw e;
    }
  }

  /** A peer that does the same. */
  KernelRun peer(String name, ObjectNode peerCase) {
    peerCase.put("dtype", SpeedCase.name(kind.dtype())).put("repeat", repeats).put("graph", true);
    peers.put(name, peerCase);
    return this;
  }

  /** PyTorch's ops one by one, and what torch.compile makes of them. */
  KernelRun eagerAndCompiled(ObjectNode peerCase) {
    return peer("PyTorch", peerCase)
        .peer("torch.compile", peerCase.deepCopy().put("mode", "compile"));
  }

  /** N(0, 1). */
  Tensor normal(DType dtype, long... shape) {
    Tensor tensor = arena.zeros("operand", dtype, shape);
    Ops.fillNormal(device, tensor, ++filled, 0, 0, 1);
    return tensor;
  }

  Tensor empty(DType dtype, long... shape) {
    return arena.zeros("result", dtype, shape);
  }

  Tensor integers(int... values) {
    Tensor tensor = arena.zeros("integers", DType.INT32, values.length);
    tensor.put(values, values.length);
    return tensor;
  }

  /** Closed with this. */
  <T extends AutoCloseable> T own(T one) {
    owned.add(one);
    return one;
  }

  @Override
  public String name() {
    return kind.name();
  }

  @Override
  public DType dtype() {
    return kind.dtype();
  }

  @Override
  public String shape() {
    return kind.shape();
  }

  @Override
  public void run() {
    program.run();
  }

  @Override
  public int repeats() {
    return repeats;
  }

  @Override
  public double bytes() {
    return kind.bytes();
  }

  @Override
  public double flops() {
    return kind.flops();
  }

  @Override
  public Map<String, ObjectNode> peers() {
    return peers;
  }

  @Override
  public void close() {
    program.close();
    workspaces.close();
    for (AutoCloseable one : owned) {
      try {
        one.close();
      } catch (Exception e) {
        throw new IllegalStateException("cannot be closed: " + kind.name(), e);
      }
    }
    arena.close();
  }
}
