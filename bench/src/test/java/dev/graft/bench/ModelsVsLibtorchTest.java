package dev.graft.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowable;

import dev.graft.model.EncoderFamily;
import dev.graft.model.Network;
import dev.graft.model.ProblemType;
import dev.graft.model.Task;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/**
 * Whole models, every family and head, against their libtorch twins by {@link TwinComparison}.
 * Graft packs the sequences, the twin pads them.
 */
class ModelsVsLibtorchTest {
  private static final int[] HEAD_DIMS = {8, 16, 32, 50, 64};
  private static final List<DType> DTYPES = List.of(DType.FLOAT32, DType.BFLOAT16);
  private static final Path FIXTURES =
      Path.of(System.getProperty("basedir", "."), "../java/graft/src/test/resources/models");

  private static final int DRAWS = 16;

  private static Device device;
  private static int threads;

  @BeforeAll
  static void open() {
    // Networks this small spend a second thread's time waiting; results do not depend on threads.
    device = Device.cpu(1);
    threads = torch.get_num_threads();
    Torch.threads(1);
  }

  @AfterAll
  static void close() {
    device.close();
    Torch.threads(threads);
  }

  private static DynamicTest test(
      String name, DType dtype, boolean dropout, TwinModels.Maker maker) {
    String full = dtype.label() + " " + name;
    return DynamicTest.dynamicTest(
        full, () -> new TwinComparison(device, dtype, dropout).withDraws(DRAWS).check(full, maker));
  }

  @TestFactory
  Stream<DynamicTest> gpt2_everyHeadDim() {
    List<DynamicTest> tests = new ArrayList<>();
    for (DType dtype : DTYPES) {
      for (int d : HEAD_DIMS) {
        tests.add(
            test("gpt2 D" + d, dtype, false, TwinModels.gpt2(d < 32 ? 3 : 2, d, "gelu_new", true)));
      }
      tests.add(test("gpt2 untied relu", dtype, false, TwinModels.gpt2(3, 16, "relu", false)));
      tests.add(test("gpt2 gelu by erf", dtype, false, TwinModels.gpt2(1, 32, "gelu", true)));
    }
    return tests.stream();
  }

  @TestFactory
  Stream<DynamicTest> bert_everyHeadDimAndTask() {
    List<DynamicTest> tests = new ArrayList<>();
    for (DType dtype : DTYPES) {
      for (Task task : List.of(Task.MASKED_LM, Task.PRETRAINING, Task.SEQUENCE_CLASSIFICATION)) {
        for (int d : HEAD_DIMS) {
          tests.add(
              test(
                  "bert " + task + " D" + d,
                  dtype,
                  false,
                  TwinModels.bert(d < 32 ? 3 : 2, d, "gelu", task)));
        }
      }
      tests.add(
          test(
              "bert gelu_new", dtype, false, TwinModels.bert(3, 16, "gelu_new", Task.PRETRAINING)));
    }
    return tests.stream();
  }

  @TestFactory
  Stream<DynamicTest> encoders_everyFamilyAndHead() {
    return DTYPES.stream().flatMap(dtype -> encoders(dtype, false));
  }

  /**
   * The masks are drawn from Philox by both sides, so dropout leaves nothing to chance: at the
   * embeddings, the attention's probabilities and output, the MLP, and in front of and behind the
   * heads' dense layers.
   */
  @TestFactory
  Stream<DynamicTest> dropout_sameMasks() {
    return DTYPES.stream()
        .flatMap(
            dtype ->
                Stream.concat(
                    Stream.of(
                        test("gpt2", dtype, true, TwinModels.gpt2(2, 32, "gelu_new", true)),
                        test("gpt2 untied", dtype, true, TwinModels.gpt2(3, 16, "relu", false))),
                    encoders(dtype, true)));
  }

  private static Stream<DynamicTest> encoders(DType dtype, boolean dropout) {
    List<DynamicTest> tests = new ArrayList<>();
    for (EncoderFamily family : EncoderFamily.values()) {
      for (Task task : Task.values()) {
        boolean pretraining = task == Task.PRETRAINING && family != EncoderFamily.BERT;
        if (task == Task.BASE || task == Task.CAUSAL_LM || pretraining) {
          continue; // no loss, or none in this family
        }
        for (ProblemType problem : problems(task)) {
          String name = family.modelType() + " " + task + " " + problem;
          tests.add(
              test(
                  name.toLowerCase(Locale.ROOT),
                  dtype,
                  dropout,
                  TwinModels.encoder(family, task, problem)));
        }
      }
      tests.add(
          test(family.modelType() + " untied words", dtype, dropout, TwinModels.untied(family)));
    }
    return tests.stream();
  }

