package dev.graft.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import dev.graft.model.Network;
import dev.graft.model.Optimizer;
import dev.graft.runtime.CudaBackend;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.train.Toys.Kind;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * A run that stopped and went on ends with the very bits of one that never stopped. Oracle: the
 * uninterrupted run. Tolerance: none.
 */
class ExactResumeTest {
  private static final int STEPS = 12;

  @TempDir Path folder;

  private static TrainingOptions.Builder options(DType dtype) {
    return TrainingOptions.finetuning()
        .steps(STEPS)
        .gradientAccumulation(2)
        .learningRate(3e-3)
        .schedule(Schedule.COSINE)
        .warmupSteps(3)
        .weightDecay(0.1)
        .dtype(dtype)
        .logEvery(4);
  }

  /** Stops a run when it has reported a step. */
  private static final class StopAt implements TrainingListener {
    final CancellationToken token = new CancellationToken();
    final List<Long> resumedFrom = new ArrayList<>();
    private final long step;

    StopAt(long step) {
      this.step = step;
    }

    @Override
    public void onStep(StepEvent event) {
      if (event.step() >= step) {
        token.cancel();
      }
    }

    @Override
    public void onResume(Path checkpoint, long from) {
      resumedFrom.add(from);
    }
  }

  private record Ended(TrainingResult result, Map<String, String> state) {}

  /**
   * A run in a process' worth of fresh objects; another initial seed shows that weights are loaded.
   */
  private static Ended run(Kind kind, DType dtype, long networkSeed, TrainingOptions options) {
    return run("cpu", kind, dtype, networkSeed, options);
  }

  private static Ended run(
      String on, Kind kind, DType dtype, long networkSeed, TrainingOptions options) {
    try (Device device = Device.open(on, 0);
        Network network = Toys.network(device, kind, dtype, networkSeed, 0.2)) {
      TrainingResult result = new Trainer(network, new Toys.Source(kind, 5, 3), options).run();
      return new Ended(result, Toys.state(network));
    }
  }

  static Stream<Arguments> kinds() {
    return Stream.of(Kind.values())
        .flatMap(
            kind ->
                Stream.of(DType.FLOAT32, DType.BFLOAT16).map(dtype -> Arguments.of(kind, dtype)));
  }

  @ParameterizedTest
  @MethodSource("kinds")
  void stoppedAndResumed_equalsUninterrupted(Kind kind, DType dtype) {
    Ended whole = run(kind, dtype, 1, options(dtype).build());
    assertThat(whole.result().cancelled()).isFalse();
    for (int stop : new int[] {1, 6, 11}) {
      TrainingOptions.Builder saved =
          options(dtype).logEvery(1).runDirectory(folder.resolve("stop-" + stop));
      StopAt first = new StopAt(stop);
      Ended half = run(kind, dtype, 1, saved.listener(first).cancellation(first.token).build());
      assertThat(half.result().cancelled()).isTrue();
      assertThat(half.result().steps()).isEqualTo(stop);
      assertThat(half.state()).isNotEqualTo(whole.state());

      StopAt never = new StopAt(Long.MAX_VALUE);
      Ended rest =
          run(
              kind,
              dtype,
              99,
              saved.listener(never).cancellation(never.token).resume(true).build());
      assertThat(never.resumedFrom).containsExactly((long) stop);
      assertThat(rest.state()).as("stopped at %d", stop).isEqualTo(whole.state());
      assertThat(rest.result().tokens()).isEqualTo(whole.result().tokens());
    }
  }

  /** By the CUDA kernels: captured steps before and after, and every state through its memory. */
  @Test
  void onAnEmulatedCard_stoppedAndResumed_equalsUninterrupted() {
    String library = System.getProperty(CudaBackend.EMULATED_LIBRARY);
    assumeTrue(library != null && Files.exists(Path.of(library)), "built for the tests");
    DType dtype = DType.BFLOAT16;
    Ended whole = run("emulate", Kind.GPT, dtype, 1, options(dtype).build());
    TrainingOptions.Builder saved =
        options(dtype).logEvery(1).runDirectory(folder.resolve("emulated"));
    StopAt first = new StopAt(5);
    Ended half =
        run("emulate", Kind.GPT, dtype, 1, saved.listener(first).cancellation(first.token).build());
    assertThat(half.state()).isNotEqualTo(whole.state());
    StopAt never = new StopAt(Long.MAX_VALUE);
    TrainingOptions rest = saved.listener(never).cancellation(never.token).resume(true).build();
    assertThat(run("emulate", Kind.GPT, dtype, 99, rest).state()).isEqualTo(whole.state());
    assertThatThrownBy(() -> run("cpu", Kind.GPT, dtype, 1, rest))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining("device was emulate, is cpu");
  }

