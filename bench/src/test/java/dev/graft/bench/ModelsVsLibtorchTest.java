package dev.graft.bench;

import static org.assertj.core.api.Assertions.assertThat;

import dev.graft.data.Batch;
import dev.graft.model.BertConfig;
import dev.graft.model.EncoderFamily;
import dev.graft.model.Gpt2Config;
import dev.graft.model.Limits;
import dev.graft.model.ModelConfig;
import dev.graft.model.Network;
import dev.graft.model.OptimizerOptions;
import dev.graft.model.Parameters.Parameter;
import dev.graft.model.Parameters.Part;
import dev.graft.model.ProblemType;
import dev.graft.model.Task;
import dev.graft.model.TrainStep;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.runtime.Philox;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/**
 * Whole models against their libtorch twins: the loss and the gradient of every published tensor,
 * by {@link LibtorchRule}, with f64 the twin in double. Graft packs the sequences, the twin pads
 * them. Losses and gradients are fp32 in Graft at either dtype, so their ulp is fp32's.
 */
class ModelsVsLibtorchTest {
  /** Each with its own weights and data: a loss is one number a draw and a bias a few dozen. */
  private static final int DRAWS = 16;

  private static final Predicate<String> GRADIENT = result -> !result.equals("loss");
  private static final long SEED = 0x5eed;
  private static final int[] HEAD_DIMS = {8, 16, 32, 50, 64};
  private static final List<DType> DTYPES = List.of(DType.FLOAT32, DType.BFLOAT16);
  private static final Path FIXTURES =
      Path.of(System.getProperty("basedir", "."), "../java/graft/src/test/resources/models");

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

  private interface Maker {
    Network make(DType dtype, int draw);
  }

  private static DynamicTest test(String name, DType dtype, boolean dropout, Maker maker) {
    return DynamicTest.dynamicTest(
        dtype.label() + " " + name,
        () -> compare(dtype.label() + " " + name, dtype, dropout, maker));
  }

  private static void compare(String name, DType dtype, boolean dropout, Maker maker) {
    LibtorchRule rule = new LibtorchRule(LibtorchRule.Measure.RMS);
    for (int draw = 0; draw < DRAWS; draw++) {
      try (PointerScope scope = new PointerScope();
          Network network = maker.make(dtype, draw)) {
        measure(network, batch(network, draw), dropout, draw, rule);
      }
    }
    rule.check(name, GRADIENT);
  }

  private static void measure(
      Network network, Batch batch, boolean dropout, int draw, LibtorchRule rule) {
    PaddedBatch padded = new PaddedBatch(batch);
    Masks masks = dropout ? new Masks(padded, SEED, draw) : null;
    Twin exact = Twin.of(network, Torch.F64);
    Twin peer = Twin.of(network, network.dtype() == DType.FLOAT32 ? Torch.F32 : Torch.BF16);
    double exactLoss = backward(exact, padded, masks);
    double peerLoss = backward(peer, padded, masks);
    double ownLoss = step(network, batch, dropout, draw);
    rule.add(
        "loss",
        new double[] {ownLoss},
        new double[] {peerLoss},
        new double[] {exactLoss},
        LibtorchRule.FP32);
    Map<String, float[]> own = network.parameters().gradients();
    assertThat(own.keySet()).isEqualTo(exact.leaves().keySet());
    own.forEach(
        (name, gradient) ->
            rule.add(
                name,
                IntStream.range(0, gradient.length).mapToDouble(i -> gradient[i]).toArray(),
                gradient(peer, name),
                gradient(exact, name),
                LibtorchRule.FP32));
  }

  private static double backward(Twin twin, PaddedBatch batch, Masks masks) {
    Tensor loss = twin.loss(batch, masks);
    loss.backward();
    return loss.item_double();
  }

  private static double[] gradient(Twin twin, String name) {
    Tensor leaf = twin.leaves().get(name);
    Tensor grad = leaf.grad();
    return grad.defined() ? Torch.values(grad) : new double[Math.toIntExact(leaf.numel())];
  }

