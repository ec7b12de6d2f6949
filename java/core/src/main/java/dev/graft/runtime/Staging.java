package dev.graft.runtime;

import dev.graft.bindings.Status;
import dev.graft.bindings.global.graft;
import dev.graft.bindings.graft_event;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.IntPointer;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.PointerPointer;
import org.bytedeco.javacpp.ShortPointer;

/**
 * Copies between Java arrays and the memory of a device through two halves of page-locked host
 * memory. Writing fills one half while the device still reads the other, and waits only when it
 * comes back to a half whose copies are not done; reading waits for the device. Allocates nothing
 * after its first use.
 */
final class Staging implements AutoCloseable {
  /** Bytes of a half: a batch of 64k tokens with all its arrays. */
  static final int HALF = 4 << 20;

  private static final int ALIGNMENT = 64;

  private final class Half {
    final Pointer memory;
    final graft_event copied;
    final IntPointer ints;
    final FloatPointer floats;
    final ShortPointer shorts;

    Half() {
      try (PointerPointer<Pointer> out = new PointerPointer<>(1);
          PointerPointer<graft_event> event = new PointerPointer<>(1)) {
        Status.check(graft.graft_host_malloc(device.context(), HALF, out));
        memory = out.get();
        Status.check(graft.graft_event_create(device.context(), event));
        copied = event.get(graft_event.class);
      }
      ints = new IntPointer(memory);
      floats = new FloatPointer(memory);
      shorts = new ShortPointer(memory);
    }

    void free() {
      graft.graft_event_destroy(device.handle(), copied);
      graft.graft_host_free(device.handle(), memory);
    }
  }

  private final Device device;
  private final Address host = new Address(0);
  private final Address remote = new Address(0);
  private Half now;
  private Half other;
  private long used;

  Staging(Device device) {
    this.device = device;
  }

  /** Offset of so many bytes that no copy in flight reads, in the half {@link #now}. */
  private long reserve(long bytes) {
    if (now == null) {
      now = new Half();
      other = new Half();
    }
    long at = (used + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (at + bytes > HALF) {
      Device.check(graft.graft_event_record(device.context(), now.copied));
      Half next = other;
      other = now;
      now = next;
      Device.check(graft.graft_event_synchronize(device.context(), now.copied));
      at = 0;
    }
    used = at + bytes;
    return at;
  }

  private void send(long to, long offset, long bytes) {
    Device.check(
        graft.graft_memcpy(
            device.context(),
            remote.moveTo(to),
            host.moveTo(now.memory.address() + offset),
            bytes,
            graft.GRAFT_HOST_TO_DEVICE));
  }

  private void fetch(long from, long offset, long bytes) {
    Device.check(
        graft.graft_memcpy(
            device.context(),
            host.moveTo(now.memory.address() + offset),
            remote.moveTo(from),
            bytes,
            graft.GRAFT_DEVICE_TO_HOST));
    device.synchronize();
  }

  void put(long to, int[] from, int length) {
    for (int done = 0; done < length; ) {
      int count = Math.min(length - done, HALF / Integer.BYTES);
      long at = reserve((long) count * Integer.BYTES);
      now.ints.position(at / Integer.BYTES).put(from, done, count);
      send(to + (long) done * Integer.BYTES, at, (long) count * Integer.BYTES);
      done += count;
    }
  }

  void put(long to, float[] from, int length) {
    for (int done = 0; done < length; ) {
      int count = Math.min(length - done, HALF / Float.BYTES);
      long at = reserve((long) count * Float.BYTES);
      now.floats.position(at / Float.BYTES).put(from, done, count);
      send(to + (long) done * Float.BYTES, at, (long) count * Float.BYTES);
      done += count;
    }
  }

  void put(long to, short[] from, int length) {
    for (int done = 0; done < length; ) {
      int count = Math.min(length - done, HALF / Short.BYTES);
      long at = reserve((long) count * Short.BYTES);
      now.shorts.position(at / Short.BYTES).put(from, done, count);
      send(to + (long) done * Short.BYTES, at, (long) count * Short.BYTES);
      done += count;
    }
  }

  void get(long from, int[] to, int length) {
    for (int done = 0; done < length; ) {
      int count = Math.min(length - done, HALF / Integer.BYTES);
      long at = reserve((long) count * Integer.BYTES);
      fetch(from + (long) done * Integer.BYTES, at, (long) count * Integer.BYTES);
      now.ints.position(at / Integer.BYTES).get(to, done, count);
      done += count;
    }
  }

  void get(long from, float[] to, int length) {
    for (int done = 0; done < length; ) {
      int count = Math.min(length - done, HALF / Float.BYTES);
      long at = reserve((long) count * Float.BYTES);
      fetch(from + (long) done * Float.BYTES, at, (long) count * Float.BYTES);
      now.floats.position(at / Float.BYTES).get(to, done, count);
      done += count;
    }
  }

  void get(long from, short[] to, int length) {
    for (int done = 0; done < length; ) {
      int count = Math.min(length - done, HALF / Short.BYTES);
      long at = reserve((long) count * Short.BYTES);
      fetch(from + (long) done * Short.BYTES, at, (long) count * Short.BYTES);
      now.shorts.position(at / Short.BYTES).get(to, done, count);
      done += count;
    }
  }

  @Override
  public void close() {
    if (now != null) {
      now.free();
      other.free();
      now = null;
      other = null;
    }
  }
}
