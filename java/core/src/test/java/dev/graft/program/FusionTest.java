package dev.graft.program;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.graft.runtime.Arena;
import dev.graft.runtime.BFloat16;
import dev.graft.runtime.CudaBackend;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.runtime.FusionChoice;
import dev.graft.runtime.Gemm.Fusing;
import dev.graft.runtime.Tensor;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Products with epilogues on the emulated device beside the calls they stand for.
 *
 * <p>Oracle: the formulas in double over the operands as stored. Tolerance: twice what the separate
 * calls are off, and two units in the last place of the dtype.
 */
@Tag("emulated")
class FusionTest {
  private static final int RUNS = 3;

  @BeforeAll
  static void library() {
    String library = System.getProperty(CudaBackend.EMULATED_LIBRARY);
    assumeTrue(library != null && Files.exists(Path.of(library)), "built for the tests");
  }

  /** The operands of one linear layer under a GELU, and of one over it. */
  private static final class Operands implements AutoCloseable {
    final Arena arena;
    final DType dtype;
    final boolean outIn;
    final int rows;
    final int in;
    final int out;
    final Tensor x;
    final Tensor weight;
    final Tensor bias;
    final Tensor before;
    final Tensor dy;
    final Map<String, Tensor> results = new LinkedHashMap<>();

    Operands(Device device, DType dtype, boolean outIn, int rows, int in, int out) {
      this.arena = new Arena(device, "operands");
      this.dtype = dtype;
      this.outIn = outIn;
      this.rows = rows;
      this.in = in;
      this.out = out;
      x = random("x", dtype, 1, rows, in);
      weight = outIn ? random("w", dtype, 2, out, in) : random("w", dtype, 2, in, out);
      bias = random("bias", dtype, 3, out);
      before = random("before", dtype, 4, rows, in);
      dy = random("dy", dtype, 5, rows, out);
    }

    Tensor random(String name, DType of, long seed, long... shape) {
      Tensor tensor = arena.zeros(name, of, shape);
      Random random = new Random(seed);
      float[] values = new float[(int) tensor.count()];
      for (int i = 0; i < values.length; i++) {
        values[i] = (float) random.nextGaussian();
      }
      tensor.put(0, values);
      return tensor;
    }

    Tensor result(String name, DType of, long... shape) {
      Tensor tensor = arena.zeros(name, of, shape);
      results.put(name, tensor);
      return tensor;
    }

    Fusion gelu() {
      return new Fusion.Gelu(
          "inner",
          x,
          weight,
          outIn,
          bias,
          result("before", dtype, rows, out),
          result("after", dtype, rows, out));
    }

    Fusion geluGradient() {
      return new Fusion.GeluGradient(
          "outer dx",
          dy,
          weight,
          outIn,
          before,
          result("dbefore", dtype, rows, in),
          result("dbias", DType.FLOAT32, in));
    }

    Fusion linearGradients() {
      return new Fusion.LinearGradients(
          "dW",
          x,
          dy,
          outIn,
          result("dweight", DType.FLOAT32, weight.shape()),
          result("dbias", DType.FLOAT32, out));
    }

    double weight(float[] w, int i, int o) {
      return w[outIn ? o * in + i : i * out + o];
    }

    @Override
    public void close() {
      arena.close();
    }
  }