  @Test
  void stoppedTwice_andLossesAreReportedAlike() throws IOException {
    Path plain = folder.resolve("plain");
    Path stopped = folder.resolve("stopped");
    Ended whole =
        run(Kind.GPT, DType.FLOAT32, 1, options(DType.FLOAT32).runDirectory(plain).build());
    Ended last = null;
    for (long stop : new long[] {3, 8, Long.MAX_VALUE}) {
      // Stops between two reports: the losses of the open window are part of the state.
      CancellationToken token = new CancellationToken();
      Toys.Source source =
          new Toys.Source(Kind.GPT, 5, 3) {
            @Override
            public void fill(long index, dev.graft.data.Batch batch) {
              if (index == stop * 2 - 1) {
                token.cancel();
              }
              super.fill(index, batch);
            }
          };
      try (Device device = Device.cpu();
          Network network = Toys.network(device, Kind.GPT, DType.FLOAT32, stop, 0.2)) {
        if (stop == 3) {
          network.close();
          last = first(stopped, source, token);
          continue;
        }
        TrainingResult result =
            new Trainer(
                    network,
                    source,
                    options(DType.FLOAT32)
                        .runDirectory(stopped)
                        .resume(true)
                        .cancellation(token)
                        .build())
                .run();
        last = new Ended(result, Toys.state(network));
      }
    }
    assertThat(last.state()).isEqualTo(whole.state());
    assertThat(losses(stopped)).hasSize(3).isEqualTo(losses(plain));
  }

  private static Ended first(Path run, Toys.Source source, CancellationToken token) {
    try (Device device = Device.cpu();
        Network network = Toys.network(device, Kind.GPT, DType.FLOAT32, 1, 0.2)) {
      TrainingResult result =
          new Trainer(
                  network,
                  source,
                  options(DType.FLOAT32).runDirectory(run).cancellation(token).build())
              .run();
      assertThat(result.steps()).isEqualTo(3);
      assertThat(result.summary()).contains("cancelled after 3 of 12 steps", "--resume");
      return new Ended(result, Toys.state(network));
    }
  }

  private static List<String> losses(Path run) throws IOException {
    List<String> losses = new ArrayList<>();
    for (String line : Files.readAllLines(run.resolve("metrics.jsonl"))) {
      JsonNode node = Json.MAPPER.readTree(line);
      // A window split by a stop is summed in two parts: equal to a part in 10^12.
      losses.add(node.get("step") + String.format(" %.10f", node.get("loss").asDouble()));
    }
    return losses;
  }

  @Test
  void finishedRun_resumedAgain_changesNothing() {
    TrainingOptions.Builder saved = options(DType.FLOAT32).runDirectory(folder.resolve("run"));
    Ended whole = run(Kind.GPT, DType.FLOAT32, 1, saved.build());
    Ended again = run(Kind.GPT, DType.FLOAT32, 2, saved.resume(true).build());
    assertThat(again.state()).isEqualTo(whole.state());
    assertThat(again.result().finalLoss()).isEqualTo(whole.result().finalLoss());
  }

  @Test
  void trainingTheSameNetworkAnew_doesNotInheritMoments() {
    try (Device device = Device.cpu();
        Network network = Toys.network(device, Kind.GPT, DType.FLOAT32, 1, 0.2);
        Network twin = Toys.network(device, Kind.GPT, DType.FLOAT32, 2, 0.2)) {
      new Trainer(network, new Toys.Source(Kind.GPT, 5, 3), options(DType.FLOAT32).build()).run();
      TensorFile.write(folder.resolve("w.safetensors"), TensorFile.weights(network));
      TensorFile.read(folder.resolve("w.safetensors"), TensorFile.weights(twin));
      new Trainer(network, new Toys.Source(Kind.GPT, 5, 4), options(DType.FLOAT32).build()).run();
      new Trainer(twin, new Toys.Source(Kind.GPT, 5, 4), options(DType.FLOAT32).build()).run();
      assertThat(Toys.state(network)).isEqualTo(Toys.state(twin));
    }
  }

