package dev.graft.runtime;

import java.util.Map;
import java.util.function.Supplier;

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
  default Call prepare(
      Tensor a,
      boolean transposeA,
      Tensor b,
      boolean transposeB,
      Tensor c,
      boolean accumulate,
      Tensor bias) {
    return prepare(
        new Product(
            Columns.of(a),
            transposeA,
            Columns.of(b),
            transposeB,
            Columns.of(c),
            accumulate,
            1,
            Epilogue.bias(bias)));
  }

  /**
   * Prepares {@code c = scale · op(a) · op(b) (+ c)} and its {@link Epilogue}.
   *
   * @throws IllegalArgumentException if shapes or dtypes do not fit, naming the operand
   * @throws UnsupportedEpilogueException if the library has none with this epilogue; one with
   *     nothing or a bias it always has
   */
  Call prepare(Product product);

  /**
   * All rows and some neighbouring columns of a stored matrix.
   *
   * @param tensor [rows, columns]
   * @param first first column
   * @param count columns, at least 1
   * @param scale fp32 [1], what 8-bit floats are multiplied by; null for other dtypes
   */
  record Columns(Tensor tensor, long first, long count, Tensor scale) {
    public Columns {
      if (first < 0 || count < 1 || first + count > tensor.size(1)) {
        throw new IllegalArgumentException(
            String.format("columns %d to %d are not in %s", first, first + count, tensor));
      }
    }

    public Columns(Tensor tensor, long first, long count) {
      this(tensor, first, count, null);
    }

    /** A whole matrix. */
    public static Columns of(Tensor tensor) {
      return new Columns(tensor, 0, tensor.size(1));
    }

    /** A whole matrix of 8-bit floats. */
    public static Columns scaled(Tensor tensor, Tensor scale) {
      return new Columns(tensor, 0, tensor.size(1), scale);
    }

    long rows() {
      return tensor.size(0);
    }

    /** Elements from one row to the next. */
    long stride() {
      return tensor.size(1);
    }

    boolean whole() {
      return count == stride();
    }

    DType dtype() {
      return tensor.dtype();
    }

    @Override
    public String toString() {
      return whole() ? tensor.toString() : tensor + " columns " + first + " to " + (first + count);
    }
  }

  /**
   * A product of matrices or of columns of them; see {@link #prepare(Product)}.
   *
   * @param scale factor of the product; 1 beside an epilogue
   */
  record Product(
      Columns a,
      boolean transposeA,
      Columns b,
      boolean transposeB,
      Columns c,
      boolean accumulate,
      float scale,
      Epilogue epilogue) {
    public Product {
      if (epilogue.kind() != Epilogue.Kind.NONE && scale != 1) {
        throw new IllegalArgumentException(
            "gemm: scale: expected 1 beside an epilogue, got " + scale);
      }
    }

    /** Without an epilogue. */
    public Product(
        Columns a,
        boolean transposeA,
        Columns b,
        boolean transposeB,
        Columns c,
        boolean accumulate,
        float scale) {
      this(a, transposeA, b, transposeB, c, accumulate, scale, Epilogue.NONE);
    }

    /** Sizes, dtypes, layout and epilogue, as one word; not where the operands lie. */
    public String key() {
      return String.join(
          "/",
          m() + "x" + n() + "x" + k(),
          a.dtype().label() + (transposeA ? "T" : "N"),
          b.dtype().label() + (transposeB ? "T" : "N"),
          c.dtype().label(),
          epilogue.text(),
          accumulate ? "add" : "set");
    }

    /** Rows of c. */
    long m() {
      return transposeA ? a.count() : a.rows();
    }

    /** Columns of c. */
    long n() {
      return transposeB ? b.rows() : b.count();
    }

    /** Terms of each sum. */
    long k() {
      return transposeA ? a.rows() : a.count();
    }

    void requireFits() {
      long inner = transposeB ? b.count() : b.rows();
      expect(inner == k(), "b: expected %d as inner size, got %s", k(), b);
      expect(c.rows() == m() && c.count() == n(), "c: expected [%d, %d], got %s", m(), n(), c);
      if (isFloat8()) {
        requireFitsFloat8();
      } else {
        expect(b.dtype() == a.dtype(), "b: expected dtype %s, got %s", a.dtype(), b);
      }
      expect(a.dtype() != DType.INT32, "a: expected fp32 or bf16, got %s", a);
      expect(
          c.dtype() == sums() || c.dtype() == DType.FLOAT32,
          "c: expected dtype %s or FLOAT32, got %s",
          sums(),
          c);
      epilogue.requireFits(this);
    }

    /** Whether its operands are 8-bit floats. */
    boolean isFloat8() {
      return a.dtype().isFloat8() || b.dtype().isFloat8();
    }

    /** The dtype of a bias and of a result that is not fp32. */
    DType sums() {
      return isFloat8() ? DType.BFLOAT16 : a.dtype();
    }

    /**
     * 8-bit floats have their terms side by side in both operands and sizes that are multiples of
     * 16, for so the library wants them on Hopper.
     */
    private void requireFitsFloat8() {
      for (Columns one : new Columns[] {a, b}) {
        String name = one == a ? "a" : "b";
        expect(one.dtype().isFloat8(), "%s: expected 8-bit floats, got %s", name, one);
        expect(one.whole(), "%s: expected a whole matrix, got %s", name, one);
        expect(
            one.scale() != null && one.scale().dtype() == DType.FLOAT32 && one.scale().count() == 1,
            "%s: expected a scale of fp32 [1] beside %s",
            name,
            one);
      }
      expect(!transposeA && transposeB, "operands: expected [M, K] and [N, K] as stored");
      expect(
          a.dtype() == DType.FLOAT8_E4M3 || b.dtype() == DType.FLOAT8_E4M3,
          "operands: expected one of them in e4m3, got %s, %s",
          a,
          b);
      expect(
          m() % 16 == 0 && n() % 16 == 0 && k() % 16 == 0,
          "operands: expected sizes that are multiples of 16, got %s, %s",
          a,
          b);
      expect(
          epilogue.isPlain() && (epilogue.bias() == null || c.dtype() == DType.BFLOAT16),
          "epilogue: expected none, or a bias beside a bf16 result, with 8-bit floats");
    }

    private static void expect(boolean right, String format, Object... arguments) {
      if (!right) {
        throw new IllegalArgumentException("gemm: " + String.format(format, arguments));
      }
    }
  }

  /** When a product is run with its {@link Epilogue}, and not with other calls after it. */
  enum Fusing {
    NEVER,
    /** Where the library has it. */
    ALWAYS,
    /** Where it is the faster, measured once a shape. */
    TIMED
  }

  /** See {@link Fusing}; of what is recorded from now on. */
  default Fusing fusing() {
    return Fusing.NEVER;
  }

  /**
   * Decides {@link #fusing}.
   *
   * @throws UnsupportedOperationException if the library has no epilogues
   */
  default void fuse(Fusing when) {
    if (when != Fusing.NEVER) {
      throw new UnsupportedOperationException(description() + " has no epilogues");
    }
  }

  /**
   * Whether to fuse what {@code key} names: as was chosen before, in this run or process or an
   * earlier one on this device; otherwise as {@code measure} says, from now on.
   *
   * @param measure null if it could not measure: then nothing is fused this time
   */
  default boolean choose(String key, Supplier<FusionChoice> measure) {
    return false;
  }

  /**
   * The algorithms and ways that were chosen so far, by what they are for; with them a run goes on
   * with the same bits. Empty where the library decides the same each time.
   */
  default Map<String, String> algorithms() {
    return Map.of();
  }

  /**
   * Takes algorithms of {@link #algorithms} for what is prepared from now on. What can no longer
   * have its own is refused by name when it is prepared.
   */
  default void require(Map<String, String> algorithms) {}

  /** The library and version that runs the products. */
  String description();

  @Override
  void close();
}
