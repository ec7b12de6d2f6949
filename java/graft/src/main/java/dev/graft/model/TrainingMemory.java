package dev.graft.model;

import dev.graft.model.Parameters.Parameter;
import dev.graft.runtime.Arena;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.runtime.OutOfDeviceMemoryException;
import dev.graft.runtime.Tensor;
import java.util.List;

/** The fp32 gradients and the moments of the parameters that train, all zero at first. */
final class TrainingMemory implements AutoCloseable {
  /** Gradients begin at multiples of so many elements: 256 bytes. */
  private static final long GRADIENT_ALIGNMENT = 64;

  private final List<Parameter> trained;
  private final DType state;
  private final Arena arena;
  private Tensor gradientBlock;

  /**
   * Allocates them, and tells each parameter its own.
   *
   * @param state dtype of the moments, fp32 or bf16
   * @throws OutOfDeviceMemoryException if they do not all fit; nothing is held then
   */
  TrainingMemory(Device device, List<Parameter> all, DType state) {
    this.state = state;
    trained = all.stream().filter(Parameter::trainable).toList();
    arena = new Arena(device, "gradients and moments");
    try {
      requireRoom();
      allocate();
    } catch (RuntimeException e) {
      close();
      throw e;
    }
  }

  private void requireRoom() {
    long elements = trained.stream().mapToLong(p -> p.weight().count()).sum();
    try {
      arena.requireRoom(
          gradientElements() * DType.FLOAT32.bytes() + 2 * elements * state.bytes(),
          String.format("gradients and moments of %,d parameters", elements));
    } catch (OutOfDeviceMemoryException e) {
      throw e.with(
          "Fewer parameters train with lora, or with freeze"
              + (state == DType.FLOAT32 ? "; an optimizerState of bf16 is half as large" : ""));
    }
  }

  private long gradientElements() {
    return trained.stream().mapToLong(p -> room(p.weight().count())).sum();
  }

  private static long room(long count) {
    return (count + GRADIENT_ALIGNMENT - 1) / GRADIENT_ALIGNMENT * GRADIENT_ALIGNMENT;
  }

  private void allocate() {
    gradientBlock = arena.zeros("gradients", DType.FLOAT32, gradientElements());
    long at = gradientBlock.address();
    for (Parameter p : trained) {
      long[] shape = p.weight().shape();
      Tensor grad = new Tensor(p.name() + " gradient", DType.FLOAT32, shape);
      grad.place(arena, at);
      at += room(p.weight().count()) * DType.FLOAT32.bytes();
      p.trainIn(
          grad,
          arena.zeros(p.name() + " m", state, shape),
          arena.zeros(p.name() + " v", state, shape));
    }
  }

  /** Dtype of the moments. */
  DType state() {
    return state;
  }

  /** All gradients as the one block they lie in, small gaps of zeros between them; fp32 [n]. */
  Tensor gradientBlock() {
    return gradientBlock;
  }

  @Override
  public void close() {
    trained.forEach(p -> p.trainIn(null, null, null));
    arena.close();
  }
}
