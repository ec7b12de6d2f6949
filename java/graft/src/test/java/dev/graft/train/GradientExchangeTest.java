package dev.graft.train;

import static org.assertj.core.api.Assertions.assertThat;

import dev.graft.data.Corpus;
import dev.graft.model.Gpt2Config;
import dev.graft.model.Network;
import dev.graft.model.Task;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.text.CharTrainer;
import dev.graft.text.Tokenizer;
import dev.graft.train.Toys.Kind;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.BiFunction;
import java.util.function.IntFunction;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Ranks that train one network, as threads that exchange through shared memory. */
class GradientExchangeTest {
  private static final int STEPS = 6;

  @TempDir Path folder;

  private static TrainingOptions.Builder options() {
    return TrainingOptions.finetuning()
        .steps(STEPS)
        .learningRate(1e-3)
        // Elements whose gradient is rounding noise alone would move by a full step otherwise.
        .eps(1e-3)
        .logEvery(2);
  }

  private record Ended(TrainingResult result, Map<String, String> state, List<float[]> weights) {}

  /** Ranks begin with different weights: those of rank 0 count. */
  private static Ended train(Kind kind, int rank, TrainingOptions options) {
    try (Device device = Device.cpu(1);
        Network network = Toys.network(device, kind, DType.FLOAT32, 1 + rank, 0.2)) {
      return ended(network, new Trainer(network, new Toys.Source(kind, 5, 3), options).run());
    }
  }

  private static Ended ended(Network network, TrainingResult result) {
    return new Ended(
        result,
        Toys.state(network),
        network.parameters().all().stream().map(p -> p.weight().floats()).toList());
  }

  private static List<Ended> train(Kind kind, int ranks, IntFunction<TrainingOptions.Builder> of)
      throws Exception {
    return ranks(ranks, of, (rank, options) -> train(kind, rank, options));
  }

  private static List<Ended> ranks(
      int ranks,
      IntFunction<TrainingOptions.Builder> of,
      BiFunction<Integer, TrainingOptions, Ended> run)
      throws Exception {
    SharedMemory memory = new SharedMemory(ranks);
    ExecutorService threads = Executors.newFixedThreadPool(ranks);
    try {
      List<Future<Ended>> running = new ArrayList<>();
      for (int r = 0; r < ranks; r++) {
        int rank = r;
        TrainingOptions options = of.apply(rank).exchange(memory.exchange(rank)).build();
        running.add(threads.submit(() -> run.apply(rank, options)));
      }
      List<Ended> ended = new ArrayList<>();
      for (Future<Ended> future : running) {
        ended.add(future.get());
      }
      return ended;
    } finally {
      threads.shutdown();
    }
  }

  /**
   * Three ranks of two batches a step. Oracle: one process that accumulates six. Tolerance: 1e-5 of
   * a tensor's largest weight; gradients are added up in another order.
   */
  @ParameterizedTest
  @EnumSource(Kind.class)
  void ranksTimesAccumulation_equalAccumulationInOneProcess(Kind kind) throws Exception {
    List<Ended> ranks = train(kind, 3, rank -> options().gradientAccumulation(2));
    Ended whole = train(kind, 0, options().gradientAccumulation(6).build());
    for (Ended rank : ranks) {
      assertThat(rank.state()).isEqualTo(ranks.get(0).state());
      assertThat(rank.result().tokens()).isEqualTo(whole.result().tokens());
      assertThat(rank.result().finalLoss())
          .isCloseTo(whole.result().finalLoss(), org.assertj.core.data.Offset.offset(1e-5));
    }
    for (int i = 0; i < whole.weights().size(); i++) {
      float[] a = ranks.get(0).weights().get(i);
      float[] b = whole.weights().get(i);
      double largest = 1e-3;
      double difference = 0;
      for (int j = 0; j < a.length; j++) {
        largest = Math.max(largest, Math.abs(b[j]));
        difference = Math.max(difference, Math.abs(a[j] - b[j]));
      }
      assertThat(difference).as("parameter %d", i).isLessThan(1e-5 * largest);
    }
  }

