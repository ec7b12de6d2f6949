package dev.graft.runtime;

import dev.graft.bindings.GraftException;
import dev.graft.bindings.Status;
import dev.graft.bindings.global.graft;
import java.util.ArrayList;
import java.util.List;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.PointerPointer;

/**
 * The one owner of a group of native allocations with one lifetime (parameters, gradients,
 * optimizer state, activations, scratch). Closing it frees them all.
 */
public final class Arena extends NativeOwner {
  private final Device device;
  private final String name;
  private final List<Pointer> blocks = new ArrayList<>();
  private volatile long bytes;

  /** An empty arena on {@code device}; {@code name} appears in messages. */
  public Arena(Device device, String name) {
    this.device = device;
    this.name = name;
    device.add(this);
  }

  /** The device the memory is on. */
  public Device device() {
    return device;
  }

  String name() {
    return name;
  }

  /** Bytes allocated so far. */
  public long bytes() {
    return bytes;
  }

  /** A tensor of zeros. */
  public Tensor zeros(String tensorName, DType dtype, long... shape) {
    Tensor tensor = new Tensor(tensorName, dtype, shape);
    tensor.place(this, allocate(tensor.byteSize(), tensorName));
    return tensor;
  }

  /**
   * Refuses what could not be allocated in full, before a part of it is.
   *
   * @throws OutOfDeviceMemoryException if so many bytes are not free
   */
  public void requireRoom(long size, String what) {
    requireOpen();
    if (size > device.memory().free()) {
      throw new OutOfDeviceMemoryException(device, what, size, null);
    }
  }

  /**
   * The address of {@code size} zeroed bytes; 0 for none.
   *
   * @throws OutOfDeviceMemoryException if the device has not so much left
   */
  public synchronized long allocate(long size, String what) {
    requireOpen();
    if (size == 0) {
      return 0;
    }
    if (size > device.roomUnderLimit()) {
      throw new OutOfDeviceMemoryException(device, what, size, null);
    }
    try (PointerPointer<Pointer> out = new PointerPointer<>(1)) {
      try {
        Status.check(graft.graft_malloc(device.context(), size, out));
      } catch (GraftException.OutOfNativeMemory e) {
        throw new OutOfDeviceMemoryException(device, what, size, e);
      }
      Pointer block = out.get();
      blocks.add(block);
      bytes += size;
      Status.check(graft.graft_memset(device.context(), block, 0, size));
      return block.address();
    }
  }

  @Override
  protected void release() {
    for (Pointer block : blocks) {
      graft.graft_free(device.handle(), block);
    }
    blocks.clear();
    bytes = 0;
    device.remove(this);
  }

  @Override
  protected String description() {
    return "arena " + name;
  }
}
