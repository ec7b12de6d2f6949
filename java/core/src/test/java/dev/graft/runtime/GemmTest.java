package dev.graft.runtime;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Products of columns, scaled and added to what is there. */
class GemmTest {
  private static Tensor random(Arena arena, DType dtype, long seed, long rows, long columns) {
    Tensor tensor = arena.zeros("matrix " + seed, dtype, rows, columns);
    Random random = new Random(seed);
    float[] values = new float[(int) tensor.count()];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) random.nextGaussian();
    }
    tensor.put(0, values);
    return tensor;
  }

  /**
   * Oracle: the sum in double over the operands as stored. Tolerance: one rounding of the result to
   * its dtype, and of fp32 sums of 7 terms. Columns beside the product's keep every bit.
   */
  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"FLOAT32", "BFLOAT16"})
  void columns_scaledAndAccumulated_equalTheSumInDouble(DType dtype) {
    try (Device device = Device.cpu();
        Arena arena = new Arena(device, "gemm test")) {
      for (boolean transposeA : new boolean[] {false, true}) {
        for (boolean transposeB : new boolean[] {false, true}) {
          int m = 5;
          int n = 6;
          int k = 7;
          Tensor a = random(arena, dtype, 1, transposeA ? k : m, 16);
          Tensor b = random(arena, dtype, 2, transposeB ? n : k, 16);
          Tensor c = random(arena, dtype, 3, m, 20);
          float[] before = c.floats();
          Gemm.Product product =
              new Gemm.Product(
                  new Gemm.Columns(a, 3, transposeA ? m : k),
                  transposeA,
                  new Gemm.Columns(b, 5, transposeB ? k : n),
                  transposeB,
                  new Gemm.Columns(c, 8, n),
                  true,
                  0.75f);
          try (Gemm.Call call = device.gemm().prepare(product)) {
            call.run();
          }
          float[] x = a.floats();
          float[] y = b.floats();
          float[] got = c.floats();
          double ulp = dtype == DType.FLOAT32 ? 1e-6 : 1.0 / 256;
          for (int i = 0; i < m; i++) {
            for (int j = 0; j < 20; j++) {
              double expected = before[i * 20 + j];
              if (j < 8 || j >= 8 + n) {
                assertThat(got[i * 20 + j]).isEqualTo((float) expected);
                continue;
              }
              double sum = 0;
              for (int t = 0; t < k; t++) {
                sum +=
                    (double) x[transposeA ? t * 16 + 3 + i : i * 16 + 3 + t]
                        * y[transposeB ? (j - 8) * 16 + 5 + t : t * 16 + 5 + j - 8];
              }
              expected += 0.75 * sum;
              assertThat((double) got[i * 20 + j])
                  .isCloseTo(expected, within(ulp * (1 + Math.abs(expected))));
            }
          }
        }
      }
    }
  }

  @Test
  void wrongColumns_areNamed() {
    try (Device device = Device.cpu();
        Arena arena = new Arena(device, "gemm test")) {
      Tensor a = arena.zeros("a", DType.FLOAT32, 4, 8);
      assertThatThrownBy(() -> new Gemm.Columns(a, 4, 5))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("columns 4 to 9 are not in a fp32[4, 8]");
      Gemm.Columns half = new Gemm.Columns(a, 0, 4);
      assertThatThrownBy(
              () ->
                  device
                      .gemm()
                      .prepare(
                          new Gemm.Product(half, false, Gemm.Columns.of(a), true, half, false, 1)))
          .hasMessageContaining("b: expected 4 as inner size");
    }
  }
}