  @Test
  void cancelledInOneRank_stopsAll_andResumesBitIdentical() throws Exception {
    List<Ended> whole = train(Kind.GPT, 2, rank -> options());
    CancellationToken token = new CancellationToken();
    TrainingListener cancelling =
        new TrainingListener() {
          @Override
          public void onStep(StepEvent event) {
            token.cancel();
          }
        };
    IntFunction<TrainingOptions.Builder> saved =
        rank -> options().runDirectory(folder.resolve("rank-" + rank));
    List<Ended> half =
        train(
            Kind.GPT,
            2,
            rank ->
                rank == 1
                    ? saved.apply(rank).listener(cancelling).cancellation(token)
                    : saved.apply(rank));
    for (Ended rank : half) {
      assertThat(rank.result().cancelled()).isTrue();
      assertThat(rank.result().steps()).isEqualTo(2);
    }
    assertThat(Files.exists(folder.resolve("rank-1"))).isFalse();
    List<Ended> rest = train(Kind.GPT, 2, rank -> saved.apply(rank).resume(true));
    for (Ended rank : rest) {
      assertThat(rank.state()).isEqualTo(whole.get(0).state());
    }
    assertThat(Files.exists(folder.resolve("rank-1"))).isFalse();
    assertThat(folder.resolve("rank-0/model/model.safetensors")).isRegularFile();
  }

  /** All ranks name the same run directory, with a validation part, and resume in it. */
  @Test
  void corpus_isTrainedOnInOneRunDirectory() throws Exception {
    Path text = folder.resolve("text.txt");
    Files.writeString(text, "we know what we are, but know not what we may be.\n".repeat(60));
    Path run = folder.resolve("run");
    List<Ended> half = corpus(text, run, options().steps(STEPS), true);
    List<Ended> rest = corpus(text, run, options().steps(STEPS).resume(true), false);
    List<Ended> whole = corpus(text, folder.resolve("whole"), options().steps(STEPS), false);
    assertThat(half.get(1).result().steps()).isEqualTo(2);
    for (int rank = 0; rank < 2; rank++) {
      assertThat(rest.get(rank).state()).isEqualTo(whole.get(0).state());
      assertThat(rest.get(rank).result().lastEvaluation())
          .isEqualTo(whole.get(0).result().lastEvaluation())
          .isNotEmpty();
    }
    assertThat(run.resolve("model/model.safetensors")).isRegularFile();
  }

  private static List<Ended> corpus(
      Path text, Path run, TrainingOptions.Builder common, boolean cancel) throws Exception {
    TrainingOptions base = common.batchSize(2).runDirectory(run).build();
    return ranks(
        2,
        rank -> {
          CancellationToken token = new CancellationToken();
          return base.toBuilder()
              .cancellation(token)
              .listener(
                  new TrainingListener() {
                    @Override
                    public void onStep(StepEvent event) {
                      if (cancel && rank == 0) {
                        token.cancel();
                      }
                    }
                  });
        },
        (rank, options) -> {
          try (Device device = Device.cpu(1);
              Tokenizer tokenizer = CharTrainer.train(List.of(text), 0);
              Network network =
                  Network.create(
                      device,
                      Gpt2Config.of(tokenizer.vocabSize(), 24, 32, 2, 2),
                      Task.CAUSAL_LM,
                      DType.FLOAT32,
                      1 + rank)) {
            CorpusOptions data = CorpusOptions.defaults().withValidationShare(0.1);
            TrainingResult result =
                CorpusTraining.run(network, tokenizer, Corpus.of(text), null, data, options);
            return ended(network, result);
          }
        });
  }

  @Test
  void gradients_lieInOneBlock() {
    try (Device device = Device.cpu(1);
        Network network = Toys.network(device, Kind.GPT, DType.FLOAT32, 1, 0)) {
      network.enableTraining();
      var block = network.parameters().gradientBlock();
      long end = block.address();
      for (var p : network.parameters().all()) {
        assertThat(p.grad().address()).isGreaterThanOrEqualTo(end);
        assertThat(p.grad().address() % 256).isEqualTo(block.address() % 256);
        end = p.grad().address() + p.grad().byteSize();
      }
      assertThat(end).isLessThanOrEqualTo(block.address() + block.byteSize());
    }
  }
}
