package dev.graft.runtime;

import java.util.Arrays;
import java.util.List;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.IntPointer;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.ShortPointer;

/**
 * A light view of native memory: address, dtype, shape; row-major and contiguous. Its arena owns
 * the memory. An activation of a program gets its address when the program is laid out.
 *
 * <p>An fp32 tensor may lie in two halves ({@link #placeHalves}): it has no address then, and is
 * read and written as floats.
 */
public final class Tensor {
  private final String name;
  private final DType dtype;
  private final long[] shape;
  private final Tensor base;
  private final long byteOffset;
  private Arena arena;
  private long address;
  private Tensor[] halves;
  private IntPointer ints;
  private FloatPointer floats;
  private ShortPointer shorts;

  /** A tensor without memory yet: see {@link #place}. */
  public Tensor(String name, DType dtype, long... shape) {
    this(name, dtype, shape, null, 0);
  }

  private Tensor(String name, DType dtype, long[] shape, Tensor base, long byteOffset) {
    long count = 1;
    for (long size : shape) {
      if (size < 0) {
        throw new IllegalArgumentException(name + ": negative size in " + Arrays.toString(shape));
      }
      count = Math.multiplyExact(count, size);
    }
    Math.multiplyExact(count, dtype.bytes());
    this.name = name;
    this.dtype = dtype;
    this.shape = shape.clone();
    this.base = base;
    this.byteOffset = byteOffset;
  }

  /** Gives the tensor its memory (arenas and program layouts do). */
  public void place(Arena owner, long at) {
    if (base != null) {
      throw new IllegalStateException(name + " is a view and lies where its base lies");
    }
    this.arena = owner;
    this.address = at;
    this.halves = null;
    this.ints = null;
    this.floats = null;
    this.shorts = null;
  }

  /**
   * Puts an fp32 tensor into two arrays of 16 bits: its values rounded to bf16, ties up in
   * magnitude, and the low half of their bits, which tells what was rounded away. Exact: the bits
   * are (high << 16) + the low half as a signed number.
   *
   * @param owner of the low half; the high one is another tensor's
   */
  public void placeHalves(Arena owner, long high, long low) {
    require(DType.FLOAT32);
    place(owner, 0);
    halves =
        new Tensor[] {
          new Tensor(name + " high", DType.BFLOAT16, shape),
          new Tensor(name + " low", DType.BFLOAT16, shape)
        };
    halves[0].place(owner, high);
    halves[1].place(owner, low);
  }

  /** Whether it lies in two halves. */
  public boolean isSplit() {
    return root().halves != null;
  }

  /** What it lies in: itself, or its high and its low half as arrays of 16 bits. */
  public List<Tensor> parts() {
    return isSplit() ? List.of(half(0), half(1)) : List.of(this);
  }

  private Tensor half(int which) {
    return root().halves[which].view(byteOffset / dtype.bytes(), shape);
  }

  /** Another tensor in the memory of this one, which stays there if this one moves. */
  public Tensor samePlace() {
    Tensor same = new Tensor(name, dtype, shape);
    if (isSplit()) {
      same.placeHalves(root().arena, half(0).address(), half(1).address());
    } else {
      same.place(root().arena, address());
    }
    return same;
  }

  /** A view of {@code count} elements from {@code offset}, shaped anew; it lives in this tensor. */
  public Tensor view(long offset, long... newShape) {
    Tensor view =
        new Tensor(
            name, dtype, newShape, root(), byteOffset + Math.multiplyExact(offset, dtype.bytes()));
    if (offset < 0 || offset + view.count() > count()) {
      throw new IllegalArgumentException(
          String.format(
              "%s: view of %d elements at %d is outside of %d elements",
              name, view.count(), offset, count()));
    }
    return view;
  }

  /** The tensor whose memory this is: itself unless it is a view. */
  public Tensor root() {
    return base == null ? this : base;
  }

  public String name() {
    return name;
  }

  public DType dtype() {
    return dtype;
  }

  public long[] shape() {
    return shape.clone();
  }

  /** Size of one axis; negative axes count from the last. */
  public long size(int axis) {
    return shape[axis < 0 ? shape.length + axis : axis];
  }

  /** Number of elements. */
  public long count() {
    long count = 1;
    for (long size : shape) {
      count *= size;
    }
    return count;
  }

  public long byteSize() {
    return count() * dtype.bytes();
  }

  /**
   * The address of the first element.
   *
   * @throws IllegalStateException if the memory was freed or not placed yet, or is in two halves
   */
  public long address() {
    Tensor owner = root();
    if (owner.arena == null) {
      throw new IllegalStateException("tensor " + name + " has no memory yet");
    }
    owner.arena.requireOpen();
    if (owner.halves != null) {
      throw new IllegalStateException("tensor " + name + " lies in two halves");
    }
    return owner.address + byteOffset;
  }

  /**
   * Where the memory is.
   *
   * @throws IllegalStateException if it was freed or not placed yet
   */
  public Device device() {
    parts().get(0).address();
    return root().arena.device();
  }

  /** The address as untyped pointer. */
  public Pointer pointer() {
    return Address.of(address());
  }

  // Host access. On the CPU device memory is host memory; that of others is copied through their
  // staging memory.

  /** How to reach memory that is not the host's; null if it is. */
  private Staging staging(DType expected) {
    require(expected);
    address();
    return root().arena.device().staging();
  }

