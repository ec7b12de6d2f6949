package dev.graft.runtime;

import dev.graft.bindings.global.graft;

/** Element types of tensors. */
public enum DType {
  FLOAT32(graft.GRAFT_FLOAT32, 4),
  BFLOAT16(graft.GRAFT_BFLOAT16, 2),
  INT32(graft.GRAFT_INT32, 4),
  /** 8 bits, 3 of the fraction, up to 448: an operand of products, under a scale. */
  FLOAT8_E4M3(graft.GRAFT_FLOAT8_E4M3, 1),
  /** 8 bits, 2 of the fraction, up to 57,344: the same. */
  FLOAT8_E5M2(graft.GRAFT_FLOAT8_E5M2, 1);

  private final int code;
  private final int bytes;

  DType(int code, int bytes) {
    this.code = code;
    this.bytes = bytes;
  }

  /** The constant of graft.h. */
  public int code() {
    return code;
  }

  /** Bytes of one element. */
  public int bytes() {
    return bytes;
  }

  /** Whether activations, weights and moments may be of it: fp32 and bf16. */
  public boolean isFloat() {
    return this == FLOAT32 || this == BFLOAT16;
  }

  /** Whether it is one of 8 bits, which has a scale beside it. */
  public boolean isFloat8() {
    return this == FLOAT8_E4M3 || this == FLOAT8_E5M2;
  }

  /** {@code "fp32"} or {@code "bf16"}, as users write them. */
  public static DType parse(String name) {
    return switch (name) {
      case "fp32", "float32" -> FLOAT32;
      case "bf16", "bfloat16" -> BFLOAT16;
      default -> throw new IllegalArgumentException("dtype: expected fp32 or bf16, got " + name);
    };
  }

  /** The short name users read. */
  public String label() {
    return switch (this) {
      case FLOAT32 -> "fp32";
      case BFLOAT16 -> "bf16";
      case INT32 -> "int32";
      case FLOAT8_E4M3 -> "e4m3";
      case FLOAT8_E5M2 -> "e5m2";
    };
  }
}