  @ParameterizedTest
  @CsvSource({
    "learningRate, option learningRate was 0.003",
    "steps, option steps (of the whole run) was 12",
    "accumulation, option gradientAccumulation was 2",
    "seed, option seed was 1337",
    "clip, option clip was 1.0",
    "optimizer, option optimizer was ADAMW",
    "dtype, option dtype was fp32",
    "data, data fingerprint was toy GPT 5 3",
    "tokenizer, tokenizer was none",
    "threads, threads was",
    "config, model config was",
  })
  void resumeThatCouldNotBeExact_isRefusedByName(String change, String message) {
    Path run = folder.resolve("run");
    StopAt stop = new StopAt(4);
    TrainingOptions first =
        options(DType.FLOAT32).runDirectory(run).listener(stop).cancellation(stop.token).build();
    run(Kind.GPT, DType.FLOAT32, 1, first);
    UnaryOperator<TrainingOptions.Builder> changed =
        b ->
            switch (change) {
              case "learningRate" -> b.learningRate(1e-3);
              case "steps" -> b.steps(13);
              case "accumulation" -> b.gradientAccumulation(1);
              case "seed" -> b.seed(5);
              case "clip" -> b.clip(0);
              case "optimizer" -> b.optimizer(Optimizer.LAMB);
              case "dtype" -> b.dtype(DType.BFLOAT16);
              default -> b;
            };
    TrainingOptions again =
        changed.apply(first.toBuilder().resume(true).cancellation(new CancellationToken())).build();
    try (Device device = Device.cpu(change.equals("threads") ? Device.cpu().threads() + 1 : 0);
        Network network =
            Toys.network(device, Kind.GPT, again.dtype(), 1, change.equals("config") ? 0.3 : 0.2)) {
      TokenizerFiles tokenizer =
          change.equals("tokenizer")
              ? into -> dev.graft.io.AtomicFiles.write(into.resolve("vocab.txt"), "a")
              : null;
      Trainer trainer =
          new Trainer(
              network,
              new Toys.Source(Kind.GPT, change.equals("data") ? 6 : 5, 3),
              tokenizer,
              null,
              again);
      assertThatThrownBy(trainer::run)
          .isInstanceOf(InvalidInputException.class)
          .hasMessageContaining("cannot be resumed exactly")
          .hasMessageContaining(message);
    }
  }

  /** Instruction set, library and matrix products cannot be changed here: the saved ones are. */
  @ParameterizedTest
  @CsvSource({"instruction set", "native library", "matrix products", "device"})
  void resumeOnAnotherBuildOrMachine_isRefusedByName(String name) throws IOException {
    Path run = folder.resolve("run");
    StopAt stop = new StopAt(4);
    TrainingOptions first =
        options(DType.FLOAT32).runDirectory(run).listener(stop).cancellation(stop.token).build();
    run(Kind.GPT, DType.FLOAT32, 1, first);
    Path checkpoint = run.resolve("checkpoints/step-00000004");
    ObjectNode state = Json.readObject(checkpoint.resolve("state.json"));
    ((ObjectNode) state.get("identity")).put(name, "another");
    RunIdentity here;
    try (Device device = Device.cpu();
        Network network = Toys.network(device, Kind.GPT, DType.FLOAT32, 1, 0.2)) {
      here = RunIdentity.of(network, new Toys.Source(Kind.GPT, 5, 3), null, first, STEPS);
    }
    assertThatThrownBy(() -> here.check(checkpoint, state.get("identity")))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining(name + " was another");
    here.check(checkpoint, Json.readObject(checkpoint.resolve("state.json")).get("identity"));
  }

  @Test
  void killedBeforeTheFirstCheckpoint_resumesFromTheBeginning() throws IOException {
    Path run = folder.resolve("run");
    TrainingOptions.Builder saved = options(DType.FLOAT32).runDirectory(run);
    Ended whole = run(Kind.GPT, DType.FLOAT32, 1, saved.build());
    Durable.deleteTree(run.resolve("checkpoints"));
    Ended again = run(Kind.GPT, DType.FLOAT32, 1, saved.resume(true).build());
    assertThat(again.state()).isEqualTo(whole.state());
    Durable.deleteTree(run.resolve("checkpoints"));
    assertThatThrownBy(() -> run(Kind.GPT, DType.FLOAT32, 1, saved.seed(8).resume(true).build()))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining("option seed was 1337, is 8");
  }
}
