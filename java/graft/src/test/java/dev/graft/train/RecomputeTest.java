package dev.graft.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.graft.data.Batch;
import dev.graft.data.BatchSource;
import dev.graft.model.BertConfig;
import dev.graft.model.Gpt2Config;
import dev.graft.model.Limits;
import dev.graft.model.Lora;
import dev.graft.model.Network;
import dev.graft.model.OptimizerOptions;
import dev.graft.model.Parameters.Parameter;
import dev.graft.model.Recompute;
import dev.graft.model.TrainStep;
import dev.graft.runtime.CudaBackend;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.runtime.Gemm.Fusing;
import dev.graft.train.Toys.Kind;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * What is computed again has the bits of what would have been kept. Oracle: the step that keeps
 * everything. Tolerance: none.
 */
class RecomputeTest {
  private static final int STEPS = 3;
  private static final int MICRO_STEPS = 2;
  private static final int LAYERS = 4;
  private static final double DROPOUT = 0.2;

  @TempDir Path folder;

  /** What of a network trains. */
  private enum Trained {
    ALL,
    ADAPTER,
    /** The backward pass ends inside the body. */
    TOP
  }

  private record Case(String device, Kind kind, DType dtype, Trained trained) {}

  static Stream<Arguments> cases() {
    return Stream.of("cpu", "emulate")
        .flatMap(
            device ->
                Stream.of(Kind.values())
                    .flatMap(
                        kind ->
                            Stream.of(DType.FLOAT32, DType.BFLOAT16)
                                .flatMap(
                                    dtype ->
                                        Stream.of(Trained.values())
                                            .map(what -> new Case(device, kind, dtype, what)))))
        // On the emulated card the kernels are slow, and what trains is decided above them.
        .filter(c -> c.device.equals("cpu") || c.trained == Trained.ALL)
        .map(Arguments::of);
  }

  private static Network network(Device device, Case of) {
    Network network =
        of.kind == Kind.GPT
            ? Network.create(
                device,
                Gpt2Config.of(Toys.VOCABULARY, Toys.LENGTH, 32, LAYERS, 2)
                    .withDropout(DROPOUT, DROPOUT, DROPOUT),
                of.kind.task,
                of.dtype,
                1)
            : Network.create(
                device,
                BertConfig.of(Toys.VOCABULARY, Toys.LENGTH, 32, LAYERS, 2, 64)
                    .withDropout(DROPOUT, DROPOUT, DROPOUT)
                    .withLabels(
                        of.kind == Kind.BERT_CLASSIFICATION ? List.of("a", "b", "c") : List.of()),
                of.kind.task,
                of.dtype,
                1);
    switch (of.trained) {
      case ALL -> network.setRates(p -> 1);
      case ADAPTER -> network.attach(Lora.rank(4).dropout(DROPOUT), 5);
      case TOP -> network.setRates(p -> network.depth(p) > 2 ? 1 : 0);
    }
    return network;
  }

  private record Ended(Map<String, Object> bits, long activationBytes, int calls) {}

  private static TrainStep newStep(
      Device device,
      Network network,
      Batch batch,
      OptimizerOptions options,
      Recompute level,
      boolean fused) {
    if (!fused) {
      device.gemm().fuse(Fusing.NEVER);
    }
    return new TrainStep(network, Limits.of(batch), options, true, level);
  }

  /**
   * @param fused whether products may have epilogues, where the device does
   */
  private static Ended train(Case of, Recompute level, boolean fused) {
    Map<String, Object> bits = new LinkedHashMap<>();
    BatchSource data = new Toys.Source(of.kind, 7, 3);
    Batch batch = data.newBatch();
    OptimizerOptions options =
        new OptimizerOptions(0.9f, 0.99f, 1e-8f, 0.1f, OptimizerOptions.Decay.MATRICES, 1f);
    try (Device device = Device.open(of.device, 0);
        Network network = network(device, of);
        TrainStep step = newStep(device, network, batch, options, level, fused)) {
      for (int s = 0; s < STEPS; s++) {
        for (int m = 0; m < MICRO_STEPS; m++) {
          data.fill(s * MICRO_STEPS + m, batch);
          step.forwardBackward(batch, 11, s * MICRO_STEPS + m, 0.01f, 0.02f);
        }
        device.stepRead();
        bits.put("losses " + s, device.lossSum(0) + " " + device.lossSum(1));
        for (Parameter p : network.parameters().all()) {
          if (p.trainable()) {
            bits.put("gradient " + s + " " + p.name(), Toys.hash(p.grad()));
          }
        }
        step.update(1e-2f);
      }
      bits.putAll(Toys.weights(network));
      return new Ended(bits, step.activationBytes(), step.calls());
    }
  }

  @ParameterizedTest
  @MethodSource("cases")
  void everyLevel_hasTheBitsOfNone_inLessMemory(Case of) {
    if (of.device.equals("emulate")) {
      String library = System.getProperty(CudaBackend.EMULATED_LIBRARY);
      assumeTrue(library != null && Files.exists(Path.of(library)), "built for the tests");
    }
    Ended none = train(of, Recompute.NONE, false);
    Ended activation = train(of, Recompute.ACTIVATION, false);
    Ended block = train(of, Recompute.BLOCK, false);
    assertThat(activation.bits).isEqualTo(none.bits);
    assertThat(block.bits).isEqualTo(none.bits);
    if (of.device.equals("emulate") && of.kind == Kind.GPT) {
      // A GELU within a product cannot be computed again without it.
      assertThat(train(of, Recompute.BLOCK, true).bits)
          .isEqualTo(train(of, Recompute.NONE, true).bits);
    }
    assertThat(none.bits.get("losses 1")).isNotEqualTo(none.bits.get("losses 2"));
    assertThat(activation.activationBytes).isLessThan(none.activationBytes);
    assertThat(block.activationBytes).isLessThan(activation.activationBytes);
    assertThat(activation.calls).isGreaterThan(none.calls);
  }

  /** A checkpoint does not know the level: a run may be resumed with another. */
  @Test
  void resumedWithAnotherLevel_equalsUninterrupted() {
    Map<String, String> whole = run(options(6).build());
    Path directory = folder.resolve("run");
    for (Recompute level : Recompute.values()) {
      CancellationToken stop = new CancellationToken();
      TrainingListener listener =
          new TrainingListener() {
            @Override
            public void onStep(StepEvent event) {
              if (event.step() == 2 * (level.ordinal() + 1)) {
                stop.cancel();
              }
            }
          };
      Map<String, String> state =
          run(
              options(6)
                  .recompute(level)
                  .runDirectory(directory)
                  .resume(level != Recompute.NONE)
                  .listener(listener)
                  .cancellation(stop)
                  .build());
      if (level == Recompute.BLOCK) {
        assertThat(state).isEqualTo(whole);
      } else {
        assertThat(state).isNotEqualTo(whole);
      }
    }
  }

  private static TrainingOptions.Builder options(int steps) {
    return TrainingOptions.finetuning().steps(steps).learningRate(3e-3).logEvery(1);
  }

  private static Map<String, String> run(TrainingOptions options) {
    try (Device device = Device.cpu();
        Network network = Toys.network(device, Kind.GPT, DType.FLOAT32, 1, DROPOUT)) {
      new Trainer(network, new Toys.Source(Kind.GPT, 5, 3), options).run();
      return Toys.state(network);
    }
  }
}
