package dev.graft.io;

import java.util.Arrays;

/**
 * One tensor of a safetensors file.
 *
 * @param dtype as the format names it: F64, F32, F16, BF16, F8_E4M3, F8_E5M2, C64, I64 … I8, U64 …
 *     U8, BOOL
 * @param begin first byte, counted from the file's start
 * @param end byte behind the last
 */
public record TensorInfo(String name, String dtype, long[] shape, long begin, long end) {
  /** Number of elements. */
  public long count() {
    long count = 1;
    for (long size : shape) {
      count *= size;
    }
    return count;
  }

  public long byteSize() {
    return end - begin;
  }

  /** Bytes of an element of a dtype; 0 if the name is not known. */
  static int elementBytes(String dtype) {
    return switch (dtype) {
      case "F64", "I64", "U64", "C64" -> 8;
      case "F32", "I32", "U32" -> 4;
      case "F16", "BF16", "I16", "U16" -> 2;
      case "I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2" -> 1;
      default -> 0;
    };
  }

  @Override
  public String toString() {
    return name + " " + dtype + Arrays.toString(shape);
  }
}
