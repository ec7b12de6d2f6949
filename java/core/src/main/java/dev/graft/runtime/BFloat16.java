package dev.graft.runtime;

/** Conversions between float and the upper half of its bits. */
public final class BFloat16 {
  private BFloat16() {}

  /** Rounds to nearest even; a NaN stays a (quiet) NaN. */
  public static short fromFloat(float x) {
    int bits = Float.floatToRawIntBits(x);
    if ((bits & 0x7FFFFFFF) > 0x7F800000) {
      return (short) ((bits >>> 16) | 0x40);
    }
    return (short) ((bits + 0x7FFF + ((bits >>> 16) & 1)) >>> 16);
  }

  /** Exact. */
  public static float toFloat(short bits) {
    return Float.intBitsToFloat(bits << 16);
  }
}
