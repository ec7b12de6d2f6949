package dev.graft.verify;

import dev.graft.runtime.Arena;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.runtime.Epilogue;
import dev.graft.runtime.Epilogue.Kind;
import dev.graft.runtime.Gemm;
import dev.graft.runtime.Gemm.Columns;
import dev.graft.runtime.Gemm.Product;
import dev.graft.runtime.Philox;
import dev.graft.runtime.Tensor;
import dev.graft.verify.StepCheck.Finding;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * A device's matrix products beside sums in double: every layout and dtype, sizes and columns that
 * fit no vector, each epilogue the device has.
 *
 * <p>Oracle: the sums of the operands as stored. An fp32 result may be off by 2e-6 of the sum of
 * its terms' sizes, which TF32 is not, a bf16 one by a rounding more.
 */
public final class ProductCheck {
  private static final double FP32_TOLERANCE = 2e-6;
  private static final double BF16_ULP = 1.0 / 256;

  /** M, N, K; a head of one label, a rank of one and sizes of real layers among them. */
  private static final int[][] SIZES = {
    {1, 1, 1}, {5, 1, 64}, {1, 7, 33}, {9, 16, 1}, {64, 64, 64}, {129, 65, 257}, {48, 768, 128}
  };

  private static final DType[][] DTYPES = {
    {DType.FLOAT32, DType.FLOAT32},
    {DType.BFLOAT16, DType.BFLOAT16},
    {DType.BFLOAT16, DType.FLOAT32}
  };

  /**
   * One product.
   *
   * @param in dtype of both operands
   * @param out dtype of the result
   * @param before columns of the result's tensor before its own, and as many behind
   * @param accumulate whether the result is added to what is there
   * @param bias dtype of the bias, or null
   */
  public record Case(
      DType in,
      DType out,
      boolean transposeA,
      boolean transposeB,
      int m,
      int n,
      int k,
      int before,
      boolean accumulate,
      Kind kind,
      DType bias) {
    @Override
    public String toString() {
      return String.format(
          "product %dx%dx%d %s%s %s to %s%s%s%s",
          m,
          n,
          k,
          transposeA ? "T" : "N",
          transposeB ? "T" : "N",
          in.label(),
          out.label(),
          before > 0 ? " columns from " + before : "",
          accumulate ? " added" : "",
          kind == Kind.NONE
              ? ""
              : " "
                  + kind.name().toLowerCase(Locale.ROOT).replace('_', ' ')
                  + (bias == null ? "" : " (bias " + bias.label() + ")"));
    }
  }

  private ProductCheck() {}

  /** All that are checked. */
  public static List<Case> cases() {
    List<Case> cases = new ArrayList<>();
    int turn = 0;
    for (int[] size : SIZES) {
      for (DType[] types : DTYPES) {
        for (int layout = 0; layout < 4; layout++, turn++) {
          // In turn, for all of them with all layouts, sizes and dtypes would be a thousand.
          DType bias = new DType[] {null, types[0], DType.FLOAT32}[turn % 3];
          int before = new int[] {0, 8, 0, 3, 0}[turn % 5];
          cases.add(
              new Case(
                  types[0],
                  types[1],
                  (layout & 1) != 0,
                  (layout & 2) != 0,
                  size[0],
                  size[1],
                  size[2],
                  before,
                  (turn + turn / 4) % 2 == 1,
                  bias == null ? Kind.NONE : Kind.BIAS,
                  bias));
        }
      }
    }
    DType bf16 = DType.BFLOAT16;
    for (boolean outIn : new boolean[] {false, true}) {
      cases.add(new Case(bf16, bf16, false, outIn, 96, 256, 64, 0, false, Kind.GELU, bf16));
      cases.add(
          new Case(bf16, bf16, false, !outIn, 96, 256, 64, 0, false, Kind.GELU_GRADIENT, null));
    }
    for (DType dtype : new DType[] {bf16, DType.FLOAT32}) {
      for (Kind kind : new Kind[] {Kind.SUMS_OF_A, Kind.SUMS_OF_B}) {
        cases.add(new Case(dtype, DType.FLOAT32, true, false, 64, 256, 96, 0, true, kind, null));
      }
    }
    return cases;
  }

