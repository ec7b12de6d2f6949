package dev.graft.program;

import dev.graft.runtime.Arena;
import dev.graft.runtime.Device;
import java.util.ArrayList;
import java.util.List;

/**
 * The one block of memory that the activations of several programs (one a token bucket) share. It
 * grows to the largest program; growing binds the others anew. Contents do not outlive a run.
 */
public final class ActivationArena implements AutoCloseable {
  private final Device device;
  private final String name;
  private final List<Program> programs = new ArrayList<>();
  private Arena arena;
  private long address;
  private long capacity;

  public ActivationArena(Device device, String name) {
    this.device = device;
    this.name = name;
    this.arena = new Arena(device, name);
  }

  /** Bytes held. */
  public long bytes() {
    return capacity;
  }

  Device device() {
    return device;
  }

  Arena arena() {
    return arena;
  }

  long address() {
    return address;
  }

  void add(Program program, long bytes) {
    if (bytes > capacity) {
      long before = capacity;
      try {
        hold(bytes, program.name());
      } catch (RuntimeException e) {
        // The others go on as before.
        hold(before, "the smaller buckets");
        throw e;
      }
    }
    programs.add(program);
    program.bind();
  }

  /** The old block goes first: both may not fit. */
  private void hold(long bytes, String of) {
    arena.close();
    arena = new Arena(device, name);
    capacity = 0;
    address = arena.allocate(bytes, "activations of " + of);
    capacity = bytes;
    for (Program bound : programs) {
      bound.bind();
    }
  }

  void remove(Program program) {
    programs.remove(program);
  }

  /** Frees the block; programs over it can no longer run. */
  @Override
  public void close() {
    arena.close();
  }
}
