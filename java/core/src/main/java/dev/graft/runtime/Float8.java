package dev.graft.runtime;

/** 8-bit floats (Micikevicius et al., arXiv:2209.05433) by their bits. */
final class Float8 {
  private Float8() {}

  /** The value of each code, 0 to 255. */
  static float[] values(DType dtype) {
    int fractionBits = dtype == DType.FLOAT8_E4M3 ? 3 : 2;
    int bias = dtype == DType.FLOAT8_E4M3 ? 7 : 15;
    float[] values = new float[256];
    for (int code = 0; code < 128; code++) {
      int exponent = code >> fractionBits;
      double fraction = (code & ((1 << fractionBits) - 1)) / (double) (1 << fractionBits);
      double value =
          exponent == 0
              ? Math.scalb(fraction, 1 - bias)
              : Math.scalb(1 + fraction, exponent - bias);
      if (dtype == DType.FLOAT8_E4M3 && code == 127 || dtype == DType.FLOAT8_E5M2 && code > 124) {
        value = Double.NaN;
      } else if (dtype == DType.FLOAT8_E5M2 && code == 124) {
        value = Double.POSITIVE_INFINITY;
      }
      values[code] = (float) value;
      values[code + 128] = (float) -value;
    }
    return values;
  }
}
