package dev.graft.runtime;

import static org.assertj.core.api.Assertions.assertThat;

import dev.graft.runtime.CublasLtShape.Operand;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** How a product becomes cuBLASLt's; it needs neither the library nor a card. */
class CublasLtShapeTest {
  /** A column-major matrix product by its definition in the library's documentation. */
  private static void columnMajorProduct(
      CublasLtShape s, float[] first, int atFirst, float[] second, int atSecond, double[] result) {
    for (int i = 0; i < s.m(); i++) {
      for (int j = 0; j < s.n(); j++) {
        double sum = 0;
        for (int t = 0; t < s.k(); t++) {
          sum +=
              (double) element(s.first(), first, atFirst, i, t)
                  * element(s.second(), second, atSecond, t, j);
        }
        result[(int) (i + j * s.result().leading())] = sum;
      }
    }
  }

  private static float element(Operand operand, float[] memory, int first, int row, int column) {
    int r = operand.transposed() ? column : row;
    int c = operand.transposed() ? row : column;
    assertThat(r).isLessThan((int) operand.rows());
    assertThat(c).isLessThan((int) operand.columns());
    return memory[(int) (first + r + c * operand.leading())];
  }

  private static Tensor random(Arena arena, long seed, long rows, long columns) {
    Tensor tensor = arena.zeros("matrix " + seed, DType.FLOAT32, rows, columns);
    Random random = new Random(seed);
    float[] values = new float[(int) tensor.count()];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) random.nextGaussian();
    }
    tensor.put(0, values);
    return tensor;
  }

  /** Oracle: the sum over row-major elements, in double, so the two agree to the bit. */
  @Test
  void columnMajorReading_equalsTheRowMajorProduct() {
    int m = 5;
    int n = 6;
    int k = 7;
    try (Device device = Device.cpu(1);
        Arena arena = new Arena(device, "shapes")) {
      for (boolean transposeA : new boolean[] {false, true}) {
        for (boolean transposeB : new boolean[] {false, true}) {
          Tensor a = random(arena, 1, transposeA ? k : m, 16);
          Tensor b = random(arena, 2, transposeB ? n : k, 16);
          Tensor c = random(arena, 3, m, 20);
          Gemm.Product product =
              new Gemm.Product(
                  new Gemm.Columns(a, 3, transposeA ? m : k),
                  transposeA,
                  new Gemm.Columns(b, 5, transposeB ? k : n),
                  transposeB,
                  new Gemm.Columns(c, 8, n),
                  false,
                  1);
          CublasLtShape shape = CublasLtShape.of(product);
          float[] x = a.floats();
          float[] y = b.floats();
          double[] got = new double[m * 20];
          columnMajorProduct(shape, y, 5, x, 3, got);
          for (int i = 0; i < m; i++) {
            for (int j = 0; j < n; j++) {
              double sum = 0;
              for (int t = 0; t < k; t++) {
                sum +=
                    (double) x[transposeA ? t * 16 + 3 + i : i * 16 + 3 + t]
                        * y[transposeB ? j * 16 + 5 + t : t * 16 + 5 + j];
              }
              assertThat(got[i * 20 + j]).isEqualTo(sum);
            }
          }
        }
      }
    }
  }

  @Test
  void alignment_isTheLargestPowerOfTwoThatDividesAll() {
    assertThat(CublasLtShape.alignmentOf(0x1000, 512)).isEqualTo(256);
    assertThat(CublasLtShape.alignmentOf(0x1000, 48)).isEqualTo(16);
    assertThat(CublasLtShape.alignmentOf(0x1002, 512)).isEqualTo(2);
    assertThat(CublasLtShape.alignmentOf(7, 512)).isEqualTo(1);
  }

  /** Each property that may change which algorithm is fastest, or whether it runs at all. */
  @Test
  void keys_differWhereAlgorithmsMay() {
    try (Device device = Device.cpu(1);
        Arena arena = new Arena(device, "shapes")) {
      Tensor a = arena.zeros("a", DType.BFLOAT16, 128, 64);
      Tensor b = arena.zeros("b", DType.BFLOAT16, 64, 64);
      Tensor c = arena.zeros("c", DType.BFLOAT16, 128, 64);
      Tensor c32 = arena.zeros("c32", DType.FLOAT32, 128, 64);
      Tensor bias = arena.zeros("bias", DType.BFLOAT16, 64);
      assertThat(
              Stream.of(
                      product(a, false, b, false, c, false, null),
                      product(a, false, b, true, c, false, null),
                      product(a, false, b, false, c, true, null),
                      product(a, false, b, false, c32, false, null),
                      product(a, false, b, false, c, false, bias),
                      new Gemm.Product(
                          new Gemm.Columns(a, 1, 63),
                          false,
                          Gemm.Columns.of(arena.zeros("b63", DType.BFLOAT16, 63, 64)),
                          false,
                          Gemm.Columns.of(c),
                          false,
                          1))
                  .map(product -> CublasLtShape.of(product).key())
                  .toList())
          .doesNotHaveDuplicates()
          .allSatisfy(key -> assertThat(key).doesNotContain(" "))
          .first()
          .asString()
          .matches("64x128x64/bf16N64@\\d+/bf16N64@\\d+/bf16N64@\\d+/plain/set");
    }
  }

  private static Gemm.Product product(
      Tensor a, boolean ta, Tensor b, boolean tb, Tensor c, boolean accumulate, Tensor bias) {
    return new Gemm.Product(
        Gemm.Columns.of(a),
        ta,
        Gemm.Columns.of(b),
        tb,
        Gemm.Columns.of(c),
        accumulate,
        1,
        Epilogue.bias(bias));
  }
}
