package dev.graft.program;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.graft.runtime.Arena;
import dev.graft.runtime.CudaBackend;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.runtime.Epilogue;
import dev.graft.runtime.Gemm.Columns;
import dev.graft.runtime.Gemm.Product;
import dev.graft.runtime.Tensor;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * Products of 8-bit floats on the emulated device.
 *
 * <p>Oracle: the product in double of numbers that 8-bit floats hold exactly (small integers times
 * a power of two), so that nothing is rounded but the result.
 */
@Tag("emulated")
class Float8ProductTest {
  private static final int M = 32;
  private static final int N = 48;
  private static final int K = 16;

  @BeforeAll
  static void library() {
    String library = System.getProperty(CudaBackend.EMULATED_LIBRARY);
    assumeTrue(library != null && Files.exists(Path.of(library)), "built for the tests");
  }

  /** Integers from -3 to 3, one of them 7, times 2^power; so the scale is not 1. */
  private static Tensor integers(Arena arena, long seed, int power, long rows, long columns) {
    Tensor tensor = arena.zeros("x", DType.BFLOAT16, rows, columns);
    Random random = new Random(seed);
    float[] values = new float[(int) tensor.count()];
    for (int i = 0; i < values.length; i++) {
      values[i] = Math.scalb((float) (random.nextInt(7) - 3), power);
    }
    values[5] = Math.scalb(7f, power);
    tensor.put(0, values);
    return tensor;
  }

  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"FLOAT32", "BFLOAT16"})
  void equalsTheProductInDouble(DType result) {
    try (Device device = Device.emulated();
        Arena arena = new Arena(device, "operands");
        ActivationArena activations = new ActivationArena(device, "8 bits")) {
      Tensor a = integers(arena, 1, 9, M, K);
      Tensor b = integers(arena, 2, -13, K, N); // so that its transposed copy is multiplied
      Tensor bias = arena.zeros("bias", DType.BFLOAT16, N);
      float[] biases = new float[N];
      for (int i = 0; i < N; i++) {
        biases[i] = i / 4f;
      }
      bias.put(0, biases);
      boolean rounded = result == DType.BFLOAT16;
      Tensor c = arena.zeros("c", result, M, N);
      Program program = new Program("product", activations);
      Ops ops = new Ops(program);
      Tensor a8 = program.activation("a8", DType.FLOAT8_E4M3, M, K);
      Tensor b8 = program.activation("b8", DType.FLOAT8_E5M2, N, K);
      Tensor scaleA = program.keep(program.activation("scale a", DType.FLOAT32, 1));
      Tensor scaleB = program.keep(program.activation("scale b", DType.FLOAT32, 1));
      ops.quantize(a, a8, null, scaleA);
      ops.quantize(b, null, b8, scaleB);
      ops.gemm(
          "product",
          new Product(
              Columns.scaled(a8, scaleA),
              false,
              Columns.scaled(b8, scaleB),
              true,
              Columns.of(c),
              true,
              1,
              Epilogue.bias(rounded ? bias : null)));
      program.seal();
      for (int run = 0; run < 3; run++) {
        program.run();
      }
      assertThat(scaleA.floats()).containsExactly(Math.scalb(1f, 9 - 6)); // 7 · 2^6 = 448
      assertThat(scaleB.floats()).containsExactly(Math.scalb(1f, -13 - 13)); // 7 · 2^13 = 57344
      float[] x = a.floats();
      float[] y = b.floats();
      float[] got = c.floats();
      for (int i = 0; i < M; i++) {
        for (int j = 0; j < N; j++) {
          double sum = rounded ? biases[j] : 0;
          for (int t = 0; t < K; t++) {
            sum += (double) x[i * K + t] * y[t * N + j];
          }
          double exact = 3 * sum;
          assertThat(Math.abs(got[i * N + j] - exact))
              .as("[%d, %d]", i, j)
              .isLessThanOrEqualTo(rounded ? Math.abs(exact) / 64 + 1e-6 : 0);
        }
      }
      program.close();
    }
  }

  @Test
  void whatDoesNotFit_isNamed() {
    try (Device device = Device.emulated();
        Arena arena = new Arena(device, "operands")) {
      Tensor scale = arena.zeros("scale", DType.FLOAT32, 1);
      Tensor e4m3 = arena.zeros("x", DType.FLOAT8_E4M3, 32, 32);
      Tensor e5m2 = arena.zeros("x", DType.FLOAT8_E5M2, 32, 32);
      Tensor odd = arena.zeros("x", DType.FLOAT8_E4M3, 24, 32);
      Tensor bf16 = arena.zeros("x", DType.BFLOAT16, 32, 32);
      Columns right = Columns.scaled(e4m3, scale);
      Columns c = Columns.of(bf16);
      refused(device, right, false, Columns.of(bf16), c, "b: expected 8-bit floats");
      refused(device, Columns.of(e4m3), false, right, c, "a: expected a scale of fp32 [1]");
      refused(device, right, true, right, c, "operands: expected [M, K] and [N, K] as stored");
      Columns gradient = Columns.scaled(e5m2, scale);
      refused(device, gradient, false, gradient, c, "operands: expected one of them in e4m3");
      refused(
          device,
          Columns.scaled(odd, scale),
          false,
          right,
          Columns.of(arena.zeros("c", DType.BFLOAT16, 24, 32)),
          "operands: expected sizes that are multiples of 16");
    }
    try (Device cpu = Device.cpu();
        Arena arena = new Arena(cpu, "operands")) {
      Tensor scale = arena.zeros("scale", DType.FLOAT32, 1);
      Columns a = Columns.scaled(arena.zeros("x", DType.FLOAT8_E4M3, 32, 32), scale);
      Columns c = Columns.of(arena.zeros("c", DType.BFLOAT16, 32, 32));
      assertThatThrownBy(() -> cpu.gemm().prepare(new Product(a, false, a, true, c, false, 1)))
          .isInstanceOf(UnsupportedOperationException.class)
          .hasMessageContaining("has no products of 8-bit floats");
    }
  }

  private static void refused(
      Device device, Columns a, boolean transposeA, Columns b, Columns c, String message) {
    assertThatThrownBy(
            () -> device.gemm().prepare(new Product(a, transposeA, b, true, c, false, 1)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining(message);
  }
}