  /**
   * Computes one.
   *
   * @return how far each of its results is off, where it is worst
   * @throws dev.graft.runtime.UnsupportedEpilogueException if the device lacks its epilogue
   */
  public static List<Finding> compare(Device device, Case what) {
    return compare(device, device.gemm(), what);
  }

  static List<Finding> compare(Device device, Gemm gemm, Case what) {
    try (Arena arena = new Arena(device, "a product")) {
      Operands operands = new Operands(arena, what);
      float[] there = operands.c.floats();
      try (Gemm.Call call = gemm.prepare(operands.product())) {
        call.run();
        device.synchronize();
      }
      return judge(what, operands, there);
    }
  }

  /** Random values in ±1 where something reads them. */
  private static final class Operands {
    private final Case what;
    private final Tensor a;
    private final Tensor b;
    private final Tensor c;
    private final Tensor bias;
    private final Tensor before;
    private final Tensor sums;

    Operands(Arena arena, Case what) {
      this.what = what;
      Philox random = new Philox(31L * (31L * what.m + what.n) + what.k);
      int m = what.m;
      int n = what.n;
      int k = what.k;
      a = filled(arena, random, "a", what.in, what.transposeA ? k : m, what.transposeA ? m : k);
      b = filled(arena, random, "b", what.in, what.transposeB ? n : k, what.transposeB ? k : n);
      c = filled(arena, random, "c", what.out, m, n + 2L * what.before);
      // Where the result lies off every vector, so does the bias.
      bias =
          what.bias == null
              ? null
              : filled(arena, random, "bias", what.bias, n + what.before).view(what.before, n);
      boolean gelu = what.kind == Kind.GELU || what.kind == Kind.GELU_GRADIENT;
      before = gelu ? filled(arena, random, "before", what.out, m, n) : null;
      sums =
          switch (what.kind) {
            case GELU_GRADIENT, SUMS_OF_B -> arena.zeros("sums", what.out, n);
            case SUMS_OF_A -> arena.zeros("sums", what.out, m);
            default -> null;
          };
    }

    private static Tensor filled(
        Arena arena, Philox random, String name, DType dtype, long... shape) {
      Tensor tensor = arena.zeros(name, dtype, shape);
      float[] values = new float[(int) tensor.count()];
      for (int i = 0; i < values.length; i++) {
        values[i] = (float) (2 * random.nextDouble() - 1);
      }
      tensor.put(0, values);
      return tensor;
    }

    Product product() {
      return new Product(
          Columns.of(a),
          what.transposeA,
          Columns.of(b),
          what.transposeB,
          new Columns(c, what.before, what.n),
          what.accumulate,
          1,
          switch (what.kind) {
            case NONE -> Epilogue.NONE;
            case BIAS -> Epilogue.bias(bias);
            case GELU -> Epilogue.gelu(bias, before);
            case GELU_GRADIENT -> Epilogue.geluGradient(before, sums);
            case SUMS_OF_A -> Epilogue.sumsOfA(sums);
            case SUMS_OF_B -> Epilogue.sumsOfB(sums);
          });
    }
  }

  /** The worst place of one result. */
  private static final class Worst {
    private final String name;
    private final DType dtype;
    private Finding worst;

    Worst(String name, DType dtype) {
      this.name = name;
      this.dtype = dtype;
      worst = new Finding(name, 0, 1);
    }

    /**
     * @param size of all terms together
     */
    void add(double got, double exact, double size) {
      double off = Math.abs(got - exact);
      double error = Double.isNaN(off) ? Double.POSITIVE_INFINITY : off;
      double allowed =
          FP32_TOLERANCE * size + (dtype == DType.BFLOAT16 ? BF16_ULP * Math.abs(exact) : 0);
      if (error / allowed > worst.error() / worst.allowed()) {
        worst = new Finding(name, error, allowed);
      }
    }
  }

