package dev.graft.runtime;

/**
 * Matrix products of a device, by its vendor's library. A product is prepared once for its shapes
 * and addresses and run many times.
 */
public interface Gemm extends AutoCloseable {

  /** A product bound to its operands. Running it allocates nothing. */
  interface Call extends AutoCloseable {
    void run();

    @Override
    void close();
  }

  /**
   * Prepares {@code c[M, N] = op(a)[M, K] · op(b)[K, N] (+ c if accumulate) (+ bias[N])}, where op
   * transposes the stored matrix if asked. All operands are contiguous and row-major as stored.
   *
   * @param a [M, K], or [K, M] if transposed; fp32 or bf16
   * @param b [K, N], or [N, K] if transposed; dtype of a
   * @param c [M, N]; dtype of a, or fp32
   * @param bias [N] of dtype a or fp32, or null
   * @throws IllegalArgumentException if shapes or dtypes do not fit, naming the operand
   */
  Call prepare(
      Tensor a,
      boolean transposeA,
      Tensor b,
      boolean transposeB,
      Tensor c,
      boolean accumulate,
      Tensor bias);

  /** The library and version that runs the products. */
  String description();

  @Override
  void close();
}