  private static List<ProblemType> problems(Task task) {
    return task == Task.SEQUENCE_CLASSIFICATION
        ? List.of(ProblemType.values())
        : List.of(ProblemType.SINGLE_LABEL_CLASSIFICATION);
  }

  /** The small published models, over batches of their own vocabulary. */
  @TestFactory
  Stream<DynamicTest> publishedModels() {
    List<DynamicTest> tests = new ArrayList<>();
    for (DType dtype : DTYPES) {
      for (String name : List.of("gpt-nano-sort", "hf-tiny-random-gpt2", "tf-gpt2-toy")) {
        tests.add(test(name, dtype, false, published(name, Task.CAUSAL_LM)));
      }
      for (String name : List.of("generated-bert", "tf-bert-toy", "tribuo-tinybert")) {
        for (Task task : List.of(Task.MASKED_LM, Task.PRETRAINING, Task.SEQUENCE_CLASSIFICATION)) {
          tests.add(test(name + " " + task, dtype, false, published(name, task)));
        }
      }
    }
    return tests.stream();
  }

  private static TwinModels.Maker published(String name, Task task) {
    List<String> labels = task == Task.SEQUENCE_CLASSIFICATION ? List.of("a", "b", "c") : null;
    return (device, dtype, draw) ->
        Network.load(device, FIXTURES.resolve(name), task, dtype, labels, draw);
  }

  /** The mask of another step, at any one place, must turn the comparison red. */
  @TestFactory
  Stream<DynamicTest> wrongMask_isSeenAtEveryPlace() {
    TwinModels.Maker roberta =
        TwinModels.encoder(
            EncoderFamily.ROBERTA,
            Task.SEQUENCE_CLASSIFICATION,
            ProblemType.SINGLE_LABEL_CLASSIFICATION);
    return Stream.concat(
        IntStream.of(1, 3, 4, 5, 7, 8, 9)
            .mapToObj(op -> wrongMask("gpt2", op, TwinModels.gpt2(2, 32, "gelu_new", true))),
        IntStream.of(1, 2, 3, 4, 5, 7, 8, 9, 11).mapToObj(op -> wrongMask("roberta", op, roberta)));
  }

  private static DynamicTest wrongMask(String name, int opId, TwinModels.Maker maker) {
    String full = name + " op " + opId;
    TwinComparison comparison =
        new TwinComparison(device, DType.FLOAT32, true).withDraws(1).withWrongMaskAt(opId);
    return DynamicTest.dynamicTest(
        full,
        () ->
            assertThatThrownBy(() -> comparison.check(full, maker))
                .isInstanceOf(AssertionError.class)
                .hasMessageContaining("allowed by libtorch's own"));
  }

  /** A gradient of one tensor that is wrong by 1 % must turn the comparison red. */
  @Test
  void plantedFault_isSeenInEveryTensor() {
    TwinModels.Maker maker = TwinModels.bert(2, 32, "gelu", Task.PRETRAINING);
    try (PointerScope scope = new PointerScope();
        Network network = maker.make(device, DType.FLOAT32, 0)) {
      PaddedBatch padded = new PaddedBatch(TwinBatches.of(network, 0));
      Twin exact = Twin.of(network, Torch.F64);
      Twin peer = Twin.of(network, Torch.F32);
      exact.loss(padded, null).backward();
      peer.loss(padded, null).backward();
      for (String name : exact.leaves().keySet()) {
        if (name.endsWith("key.bias")) {
          continue; // zero in exact arithmetic
        }
        double[] want = TwinComparison.gradient(exact, name);
        double[] wrong = want.clone();
        for (int i = 0; i < wrong.length; i++) {
          wrong[i] *= 1.01;
        }
        LibtorchRule rule = new LibtorchRule(LibtorchRule.Measure.RMS);
        rule.add(name, wrong, TwinComparison.gradient(peer, name), want, LibtorchRule.FP32);
        assertThat(catchThrowable(() -> rule.check(name, r -> true)))
            .as(name)
            .isInstanceOf(AssertionError.class);
      }
    }
  }
}