  private static double gelu(double v) {
    return v / 2 * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v * v * v)));
  }

  private static double geluSlope(double v) {
    double tanh = Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v * v * v));
    return (1 + tanh) / 2
        + v / 2 * (1 - tanh * tanh) * Math.sqrt(2 / Math.PI) * (1 + 3 * 0.044715 * v * v);
  }

  private static Map<String, double[]> exactGelu(Operands o) {
    float[] x = o.x.floats();
    float[] w = o.weight.floats();
    float[] b = o.bias.floats();
    double[] before = new double[o.rows * o.out];
    double[] after = new double[before.length];
    for (int e = 0; e < before.length; e++) {
      before[e] = b[e % o.out];
      for (int i = 0; i < o.in; i++) {
        before[e] += x[e / o.out * o.in + i] * o.weight(w, i, e % o.out);
      }
      after[e] = gelu(before[e]);
    }
    return Map.of("before", before, "after", after);
  }

  private static Map<String, double[]> exactGeluGradient(Operands o) {
    float[] dy = o.dy.floats();
    float[] w = o.weight.floats();
    float[] before = o.before.floats();
    double[] d = new double[o.rows * o.in];
    double[] dbias = new double[o.in];
    for (int e = 0; e < d.length; e++) {
      for (int j = 0; j < o.out; j++) {
        d[e] += dy[e / o.in * o.out + j] * o.weight(w, e % o.in, j);
      }
      d[e] *= geluSlope(before[e]);
      dbias[e % o.in] += RUNS * d[e];
    }
    return Map.of("dbefore", d, "dbias", dbias);
  }

  private static Map<String, double[]> exactLinearGradients(Operands o) {
    float[] x = o.x.floats();
    float[] dy = o.dy.floats();
    double[] dweight = new double[o.in * o.out];
    double[] dbias = new double[o.out];
    for (int r = 0; r < o.rows; r++) {
      for (int j = 0; j < o.out; j++) {
        double d = RUNS * (double) dy[r * o.out + j];
        dbias[j] += d;
        for (int i = 0; i < o.in; i++) {
          dweight[o.outIn ? j * o.in + i : i * o.out + j] += d * x[r * o.in + i];
        }
      }
    }
    return Map.of("dweight", dweight, "dbias", dbias);
  }

  /** The results after several runs, of which the later are launches of a captured graph. */
  private static Map<String, float[]> run(
      Device device, Operands operands, Fusion fusion, Fusing when, int calls) {
    device.gemm().fuse(when);
    operands.results.values().forEach(t -> t.put(0, new float[(int) t.count()]));
    Map<String, float[]> got = new LinkedHashMap<>();
    try (ActivationArena arena = new ActivationArena(device, "a fusion");
        Program program = new Program("a fusion", arena)) {
      new Ops(program).fuse(fusion);
      program.seal();
      assertThat(program.size()).as("calls, %s", when).isEqualTo(calls);
      for (int i = 0; i < RUNS; i++) {
        program.run();
      }
      operands.results.forEach((name, tensor) -> got.put(name, tensor.floats()));
    }
    return got;
  }

  private static void compare(
      DType dtype,
      Map<String, double[]> exact,
      Map<String, float[]> got,
      Map<String, float[]> own) {
    exact.forEach(
        (name, values) -> {
          double largest = 0;
          double separate = 0;
          double error = 0;
          for (int i = 0; i < values.length; i++) {
            largest = Math.max(largest, Math.abs(values[i]));
            separate = Math.max(separate, Math.abs(own.get(name)[i] - values[i]));
            error = Math.max(error, Math.abs(got.get(name)[i] - values[i]));
          }
          double ulp = dtype == DType.FLOAT32 ? 0x1p-23 : 0x1p-8;
          assertThat(separate).as("%s apart", name).isLessThan(8 * ulp * largest);
          assertThat(error).as(name).isLessThanOrEqualTo(2 * separate + 2 * ulp * largest);
        });
  }

  @ParameterizedTest
  @CsvSource({
    "FLOAT32, false, 1, 8, 8",
    "FLOAT32, true, 37, 40, 24",
    "FLOAT32, false, 130, 16, 72",
    "BFLOAT16, false, 37, 40, 24",
    "BFLOAT16, true, 37, 40, 24",
    "BFLOAT16, true, 130, 16, 72"
  })
  void fused_equalsSeparate(DType dtype, boolean outIn, int rows, int in, int out) {
    try (Device device = Device.emulated()) {
      try (Operands o = new Operands(device, dtype, outIn, rows, in, out)) {
        Fusion fusion = o.gelu();
        Map<String, float[]> own = run(device, o, fusion, Fusing.NEVER, 2);
        compare(dtype, exactGelu(o), run(device, o, fusion, Fusing.ALWAYS, 1), own);
      }
      try (Operands o = new Operands(device, dtype, outIn, rows, in, out)) {
        Fusion fusion = o.geluGradient();
        Map<String, float[]> own = run(device, o, fusion, Fusing.NEVER, 2);
        compare(dtype, exactGeluGradient(o), run(device, o, fusion, Fusing.ALWAYS, 2), own);
      }
      try (Operands o = new Operands(device, dtype, outIn, rows, in, out)) {
        Fusion fusion = o.linearGradients();
        Map<String, float[]> own = run(device, o, fusion, Fusing.NEVER, 2);
        // Its sums are fp32 whatever the operands are.
        compare(
            DType.FLOAT32, exactLinearGradients(o), run(device, o, fusion, Fusing.ALWAYS, 2), own);
      }
    }
  }

  /** Sizes the sums' road has that no GELU needs: rows and columns of no multiple. */
  @Test
  void linearGradients_ofOddSizes() {
    try (Device device = Device.emulated()) {
      for (boolean outIn : new boolean[] {false, true}) {
        try (Operands o = new Operands(device, DType.BFLOAT16, outIn, 29, 7, 3)) {
          Fusion fusion = o.linearGradients();
          Map<String, float[]> own = run(device, o, fusion, Fusing.NEVER, 2);
          compare(
              DType.FLOAT32,
              exactLinearGradients(o),
              run(device, o, fusion, Fusing.ALWAYS, 2),
              own);
        }
      }
    }
  }

  @Test
  void whatNothingReads_isNotMade() {
    try (Device device = Device.emulated();
        Operands o = new Operands(device, DType.BFLOAT16, false, 12, 16, 20)) {
      // 20 columns: with what GELU reads kept the library would refuse.
      Fusion forward =
          new Fusion.Gelu(
              "inner", o.x, o.weight, false, o.bias, null, o.result("after", o.dtype, 12, 20));
      Map<String, float[]> own = run(device, o, forward, Fusing.NEVER, 2);
      Map<String, double[]> exact = Map.of("after", exactGelu(o).get("after"));
      compare(o.dtype, exact, run(device, o, forward, Fusing.ALWAYS, 1), own);
    }
    try (Device device = Device.emulated();
        Operands o = new Operands(device, DType.FLOAT32, false, 12, 16, 20)) {
      Fusion frozen =
          new Fusion.GeluGradient(
              "outer dx",
              o.dy,
              o.weight,
              false,
              o.before,
              o.result("dbefore", o.dtype, 12, 16),
              null);
      Map<String, float[]> own = run(device, o, frozen, Fusing.NEVER, 2);
      Map<String, double[]> exact = Map.of("dbefore", exactGeluGradient(o).get("dbefore"));
      compare(o.dtype, exact, run(device, o, frozen, Fusing.ALWAYS, 1), own);
    }
  }

  /** 20 columns cannot be kept beside a GELU, so the calls are made one after the other. */
  @Test
  void whatTheLibraryRefuses_isDoneApart() {
    try (Device device = Device.emulated();
        Operands o = new Operands(device, DType.BFLOAT16, false, 12, 16, 20)) {
      Fusion fusion = o.gelu();
      Map<String, float[]> own = run(device, o, fusion, Fusing.NEVER, 2);
      Map<String, float[]> got = run(device, o, fusion, Fusing.ALWAYS, 2);
      assertThat(got.get("after")).isEqualTo(own.get("after"));
      FusionChoice choice = FusionTiming.measure(device, fusion);
      assertThat(choice.fused()).isFalse();
      assertThat(choice.fusedMicroseconds()).isInfinite();
      assertThat(choice.separateMicroseconds()).isPositive();
    }
  }

  /** Timing touches no operand of the step, and the faster is taken. */
  @Test
  void timed_isMeasuredOnOperandsOfItsOwn() {
    try (Device device = Device.emulated();
        Operands o = new Operands(device, DType.FLOAT32, true, 12, 16, 24)) {
      Fusion fusion = o.linearGradients();
      o.results.values().forEach(t -> t.put(0, filled((int) t.count())));
      FusionChoice choice = FusionTiming.measure(device, fusion);
      assertThat(choice.fusedMicroseconds()).isPositive().isFinite();
      assertThat(choice.separateMicroseconds()).isPositive().isFinite();
      assertThat(choice.fused())
          .isEqualTo(choice.fusedMicroseconds() < choice.separateMicroseconds());
      o.results.values().forEach(t -> assertThat(t.floats()).isEqualTo(filled((int) t.count())));
      Map<String, float[]> own = run(device, o, fusion, Fusing.NEVER, 2);
      compare(o.dtype, exactLinearGradients(o), run(device, o, fusion, Fusing.TIMED, 2), own);
    }
  }

  private static float[] filled(int count) {
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = BFloat16.toFloat(BFloat16.fromFloat(i % 7));
    }
    return values;
  }
}
