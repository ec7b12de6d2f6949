package dev.graft.bench;

import static org.assertj.core.api.Assertions.assertThat;

import dev.graft.bindings.global.graft;
import dev.graft.runtime.Device;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/**
 * Every CPU kernel against libtorch autograd in double. Rule, for each result: max|x − f64| ≤ 2 ·
 * max|libtorch − f64| + 2 ulp(max|f64|), libtorch at the same dtype. Results that a model adds up
 * in fp32 (parameter gradients, losses) have the ulp of fp32, the others that of the dtype.
 *
 * <p>The default run samples the grid; {@code -Dgraft.full=true} runs it whole.
 */
class KernelsVsLibtorchTest {
  private static final boolean FULL = Boolean.getBoolean("graft.full");
  private static final int[] DTYPES = {graft.GRAFT_FLOAT32, graft.GRAFT_BFLOAT16};

  /** Maxima over a few draws: on a handful of elements one draw may find libtorch lucky. */
  private static final int DRAWS = 4;

  private static Device device;

  @BeforeAll
  static void open() {
    device = Device.cpu();
  }

  @AfterAll
  static void close() {
    device.close();
  }

  private record Named(String name, Supplier<KernelCase> make) {}

  private static Stream<DynamicTest> tests(List<Named> cases) {
    return cases.stream()
        .map(named -> DynamicTest.dynamicTest(named.name(), () -> compare(named.make())));
  }

  private static void compare(Supplier<KernelCase> make) {
    LibtorchRule rule = new LibtorchRule(LibtorchRule.Measure.LARGEST);
    String[] name = new String[1];
    for (int draw = 0; draw < DRAWS; draw++) {
      Torch.draw = draw;
      try (PointerScope scope = new PointerScope();
          KernelCase kernel = make.get()) {
        name[0] = kernel.op() + " " + kernel.dtypeName() + " " + kernel.shape();
        measure(kernel, rule);
      } finally {
        Torch.draw = 0;
      }
    }
    rule.check(name[0], result -> result.startsWith("d"));
  }

  private static void measure(KernelCase kernel, LibtorchRule rule) {
    Map<String, double[]> exact = kernel.reference(Torch.F64);
    Map<String, double[]> peer = kernel.reference(kernel.type);
    Map<String, double[]> own = kernel.results();
    assertThat(own.keySet()).isEqualTo(exact.keySet());
    exact.forEach(
        (result, want) ->
            rule.add(result, own.get(result), peer.get(result), want, precision(result, kernel)));
  }

  /** Results a model adds up are fp32. */
  private static int precision(String name, KernelCase kernel) {
    boolean fp32 =
        kernel.dtypeName().equals("fp32")
            || name.startsWith("loss")
            || name.startsWith("weight")
            || name.startsWith("dtable")
            || name.equals("dgamma")
            || name.equals("dbeta")
            || name.equals("dbias");
    return fp32 ? LibtorchRule.FP32 : LibtorchRule.BF16;
  }

  private static String dtype(int dtype) {
    return dtype == graft.GRAFT_BFLOAT16 ? "bf16" : "fp32";
  }

  @TestFactory
  Stream<DynamicTest> attention_everyHeadDim() {
    int[] dims =
        FULL
            ? java.util.stream.IntStream.rangeClosed(1, 256).toArray()
            : new int[] {1, 3, 8, 16, 31, 32, 33, 50, 64, 80, 96, 100, 128, 160, 192, 255, 256};
    List<Named> cases = new ArrayList<>();
    for (int dtype : DTYPES) {
      for (int d : dims) {
        boolean causal = d % 2 == 0;
        int[] lengths = {37, 1, 0, 70};
        cases.add(
            new Named(
                dtype(dtype) + " D" + d + (causal ? " causal" : ""),
                () -> new AttentionCase(device, dtype, lengths, lengths, 2, d, causal, 0, true)));
      }
    }
    return tests(cases);
  }

  @TestFactory
  Stream<DynamicTest> attention_lengthsMasksAndDropout() {
    int[][][] lengths = {
      {{1}, {1}},
      {{0}, {0}},
      {{0, 5, 0}, {0, 5, 0}},
      {{63, 64, 65}, {63, 64, 65}},
      {{127, 129}, {127, 129}},
      {{255, 257, 2}, {255, 257, 2}},
      {{9, 40}, {30, 7}}, // fewer keys than queries: the first causal rows see none
      {{5, 7}, {0, 9}}, // a sequence without keys
      {{1, 1, 1}, {130, 64, 1}}, // decoding by the packed kernel
      {{300}, {511}},
    };
    List<Named> cases = new ArrayList<>();
    for (int dtype : DTYPES) {
      for (int[][] pair : lengths) {
        for (boolean causal : new boolean[] {false, true}) {
          for (int dropout : new int[] {0, 26}) {
            for (int d : FULL ? new int[] {16, 32, 64, 96, 128} : new int[] {32, 64}) {
              cases.add(
                  new Named(
                      dtype(dtype)
                          + " "
                          + java.util.Arrays.deepToString(pair)
                          + " D"
                          + d
                          + (causal ? " causal" : "")
                          + (dropout > 0 ? " dropout" : ""),
                      () ->
                          new AttentionCase(
                              device, dtype, pair[0], pair[1], 3, d, causal, dropout, true)));
            }
          }
        }
      }
    }
    return tests(cases);
  }

