package dev.graft.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowableOfType;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.graft.data.Batch;
import dev.graft.data.BatchSource;
import dev.graft.model.Gpt2Config;
import dev.graft.model.Limits;
import dev.graft.model.Network;
import dev.graft.model.OptimizerOptions;
import dev.graft.model.Recompute;
import dev.graft.model.Task;
import dev.graft.model.TrainStep;
import dev.graft.runtime.CudaBackend;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.runtime.OutOfDeviceMemoryException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.function.Supplier;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * A device that has too little, by {@link Device#MEMORY_LIMIT}: what is asked for, what is there
 * and what would fit are told, what is told fits, and nothing is lost.
 */
class OutOfMemoryTest {
  private static final int SEQUENCES = 16;
  private static final int LENGTH = 64;
  private static final int TOKENS = SEQUENCES * LENGTH;

  @TempDir Path folder;

  /** As many whole sequences as it is told, more from one step on. */
  private record Growing(int first, int then, long from) implements BatchSource {
    @Override
    public void fill(long index, Batch batch) {
      batch.begin();
      int sequences = index < from ? first : then;
      for (int i = 0; i < sequences; i++) {
        batch.beginSequence(Batch.IGNORED);
        for (int t = 0; t < LENGTH; t++) {
          int id = (int) ((index + 7L * i + 3L * t) % Toys.VOCABULARY);
          batch.addToken(id, t, 0, t + 1 < LENGTH ? (id + 3) % Toys.VOCABULARY : Batch.IGNORED);
        }
      }
      batch.finish();
    }

    @Override
    public long batchesPerEpoch() {
      return 10;
    }

    @Override
    public Batch newBatch() {
      return new Batch(TOKENS, SEQUENCES, LENGTH);
    }

    @Override
    public String fingerprint() {
      return "growing";
    }
  }

  private static void assume(String device) {
    if (device.equals("emulate")) {
      String library = System.getProperty(CudaBackend.EMULATED_LIBRARY);
      assumeTrue(library != null && Files.exists(Path.of(library)), "built for the tests");
    }
  }

  private static <T> T limited(long bytes, Supplier<T> work) {
    System.setProperty(Device.MEMORY_LIMIT, Long.toString(bytes));
    try {
      return work.get();
    } finally {
      System.clearProperty(Device.MEMORY_LIMIT);
    }
  }

  private static Network network(Device device) {
    return Network.create(
        device,
        Gpt2Config.of(Toys.VOCABULARY, LENGTH, 32, 4, 2).withDropout(0.1, 0.1, 0.1),
        Task.CAUSAL_LM,
        DType.FLOAT32,
        1);
  }

  private static TrainingOptions.Builder options(int steps) {
    return TrainingOptions.finetuning().steps(steps).learningRate(3e-3).logEvery(2);
  }

  private static Map<String, String> train(
      String on, BatchSource data, TrainingOptions.Builder options) {
    try (Device device = Device.open(on, 0);
        Network network = network(device)) {
      new Trainer(network, data, options.build()).run();
      return Toys.state(network);
    }
  }

  /** Bytes of activations of a step over so many tokens. */
  private static long activations(String on, int tokens, Recompute level) {
    try (Device device = Device.open(on, 0);
        Network network = network(device);
        TrainStep step =
            new TrainStep(
                network, Limits.of(new Growing(1, 1, 0).newBatch()), OptimizerOptions.defaults())) {
      return step.activationBytes(tokens, 0, level);
    }
  }

  /** Bytes a training holds beside activations. */
  private static long held(String on) {
    try (Device device = Device.open(on, 0);
        Network network = network(device);
        TrainStep step =
            new TrainStep(
                network, Limits.of(new Growing(1, 1, 0).newBatch()), OptimizerOptions.defaults())) {
      return device.held().values().stream().mapToLong(Long::longValue).sum();
    }
  }

  private static String told(String message, Recompute level) {
    Matcher found =
        Pattern.compile("recompute " + level.name().toLowerCase() + " ([^,;]*(,\\d{3} [^,;]*)?)")
            .matcher(message);
    assertThat(found.find()).as(message).isTrue();
    return found.group(1);
  }

  @ParameterizedTest
  @ValueSource(strings = {"cpu", "emulate"})
  void whatWouldFit_isTold_andFits(String on) {
    assume(on);
    long none = activations(on, TOKENS, Recompute.NONE);
    long block = activations(on, TOKENS, Recompute.BLOCK);
    long room = (none + block) / 2;
    long limit = held(on) + room;
    BatchSource data = new Growing(SEQUENCES, SEQUENCES, 0);
    OutOfDeviceMemoryException failure =
        catchThrowableOfType(
            OutOfDeviceMemoryException.class,
            () -> limited(limit, () -> train(on, data, options(2))));
    assertThat(failure.getMessage())
        .startsWith(on + " is out of memory: ")
        .contains(String.format("%,d bytes were asked for activations of 1024 tokens", none))
        .contains(String.format("of %,d are free", limit))
        .contains("held: ")
        .contains("weights ")
        .contains("gradients and moments ");
    assertThat(failure.asked()).isEqualTo(none);
    assertThat(told(failure.getMessage(), Recompute.BLOCK))
        .isEqualTo("1,024 tokens a batch (16 sequences of 64)");
    Map<String, String> fits =
        limited(limit, () -> train(on, data, options(2).recompute(Recompute.BLOCK)));
    assertThat(fits).isEqualTo(train(on, data, options(2)));

    // The largest batch without recomputation: it fits, and 128 tokens more do not. (The CPU leaves
    // a part for the products.)
    String most = told(failure.getMessage(), Recompute.NONE);
    int tokens = Integer.parseInt(most.substring(0, most.indexOf(' ')).replace(",", ""));
    assertThat(activations(on, tokens, Recompute.NONE)).isLessThanOrEqualTo(failure.free());
    long left = on.equals("cpu") ? failure.free() / 16 : 0;
    assertThat(activations(on, tokens + Batch.TOKEN_BUCKET, Recompute.NONE))
        .isGreaterThan(failure.free() - left);
    BatchSource smaller = new Growing(tokens / LENGTH, tokens / LENGTH, 0);
    assertThat(limited(limit, () -> train(on, smaller, options(2)))).isNotEmpty();
  }

  /** Oracle: the run that had memory enough. */
  @ParameterizedTest
  @ValueSource(strings = {"cpu", "emulate"})
  void aRunThatRunsOut_isSaved_andGoesOnWithMoreRecomputed(String on) {
    assume(on);
    BatchSource data = new Growing(2, SEQUENCES, 3);
    Map<String, String> whole = train(on, data, options(6));
    long limit =
        held(on)
            + (activations(on, TOKENS, Recompute.NONE) + activations(on, TOKENS, Recompute.BLOCK))
                / 2;
    Path run = folder.resolve(on);
    assertThatThrownBy(() -> limited(limit, () -> train(on, data, options(6).runDirectory(run))))
        .isInstanceOf(OutOfDeviceMemoryException.class)
        .hasMessageContaining("recompute block 1,024 tokens")
        .hasMessageContaining("The run is saved at step 3 in " + run.toAbsolutePath());
    Map<String, String> rest =
        limited(
            limit,
            () ->
                train(
                    on,
                    data,
                    options(6).runDirectory(run).resume(true).recompute(Recompute.BLOCK)));
    assertThat(rest).isEqualTo(whole);
  }

  @ParameterizedTest
  @ValueSource(strings = {"cpu", "emulate"})
  void smallerBuckets_workAsBefore_afterALargeOneWasRefused(String on) {
    assume(on);
    long limit = held(on) + activations(on, 256, Recompute.NONE) + 4096;
    Map<Boolean, String> losses =
        limited(limit, () -> Map.of(true, losses(on, true), false, losses(on, false)));
    assertThat(losses.get(true)).isEqualTo(losses.get(false));
  }

  private static String losses(String on, boolean tryLarge) {
    BatchSource data = new Growing(2, SEQUENCES, 3);
    Batch small = data.newBatch();
    Batch large = data.newBatch();
    data.fill(0, small);
    data.fill(3, large);
    try (Device device = Device.open(on, 0);
        Network network = network(device);
        TrainStep step = new TrainStep(network, Limits.of(small), OptimizerOptions.defaults())) {
      StringBuilder losses = new StringBuilder();
      for (int i = 0; i < 4; i++) {
        step.forwardBackward(small, 1, i, 0.01f, 0);
        step.update(1e-2f);
        if (tryLarge) {
          assertThatThrownBy(() -> step.prepare(large))
              .isInstanceOf(OutOfDeviceMemoryException.class);
        }
      }
      device.stepRead();
      return losses.append(device.lossSum(0)).toString();
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"cpu", "emulate"})
  void gradientsAndMoments_areRefusedAsAWhole(String on) {
    assume(on);
    limited(
        700_000,
        () -> {
          try (Device device = Device.open(on, 0);
              Network network = network(device)) {
            long before = device.memory().free();
            OutOfDeviceMemoryException failure =
                catchThrowableOfType(OutOfDeviceMemoryException.class, network::enableTraining);
            assertThat(failure)
                .hasMessageContaining("gradients and moments of 57,024 parameters")
                .hasMessageContaining("lora");
            assertThat(failure.asked()).isGreaterThan(600_000);
            assertThat(device.memory().free()).isEqualTo(before);
            network.setRates(p -> p.matrix() ? 0 : 1);
            network.enableTraining();
            assertThat(device.memory().free()).isLessThan(before);
            return null;
          }
        });
  }
}
