package dev.graft.runtime;

import java.util.Locale;

/**
 * What a product P = op(a)[M, K] · op(b)[K, N] does to its result before that is stored, so that no
 * other call reads and writes it again.
 *
 * <pre>
 *   NONE           c = P (+ c)
 *   BIAS           c = P (+ c) + bias
 *   GELU           before = P + bias,  c = gelu(before)
 *   GELU_GRADIENT  c = P ∘ gelu'(before),  sums[n] = Σ_m c[m, n]
 *   SUMS_OF_A      c = P (+ c),  sums[m] = Σ_k op(a)[m, k]
 *   SUMS_OF_B      c = P (+ c),  sums[n] = Σ_k op(b)[k, n]
 * </pre>
 *
 * gelu is the tanh form (Hendrycks and Gimpel, arXiv:1606.08415, section 2), the only one that
 * cuBLASLt has. What is summed is the gradient of a bias: of the layer below in GELU_GRADIENT; of
 * the layer itself where the product is the gradient of its weight. Sums are stored, not added to
 * what is there. All of it is computed in fp32 and rounded once.
 *
 * @param bias [N], dtype of a or fp32; or null
 * @param before [M, N], dtype of c; GELU writes it, unless it is null, and GELU_GRADIENT reads it
 * @param sums [N], in SUMS_OF_A [M]; dtype of c; null if they are not wanted
 */
public record Epilogue(Kind kind, Tensor bias, Tensor before, Tensor sums) {
  public static final Epilogue NONE = new Epilogue(Kind.NONE, null, null, null);

  /** See {@link Epilogue}. */
  public enum Kind {
    NONE,
    BIAS,
    GELU,
    GELU_GRADIENT,
    SUMS_OF_A,
    SUMS_OF_B
  }

  /** {@link #NONE} if there is no bias. */
  public static Epilogue bias(Tensor bias) {
    return bias == null ? NONE : new Epilogue(Kind.BIAS, bias, null, null);
  }

  /**
   * @param before null if nothing reads it
   */
  public static Epilogue gelu(Tensor bias, Tensor before) {
    return new Epilogue(Kind.GELU, bias, before, null);
  }

  /**
   * @param sums null if they are not wanted
   */
  public static Epilogue geluGradient(Tensor before, Tensor sums) {
    return new Epilogue(Kind.GELU_GRADIENT, null, before, sums);
  }

  public static Epilogue sumsOfA(Tensor sums) {
    return new Epilogue(Kind.SUMS_OF_A, null, null, sums);
  }

  public static Epilogue sumsOfB(Tensor sums) {
    return new Epilogue(Kind.SUMS_OF_B, null, null, sums);
  }

  /** Whether every library does it: nothing, or a bias. */
  boolean isPlain() {
    return kind == Kind.NONE || kind == Kind.BIAS;
  }

  void requireFits(Gemm.Product product) {
    boolean gelu = kind == Kind.GELU || kind == Kind.GELU_GRADIENT;
    Gemm.Columns c = product.c();
    long m = product.m();
    long n = product.n();
    expect(!(gelu && product.accumulate()), "accumulate: expected no sum beside %s", kind);
    expect(!gelu || c.whole(), "c: expected a whole matrix beside %s, got %s", kind, c);
    DType dtype = product.sums();
    if (bias != null) {
      expect(bias.count() == n, "bias: expected [%d], got %s", n, bias);
      expect(
          bias.dtype() == dtype || bias.dtype() == DType.FLOAT32,
          "bias: expected dtype %s or FLOAT32, got %s",
          dtype,
          bias);
    }
    expect(
        before != null || kind != Kind.GELU_GRADIENT, "before: %s needs what GELU has read", kind);
    expect(
        before == null || (before.count() == m * n && before.dtype() == c.dtype()),
        "before: expected %s [%d, %d], got %s",
        c.dtype(),
        m,
        n,
        before);
    boolean ofA = kind == Kind.SUMS_OF_A;
    boolean ofB = kind == Kind.SUMS_OF_B;
    expect(sums != null || !(ofA || ofB), "sums: %s needs a place for them", kind);
    long count = ofA ? m : n;
    expect(
        sums == null || (sums.count() == count && sums.dtype() == c.dtype()),
        "sums: expected %s [%d], got %s",
        c.dtype(),
        count,
        sums);
    expect(!ofA || (product.transposeA() && product.a().whole()), "a: expected [K, M] as stored");
    expect(!ofB || (!product.transposeB() && product.b().whole()), "b: expected [K, N] as stored");
  }

  private static void expect(boolean right, String format, Object... arguments) {
    if (!right) {
      throw new IllegalArgumentException("gemm: " + String.format(format, arguments));
    }
  }

  /** What it does, as one word of a key. */
  String text() {
    return kind.name().toLowerCase(Locale.ROOT)
        + (kind == Kind.GELU && bias != null ? "-bias" : "")
        + (kind == Kind.GELU && before != null ? "-before" : "")
        + (kind == Kind.GELU_GRADIENT && sums != null ? "-sums" : "");
  }
}