  /** The loss of one training step's forward and backward pass; gradients stay in the network. */
  private static double step(Network network, Batch batch, boolean dropout, int rngStep) {
    boolean classes = network.task() == Task.SEQUENCE_CLASSIFICATION;
    long labels0 = classes ? batch.sequenceLabelCount() : batch.labelCount();
    long labels1 = classes ? 0 : batch.sequenceLabelCount();
    try (TrainStep step =
        new TrainStep(network, Limits.of(batch), OptimizerOptions.defaults(), dropout)) {
      device.lossReset();
      step.forwardBackward(batch, SEED, rngStep, over(labels0), over(labels1));
      device.stepRead();
    }
    double loss = labels0 == 0 ? 0 : device.lossSum(0) / device.lossCount(0);
    return network.task() == Task.PRETRAINING && labels1 > 0
        ? loss + device.lossSum(1) / device.lossCount(1)
        : loss;
  }

  private static float over(long labels) {
    return labels == 0 ? 0 : 1f / labels;
  }

  /** Sequences of odd and even lengths, one token and none among them. */
  private static Batch batch(Network network, int draw) {
    ModelConfig config = network.config();
    Philox random = new Philox(SEED, 1, draw);
    int longest = Math.min(config.maxPositions(), draw == 0 ? 70 : 37);
    int sequences = 5;
    Batch batch = new Batch(sequences * longest, sequences, longest);
    batch.begin();
    for (int s = 0; s < sequences; s++) {
      int length = s == 0 ? longest : s == 1 ? 1 : s == 2 ? 0 : 2 + random.nextInt(longest - 1);
      sequence(network, random, batch, length);
    }
    return batch.finish();
  }

  private static void sequence(Network network, Philox random, Batch batch, int length) {
    ModelConfig config = network.config();
    Task task = network.task();
    int types = config instanceof BertConfig bert ? bert.typeVocabSize() : 1;
    int classes = task == Task.SEQUENCE_CLASSIFICATION ? config.labels().size() : 2;
    boolean labelled = length > 0 && (task != Task.CAUSAL_LM && task != Task.MASKED_LM);
    batch.beginSequence(labelled ? random.nextInt(classes) : Batch.IGNORED);
    // The causal model learns two thirds of its tokens, as prompts are left out; BERT a third.
    int share = task == Task.CAUSAL_LM ? 2 : 1;
    for (int t = 0; t < length; t++) {
      boolean target =
          task != Task.SEQUENCE_CLASSIFICATION && (t == 0 || random.nextInt(3) < share);
      batch.addToken(
          random.nextInt(config.vocabSize()),
          t,
          t * types / length,
          target ? random.nextInt(config.vocabSize()) : Batch.IGNORED);
    }
  }

  /** Fills every weight, biases and norms too, so that each has a gradient that tells. */
  private static Network random(Network network, int draw) {
    int stream = 2;
    for (Parameter p : network.parameters().all()) {
      boolean norm = p.name().matches(".*(LayerNorm|ln_\\w+)\\.weight");
      double scale = p.matrix() ? 1 / Math.sqrt(network.config().channels()) : 0.2;
      Philox random = new Philox(SEED, stream++, draw);
      float[] values = new float[Math.toIntExact(p.weight().count())];
      for (int i = 0; i < values.length; i++) {
        values[i] = (float) ((norm ? 1 : 0) + scale * random.nextGaussian());
      }
      // Rows that pad a vocabulary stay zero.
      for (Part part : p.parts()) {
        int from = Math.toIntExact(part.offset());
        p.weight()
            .put(from, Arrays.copyOfRange(values, from, from + Math.toIntExact(part.count())));
      }
    }
    network.parameters().syncCompute();
    return network;
  }

  private static Maker gpt2(int heads, int headDim, String activation, boolean tied) {
    return (dtype, draw) -> {
      Gpt2Config base = Gpt2Config.of(97, 64, heads * headDim, 2, heads);
      Gpt2Config config =
          new Gpt2Config(
              base.vocabSize(),
              base.maxPositions(),
              base.channels(),
              base.layers(),
              base.heads(),
              3 * base.channels() + 5,
              activation,
              base.layerNormEps(),
              0.2,
              0.1,
              0.3,
              base.initializerRange(),
              tied,
              -1,
              -1);
      return random(Network.create(device, config, Task.CAUSAL_LM, dtype, 1), draw);
    };
  }

