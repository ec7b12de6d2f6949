package dev.graft.model;

import dev.graft.model.Parameters.Parameter;
import dev.graft.program.Ops;
import dev.graft.runtime.Arena;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.runtime.Tensor;
import java.util.List;
import java.util.function.ToLongFunction;

/**
 * Memory of the fp32 masters of bf16 weights, in one of two forms: 4 bytes a parameter of their
 * own, or split, where the bf16 weights the kernels read are their high half and 2 bytes a
 * parameter hold the rest of their bits. Both are exact.
 */
final class MasterWeights implements AutoCloseable {
  private static final int CHUNK = 1 << 20;
  private static final long ALIGNMENT = 256;

  private interface Place {
    void at(Parameter parameter, long address);
  }

  private final Device device;
  private Arena arena;
  private boolean split;

  /** Of no weights yet, to be allocated in {@link #arena}. */
  MasterWeights(Device device) {
    this.device = device;
    this.arena = new Arena(device, "master weights");
  }

  /** Where they are. */
  Arena arena() {
    return arena;
  }

  /** Splits them, if they are not, and one of them trains: under an adapter they stay. */
  void split(List<Parameter> parameters) {
    if (!split && parameters.stream().anyMatch(Parameter::trainable)) {
      Arena low = new Arena(device, "low halves of weights");
      move(
          low,
          parameters,
          p -> p.weight().count() * DType.BFLOAT16.bytes(),
          (p, address) -> p.weight().placeHalves(low, p.compute().address(), address));
      split = true;
    }
  }

  /** The reverse; the weights are rounded by the common rule again, as when a network is read. */
  void join(List<Parameter> parameters) {
    if (!split) {
      return;
    }
    Arena whole = new Arena(device, "master weights");
    move(
        whole,
        parameters,
        p -> p.weight().byteSize(),
        (p, address) -> p.weight().place(whole, address));
    split = false;
    parameters.forEach(p -> Ops.castNow(device, p.weight(), p.compute()));
  }

  /** All of the memory first: if there is none, nothing has moved. */
  private void move(
      Arena to, List<Parameter> parameters, ToLongFunction<Parameter> bytes, Place place) {
    long at;
    try {
      at =
          to.allocate(
              parameters.stream().mapToLong(p -> aligned(bytes.applyAsLong(p))).sum(),
              "weights in another form");
    } catch (RuntimeException e) {
      to.close();
      throw e;
    }
    for (Parameter p : parameters) {
      Tensor before = p.weight().samePlace();
      place.at(p, at);
      at += aligned(bytes.applyAsLong(p));
      for (long first = 0; first < before.count(); first += CHUNK) {
        p.weight().put(first, before.floats(first, (int) Math.min(CHUNK, before.count() - first)));
      }
    }
    arena.close();
    arena = to;
  }

  private static long aligned(long bytes) {
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  }

  @Override
  public void close() {
    arena.close();
  }
}
