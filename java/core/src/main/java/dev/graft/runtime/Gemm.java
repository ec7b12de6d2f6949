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
   */
  record Columns(Tensor tensor, long first, long count) {
    public Columns {
      if (first < 0 || count < 1 || first + count > tensor.size(1)) {
        throw new IllegalArgumentException(
            String.format("columns %d to %d are not in %s", first, first + count, tensor));
      }
    }

    /** A whole matrix. */
    public static Columns of(Tensor tensor) {
      return new Columns(tensor, 0, tensor.size(1));
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
      expect(b.dtype() == a.dtype(), "b: expected dtype %s, got %s", a.dtype(), b);
      expect(a.dtype() != DType.INT32, "a: expected fp32 or bf16, got %s", a);
      expect(
          c.dtype() == a.dtype() || c.dtype() == DType.FLOAT32,
          "c: expected dtype %s or FLOAT32, got %s",
          a.dtype(),
          c);
      epilogue.requireFits(this);
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