  @TestFactory
  Stream<DynamicTest> attentionDecode() {
    List<Named> cases = new ArrayList<>();
    for (int dtype : DTYPES) {
      for (int d : new int[] {8, 16, 32, 50, 64, 96, 128, 256}) {
        cases.add(
            new Named(
                dtype(dtype) + " D" + d,
                () -> new DecodeCase(device, dtype, new int[] {1, 77, 0, 200, 256}, 3, d, 256)));
      }
    }
    return tests(cases);
  }

  @TestFactory
  Stream<DynamicTest> activations() {
    List<Named> cases = new ArrayList<>();
    for (int dtype : DTYPES) {
      for (int form :
          new int[] {
            graft.GRAFT_GELU_TANH, graft.GRAFT_GELU_ERF, graft.GRAFT_TANH, graft.GRAFT_RELU
          }) {
        for (int[] size : new int[][] {{1, 1}, {7, 13}, {33, 64}, {130, 257}, {64, 3072}}) {
          cases.add(
              new Named(
                  dtype(dtype) + " form " + form + " " + size[0] + "x" + size[1],
                  () -> new ActivationCase(device, dtype, size[0], size[1], form, true)));
        }
      }
    }
    return tests(cases);
  }

  @TestFactory
  Stream<DynamicTest> addNorm() {
    List<Named> cases = new ArrayList<>();
    for (int dtype : DTYPES) {
      for (int[] size :
          new int[][] {{1, 2}, {5, 15}, {64, 48}, {129, 100}, {200, 768}, {9, 1600}}) {
        for (int[] dropout : new int[][] {{0, 0}, {26, 0}, {0, 26}, {128, 13}}) {
          cases.add(
              new Named(
                  dtype(dtype)
                      + " "
                      + size[0]
                      + "x"
                      + size[1]
                      + " dropout "
                      + dropout[0]
                      + ","
                      + dropout[1],
                  () ->
                      new AddNormCase(
                          device, dtype, size[0], size[1], dropout[0], dropout[1], true)));
        }
      }
    }
    return tests(cases);
  }

  @TestFactory
  Stream<DynamicTest> classifier() {
    List<Named> cases = new ArrayList<>();
    for (int dtype : DTYPES) {
      for (int[] size : new int[][] {{1, 2}, {3, 15}, {65, 1000}, {33, 1024}, {16, 50257}}) {
        for (double ignored : new double[] {0, 0.85, 1}) {
          cases.add(
              new Named(
                  dtype(dtype) + " " + size[0] + "x" + size[1] + " ignored " + ignored,
                  () -> new ClassifierCase(device, dtype, size[0], size[1], ignored)));
        }
      }
    }
    return tests(cases);
  }

  @TestFactory
  Stream<DynamicTest> classifier_weightsAndSmoothing() {
    List<Named> cases = new ArrayList<>();
    for (int dtype : DTYPES) {
      for (int[] size : new int[][] {{9, 2}, {65, 77}, {33, 1024}}) {
        for (double smoothing : new double[] {0, 0.1}) {
          for (boolean weighted : new boolean[] {false, true}) {
            cases.add(
                new Named(
                    dtype(dtype) + " " + size[0] + "x" + size[1] + " " + smoothing + " " + weighted,
                    () ->
                        new ClassifierCase(
                            device, dtype, size[0], size[1], 0.3, weighted, smoothing)));
          }
        }
      }
    }
    return tests(cases);
  }

  @TestFactory
  Stream<DynamicTest> losses() {
    List<Named> cases = new ArrayList<>();
    for (int dtype : DTYPES) {
      for (LossCase.Kind kind : LossCase.Kind.values()) {
        for (int[] size : new int[][] {{1, 1}, {7, 3}, {32, 28}, {16, 384}}) {
          cases.add(
              new Named(
                  dtype(dtype) + " " + kind + " " + size[0] + "x" + size[1],
                  () -> new LossCase(device, dtype, kind, size[0], size[1])));
        }
      }
    }
    return tests(cases);
  }

  @TestFactory
  Stream<DynamicTest> embedding() {
    List<Named> cases = new ArrayList<>();
    for (int dtype : DTYPES) {
      for (int[] size : new int[][] {{1, 4, 3, 2}, {77, 50, 20, 64}, {300, 768, 1000, 512}}) {
        cases.add(
            new Named(
                dtype(dtype) + " T" + size[0] + " C" + size[1],
                () -> new EmbeddingCase(device, dtype, size[0], size[1], size[2], size[3])));
      }
    }
    return tests(cases);
  }

  @TestFactory
  Stream<DynamicTest> adamw() {
    List<Named> cases = new ArrayList<>();
    for (int dtype : DTYPES) {
      for (boolean clip : new boolean[] {false, true}) {
        cases.add(
            new Named(
                dtype(dtype) + (clip ? " clip" : ""),
                () ->
                    new AdamWCase(
                        device, dtype, new int[] {1, 7, 16, 1023, 16384, 40000}, 10, clip)));
      }
    }
    return tests(cases);
  }

  @TestFactory
  Stream<DynamicTest> gemm() {
    List<Named> cases = new ArrayList<>();
    for (int dtype : DTYPES) {
      for (int[] size : new int[][] {{1, 1, 1}, {3, 5, 7}, {128, 48, 15}, {128, 256, 768}}) {
        cases.add(
            new Named(
                dtype(dtype) + " " + size[0] + "x" + size[1] + "x" + size[2],
                () -> new GemmCase(device, dtype, size[0], size[1], size[2])));
      }
    }
    return tests(cases);
  }
}
