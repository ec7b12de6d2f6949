package dev.graft.runtime;

/**
 * A product as cuBLASLt sees it. Its matrices are column-major, ours row-major, and a row-major
 * matrix read column-major is its transpose; so for C = op(A) · op(B) it is asked for
 *
 * <pre>  Cᵀ [N, M] = op(B)ᵀ · op(A)ᵀ </pre>
 *
 * with our b as its first operand and our a as its second; nothing is moved.
 *
 * @param m rows of its result: N
 * @param n columns of its result: M
 * @param k terms of each sum
 * @param first its first operand: our b
 * @param second its second operand: our a
 * @param result our c
 * @param accumulate whether it adds to what is there
 */
record CublasLtShape(
    long m,
    long n,
    long k,
    Operand first,
    Operand second,
    Operand result,
    CublasLtEpilogue epilogue,
    boolean accumulate) {
  /** cuBLASLt's fastest kernels ask for at most so much. */
  private static final int MOST_ALIGNMENT = 256;

  /**
   * A stored matrix.
   *
   * @param transposed whether it is multiplied transposed
   * @param rows rows as stored, column-major
   * @param columns columns as stored
   * @param leading elements from one column to the next
   * @param alignment bytes its address and columns are a multiple of, a power of two up to 256
   */
  record Operand(
      DType dtype, boolean transposed, long rows, long columns, long leading, int alignment) {

    private static Operand of(Gemm.Columns matrix, boolean transposed) {
      return new Operand(
          matrix.dtype(),
          transposed,
          matrix.count(),
          matrix.rows(),
          matrix.stride(),
          alignmentOf(address(matrix), matrix.stride() * matrix.dtype().bytes()));
    }

    private String text() {
      return dtype.label() + (transposed ? "T" : "N") + leading + "@" + alignment;
    }
  }

  static CublasLtShape of(Gemm.Product product) {
    // Stored [K, N] as we count is [N, K] column-major, which is op(B)ᵀ as it lies there; so what
    // is transposed for us is transposed for it.
    return new CublasLtShape(
        product.n(),
        product.m(),
        product.k(),
        Operand.of(product.b(), product.transposeB()),
        Operand.of(product.a(), product.transposeA()),
        Operand.of(product.c(), false),
        CublasLtEpilogue.of(product),
        product.accumulate());
  }

  /** The address of a matrix' first element. */
  static long address(Gemm.Columns matrix) {
    return matrix.tensor().address() + matrix.first() * matrix.dtype().bytes();
  }

  /** The largest power of two, up to 256, that divides all. */
  static int alignmentOf(long... numbers) {
    long bits = MOST_ALIGNMENT;
    for (long number : numbers) {
      bits |= number;
    }
    return (int) Long.lowestOneBit(bits);
  }

  /** All that decides which algorithm is fastest, as one word. */
  String key() {
    return String.join(
        "/",
        m + "x" + n + "x" + k,
        first.text(),
        second.text(),
        result.text(),
        epilogue.text(),
        accumulate ? "add" : "set");
  }
}