  private IntPointer intPointer() {
    require(DType.INT32);
    long at = address();
    if (ints == null || ints.address() != at) {
      ints = new IntPointer(new Address(at)).capacity(count());
    }
    return ints;
  }

  private FloatPointer floatPointer() {
    require(DType.FLOAT32);
    long at = address();
    if (floats == null || floats.address() != at) {
      floats = new FloatPointer(new Address(at)).capacity(count());
    }
    return floats;
  }

  private ShortPointer shortPointer() {
    require(DType.BFLOAT16);
    long at = address();
    if (shorts == null || shorts.address() != at) {
      shorts = new ShortPointer(new Address(at)).capacity(count());
    }
    return shorts;
  }

  /**
   * Writes {@code from[0..length)} to the first elements; allocates nothing. On another device than
   * the CPU it is in the order of the stream, and {@code from} may be reused at once.
   */
  public void put(int[] from, int length) {
    bounds(0, length);
    if (length > 0) {
      Staging staging = staging(DType.INT32);
      if (staging == null) {
        intPointer().put(from, 0, length);
      } else {
        staging.put(address(), from, length);
      }
    }
  }

  /** Writes {@code from[0..length)} to the first elements of an fp32 tensor; allocates nothing. */
  public void put(float[] from, int length) {
    bounds(0, length);
    if (length > 0) {
      Staging staging = staging(DType.FLOAT32);
      if (staging == null) {
        floatPointer().put(from, 0, length);
      } else {
        staging.put(address(), from, length);
      }
    }
  }

  /** Writes floats, rounded to this tensor's dtype, from element {@code at} on. */
  public void put(long at, float[] from) {
    bounds(at, from.length);
    if (from.length == 0) {
      return;
    }
    if (isSplit()) {
      putHalves(at, from);
      return;
    }
    Staging staging = staging(dtype == DType.BFLOAT16 ? dtype : DType.FLOAT32);
    long to = address() + at * dtype.bytes();
    if (dtype == DType.BFLOAT16) {
      short[] rounded = new short[from.length];
      for (int i = 0; i < from.length; i++) {
        rounded[i] = BFloat16.fromFloat(from[i]);
      }
      putBits(at, rounded);
    } else if (staging == null) {
      new FloatPointer(floatPointer()).position(at).put(from, 0, from.length);
    } else {
      staging.put(to, from, from.length);
    }
  }

  /** Reads elements as floats. */
  public float[] floats(long at, int length) {
    bounds(at, length);
    float[] out = new float[length];
    if (length == 0) {
      return out;
    }
    if (isSplit()) {
      short[] high = half(0).bits(at, length);
      short[] low = half(1).bits(at, length);
      for (int i = 0; i < length; i++) {
        out[i] = Float.intBitsToFloat((high[i] << 16) + low[i]);
      }
      return out;
    }
    Staging staging = staging(dtype == DType.BFLOAT16 ? dtype : DType.FLOAT32);
    long from = address() + at * dtype.bytes();
    if (dtype == DType.BFLOAT16) {
      short[] raw = bits(at, length);
      for (int i = 0; i < length; i++) {
        out[i] = BFloat16.toFloat(raw[i]);
      }
    } else if (staging == null) {
      new FloatPointer(floatPointer()).position(at).get(out, 0, length);
    } else {
      staging.get(from, out, length);
    }
    return out;
  }

  private void putHalves(long at, float[] from) {
    short[] high = new short[from.length];
    short[] low = new short[from.length];
    for (int i = 0; i < from.length; i++) {
      int bits = Float.floatToRawIntBits(from[i]);
      high[i] = (short) ((bits + 0x8000) >>> 16);
      low[i] = (short) bits;
    }
    half(0).putBits(at, high);
    half(1).putBits(at, low);
  }

  private void putBits(long at, short[] from) {
    Staging staging = staging(DType.BFLOAT16);
    if (staging == null) {
      new ShortPointer(shortPointer()).position(at).put(from, 0, from.length);
    } else {
      staging.put(address() + at * dtype.bytes(), from, from.length);
    }
  }

  private short[] bits(long at, int length) {
    short[] raw = new short[length];
    Staging staging = staging(DType.BFLOAT16);
    if (staging == null) {
      new ShortPointer(shortPointer()).position(at).get(raw, 0, length);
    } else {
      staging.get(address() + at * dtype.bytes(), raw, length);
    }
    return raw;
  }

  /** Reads all elements as floats (at most 2^31 − 1). */
  public float[] floats() {
    return floats(0, Math.toIntExact(count()));
  }

  /** Reads the first {@code length} ints into {@code to}; allocates nothing. */
  public void get(int[] to, int length) {
    bounds(0, length);
    if (length > 0) {
      Staging staging = staging(DType.INT32);
      if (staging == null) {
        intPointer().get(to, 0, length);
      } else {
        staging.get(address(), to, length);
      }
    }
  }

  private void require(DType expected) {
    if (dtype != expected) {
      throw new IllegalArgumentException(
          "tensor " + name + ": expected dtype " + expected + ", got " + dtype);
    }
  }

  private void bounds(long at, long length) {
    if (at < 0 || length < 0 || at + length > count()) {
      throw new IndexOutOfBoundsException(
          String.format("tensor %s: elements %d..%d of %d", name, at, at + length, count()));
    }
  }

  @Override
  public String toString() {
    return name + " " + dtype.label() + Arrays.toString(shape);
  }
}
