package dev.graft.io;

import dev.graft.runtime.BFloat16;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;

/** Floating-point numbers of a file as floats; dtypes by safetensors' names. */
final class Floats {
  private static final int CHUNK = 1 << 20;

  /** Reads bytes of a tensor from {@code offset} on until {@code to} is full. */
  interface Bytes {
    void read(long offset, ByteBuffer to);
  }

  private Floats() {}

  static void requireFloats(Path file, String name, String dtype) {
    switch (dtype) {
      case "F32", "F64", "BF16", "F16" -> {}
      default ->
          throw InvalidInputException.of(
              file, "tensor " + name + ": expected floating-point numbers, got " + dtype);
    }
  }

  /** {@code count} elements from element {@code first} on. */
  static float[] read(String dtype, Bytes bytes, long first, int count) {
    int width = TensorInfo.elementBytes(dtype);
    float[] out = new float[count];
    ByteBuffer raw =
        ByteBuffer.allocate(Math.min(count, CHUNK) * width).order(ByteOrder.LITTLE_ENDIAN);
    for (int at = 0; at < count; at += Math.min(count - at, CHUNK)) {
      int part = Math.min(count - at, CHUNK);
      raw.clear().limit(part * width);
      bytes.read((first + at) * width, raw);
      raw.flip();
      convert(dtype, raw, out, at, part);
    }
    return out;
  }

  private static void convert(String dtype, ByteBuffer raw, float[] out, int at, int count) {
    switch (dtype) {
      case "F32" -> raw.asFloatBuffer().get(out, at, count);
      case "F64" -> {
        for (int i = at; i < at + count; i++) {
          out[i] = (float) raw.getDouble();
        }
      }
      case "BF16" -> {
        for (int i = at; i < at + count; i++) {
          out[i] = BFloat16.toFloat(raw.getShort());
        }
      }
      case "F16" -> {
        for (int i = at; i < at + count; i++) {
          out[i] = halfToFloat(raw.getShort());
        }
      }
      default -> throw new IllegalArgumentException(dtype + " has no floating-point numbers");
    }
  }

  private static float halfToFloat(short half) {
    int sign = (half & 0x8000) << 16;
    int exponent = (half >>> 10) & 0x1F;
    int fraction = half & 0x3FF;
    if (exponent == 31) {
      return Float.intBitsToFloat(sign | 0x7F800000 | (fraction << 13));
    }
    if (exponent == 0) {
      float magnitude = fraction * 0x1p-24f;
      return sign == 0 ? magnitude : -magnitude;
    }
    return Float.intBitsToFloat(sign | ((exponent + 112) << 23) | (fraction << 13));
  }
}