  private static Maker bert(int heads, int headDim, String activation, Task task) {
    return (dtype, draw) -> {
      int channels = heads * headDim;
      BertConfig config =
          new BertConfig(
              EncoderFamily.BERT,
              131,
              80,
              channels,
              2,
              heads,
              2 * channels + 7,
              2,
              activation,
              1e-12,
              0.1,
              0.2,
              0.3,
              0,
              0.02,
              0,
              true,
              true,
              task.hasLabels() ? List.of("a", "b", "c") : List.of(),
              ProblemType.SINGLE_LABEL_CLASSIFICATION);
      return random(Network.create(device, config, task, dtype, 1), draw);
    };
  }

  @TestFactory
  Stream<DynamicTest> gpt2_everyHeadDim() {
    List<DynamicTest> tests = new ArrayList<>();
    for (DType dtype : DTYPES) {
      for (int d : HEAD_DIMS) {
        tests.add(test("gpt2 D" + d, dtype, false, gpt2(d < 32 ? 3 : 2, d, "gelu_new", true)));
      }
      tests.add(test("gpt2 untied relu", dtype, false, gpt2(3, 16, "relu", false)));
      tests.add(test("gpt2 gelu by erf", dtype, false, gpt2(1, 32, "gelu", true)));
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
              test("bert " + task + " D" + d, dtype, false, bert(d < 32 ? 3 : 2, d, "gelu", task)));
        }
      }
      tests.add(test("bert gelu_new", dtype, false, bert(3, 16, "gelu_new", Task.PRETRAINING)));
    }
    return tests.stream();
  }

  /** The masks are drawn from Philox by both sides, so dropout leaves nothing to chance. */
  @TestFactory
  Stream<DynamicTest> dropout_sameMasks() {
    List<DynamicTest> tests = new ArrayList<>();
    for (DType dtype : DTYPES) {
      tests.add(test("gpt2 dropout", dtype, true, gpt2(2, 32, "gelu_new", true)));
      for (Task task : List.of(Task.PRETRAINING, Task.SEQUENCE_CLASSIFICATION)) {
        tests.add(test("bert " + task + " dropout", dtype, true, bert(3, 16, "gelu", task)));
      }
    }
    return tests.stream();
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

  private static Maker published(String name, Task task) {
    List<String> labels = task == Task.SEQUENCE_CLASSIFICATION ? List.of("a", "b", "c") : null;
    return (dtype, draw) -> Network.load(device, FIXTURES.resolve(name), task, dtype, labels, draw);
  }

  /** A gradient of one tensor that is wrong by 1 % must turn the comparison red. */
  @Test
  void plantedFault_isSeenInEveryTensor() {
    Supplier<Network> make = () -> bert(2, 32, "gelu", Task.PRETRAINING).make(DType.FLOAT32, 0);
    try (PointerScope scope = new PointerScope();
        Network network = make.get()) {
      Batch batch = batch(network, 0);
      PaddedBatch padded = new PaddedBatch(batch);
      Twin exact = Twin.of(network, Torch.F64);
      Twin peer = Twin.of(network, Torch.F32);
      backward(exact, padded, null);
      backward(peer, padded, null);
      for (String name : exact.leaves().keySet()) {
        if (name.endsWith("key.bias")) {
          continue; // zero in exact arithmetic
        }
        double[] want = gradient(exact, name);
        double[] wrong = want.clone();
        for (int i = 0; i < wrong.length; i++) {
          wrong[i] *= 1.01;
        }
        LibtorchRule rule = new LibtorchRule(LibtorchRule.Measure.RMS);
        rule.add(name, wrong, gradient(peer, name), want, LibtorchRule.FP32);
        assertThat(
                org.assertj.core.api.Assertions.catchThrowable(() -> rule.check(name, r -> true)))
            .as(name)
            .isInstanceOf(AssertionError.class);
      }
    }
  }
}