  private static List<Finding> judge(Case what, Operands operands, float[] there) {
    float[] a = operands.a.floats();
    float[] b = operands.b.floats();
    float[] c = operands.c.floats();
    float[] bias = operands.bias == null ? new float[what.n] : operands.bias.floats();
    float[] before = operands.before == null ? null : operands.before.floats();
    int width = what.n + 2 * what.before;
    Worst result = new Worst("result", what.out);
    Worst read = new Worst("what GELU read", what.out);
    double[] sums = new double[what.n];
    double[] sizes = new double[what.n];
    for (int m = 0; m < what.m; m++) {
      for (int n = 0; n < what.n; n++) {
        double sum = bias[n];
        double size = Math.abs(sum);
        for (int k = 0; k < what.k; k++) {
          double term =
              (double) a[what.transposeA ? k * what.m + m : m * what.k + k]
                  * b[what.transposeB ? n * what.k + k : k * what.n + n];
          sum += term;
          size += Math.abs(term);
        }
        int at = m * width + what.before + n;
        if (what.accumulate) {
          sum += there[at];
          size += Math.abs(there[at]);
        }
        double exact = sum;
        if (what.kind == Kind.GELU) {
          read.add(before[m * what.n + n], sum, size);
          exact = gelu(sum);
          // Half a rounding more, for a library may take the card's own tanh.
          size += BF16_ULP / 2 / FP32_TOLERANCE * Math.abs(sum);
        } else if (what.kind == Kind.GELU_GRADIENT) {
          exact = sum * geluGradient(before[m * what.n + n]);
          size += BF16_ULP / 2 / FP32_TOLERANCE * Math.abs(sum);
        }
        result.add(c[at], exact, size);
        sums[n] += exact;
        sizes[n] += BF16_ULP / FP32_TOLERANCE * Math.abs(exact) + size;
      }
    }
    List<Finding> findings = new ArrayList<>(List.of(result.worst, outside(what, c, there)));
    if (what.kind == Kind.GELU) {
      findings.add(read.worst);
    }
    if (operands.sums != null) {
      findings.add(sums(what, operands, sums, sizes, a, b));
    }
    return findings;
  }

  private static Finding sums(
      Case what, Operands operands, double[] ofResult, double[] sizes, float[] a, float[] b) {
    float[] got = operands.sums.floats();
    Worst worst = new Worst("sums", what.out);
    for (int i = 0; i < got.length; i++) {
      if (what.kind == Kind.GELU_GRADIENT) {
        worst.add(got[i], ofResult[i], sizes[i]);
        continue;
      }
      // Both are stored with the summed axis first.
      float[] values = what.kind == Kind.SUMS_OF_A ? a : b;
      double sum = 0;
      double size = 0;
      for (int k = 0; k < what.k; k++) {
        double value = values[k * got.length + i];
        sum += value;
        size += Math.abs(value);
      }
      worst.add(got[i], sum, size);
    }
    return worst.worst;
  }

  /** Columns of the result's tensor that are not the result's stay as they were. */
  private static Finding outside(Case what, float[] c, float[] there) {
    int width = what.n + 2 * what.before;
    for (int i = 0; i < c.length; i++) {
      int column = i % width;
      boolean own = column >= what.before && column < what.before + what.n;
      if (!own && c[i] != there[i]) {
        return new Finding("a column beside the result", Math.abs(c[i] - there[i]), 0);
      }
    }
    return new Finding("columns beside the result", 0, 1);
  }

  private static final double ROOT = Math.sqrt(2 / Math.PI);
  private static final double CUBIC = 0.044715;

  private static double gelu(double x) {
    return 0.5 * x * (1 + Math.tanh(ROOT * (x + CUBIC * x * x * x)));
  }

  private static double geluGradient(double x) {
    double tanh = Math.tanh(ROOT * (x + CUBIC * x * x * x));
    return 0.5 * (1 + tanh) + 0.5 * x * (1 - tanh * tanh) * ROOT * (1 + 3 * CUBIC * x * x);
  }
}
