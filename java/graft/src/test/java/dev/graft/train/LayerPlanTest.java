package dev.graft.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.graft.data.Batch;
import dev.graft.model.Limits;
import dev.graft.model.Network;
import dev.graft.model.OptimizerOptions;
import dev.graft.model.Parameters.Parameter;
import dev.graft.model.TrainStep;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.train.Toys.Kind;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Freezing, gradual unfreezing and layer-wise decay of the learning rate. */
class LayerPlanTest {
  @TempDir Path folder;
  private Device device;

  @BeforeEach
  void device() {
    device = Device.cpu();
  }

  @AfterEach
  void close() {
    device.close();
  }

  private static TrainingOptions.Builder options(int steps) {
    return TrainingOptions.finetuning()
        .steps(steps)
        .learningRate(1e-3)
        .schedule(Schedule.CONSTANT)
        .warmupSteps(0)
        .weightDecay(0)
        .gradientAccumulation(2);
  }

  /** The gradients of one batch, and how many calls they took. */
  private record Gradients(Map<String, float[]> byName, int calls) {}

  private Gradients gradients(Kind kind, String... freeze) {
    try (Network network = Toys.network(device, kind, DType.FLOAT32, 1, 0.1)) {
      new LayerPlan(network, new Tuning(1, List.of(freeze), 0, null), 1);
      Toys.Source source = new Toys.Source(kind, 6, 3);
      Batch batch = source.newBatch();
      source.fill(0, batch);
      try (TrainStep step =
          new TrainStep(network, Limits.of(batch), OptimizerOptions.defaults(), true)) {
        step.forwardBackward(batch, 5, 0, 0.1f, 0.2f);
        return new Gradients(network.parameters().gradients(), step.calls());
      }
    }
  }

  /**
   * Freezing changes no bit of the gradients that are left, and what lies below the lowest of them
   * is not computed. Oracle: the whole backward pass.
   */
  @ParameterizedTest
  @EnumSource(Kind.class)
  void gradientsLeft_areThoseOfTheWholeBackwardPass(Kind kind) {
    Gradients whole = gradients(kind);
    int calls = whole.calls();
    for (String freeze : List.of("embeddings", "1", "2")) {
      Gradients part = gradients(kind, freeze);
      assertThat(part.byName()).as(freeze).isNotEmpty();
      part.byName()
          .forEach(
              (name, gradient) ->
                  assertThat(gradient).as(name).isEqualTo(whole.byName().get(name)));
      assertThat(part.byName().keySet())
          .as(freeze)
          .noneMatch(name -> name.contains("embeddings") || name.contains(".wte."));
      assertThat(part.calls()).as(freeze).isLessThan(calls);
      calls = part.calls();
    }
    // A frozen layer in the middle: its weights' gradients alone are left out.
    Gradients middle = gradients(kind, "*.1.*");
    assertThat(middle.byName()).hasSizeLessThan(whole.byName().size());
    middle
        .byName()
        .forEach(
            (name, gradient) -> assertThat(gradient).as(name).isEqualTo(whole.byName().get(name)));
  }

  @ParameterizedTest
  @EnumSource(Kind.class)
  void frozenWeights_keepEveryBitAndHaveNoMoments(Kind kind) {
    String biases = kind == Kind.GPT ? "*.c_fc.bias" : "*.intermediate.dense.bias";
    try (Network network = Toys.network(device, kind, DType.BFLOAT16, 1, 0.1)) {
      Map<String, String> before = Toys.weights(network);
      new Trainer(
              network,
              new Toys.Source(kind, 4, 3),
              options(4).dtype(DType.BFLOAT16).weightDecay(0.1).freeze("1", biases).build())
          .run();
      Map<String, String> after = Toys.weights(network);
      long frozen = 0;
      for (Parameter p : network.parameters().all()) {
        boolean expected = network.depth(p) <= 1 || p.name().endsWith(biases.substring(1));
        assertThat(after.get(p.name()).equals(before.get(p.name())))
            .as(p.name())
            .isEqualTo(expected);
        assertThat(p.trainable()).as(p.name()).isEqualTo(!expected);
        if (expected) {
          frozen += p.parts().stream().mapToLong(x -> x.count()).sum();
          assertThatThrownBy(p::firstMoment)
              .isInstanceOf(IllegalStateException.class)
              .hasMessageContaining("frozen");
        }
      }
      assertThat(network.parameters().trainableCount())
          .isEqualTo(network.parameters().count() - frozen);
      // The next training begins with everything again.
      new Trainer(network, new Toys.Source(kind, 4, 3), options(1).dtype(DType.BFLOAT16).build())
          .run();
      Toys.weights(network)
          .forEach((name, hash) -> assertThat(hash).as(name).isNotEqualTo(after.get(name)));
    }
  }

  /**
   * Adam's first step moves each weight by the rate, so the largest move of a layer is its rate.
   * Tolerance: 1e-3, for epsilon beside small gradients and the rounding of weights near 1.
   */
  @ParameterizedTest
  @EnumSource(Kind.class)
  void layerDecay_isTheRateOfEachLayer(Kind kind) {
    try (Network network = Toys.network(device, kind, DType.FLOAT32, 1, 0)) {
      Map<String, float[]> before = new HashMap<>();
      network.parameters().all().forEach(p -> before.put(p.name(), p.weight().floats()));
      new Trainer(
              network,
              new Toys.Source(kind, 8, 3),
              options(1).layerDecay(0.5).eps(1e-12).clip(0).build())
          .run();
      Map<Integer, Double> moved = new TreeMap<>();
      for (Parameter p : network.parameters().all()) {
        float[] now = p.weight().floats();
        double largest = 0;
        for (int i = 0; i < now.length; i++) {
          largest = Math.max(largest, Math.abs(now[i] - before.get(p.name())[i]));
        }
        moved.merge(network.depth(p), largest, Math::max);
      }
      assertThat(moved).containsOnlyKeys(0, 1, 2, 3);
      moved.forEach(
          (depth, move) ->
              assertThat(move / 1e-3)
                  .as("depth %d", depth)
                  .isCloseTo(Math.pow(0.5, 3 - depth), within(1e-3)));
    }
  }

  @Test
  void unfreezing_letsALayerJoinEveryNSteps() {
    for (int steps : new int[] {3, 4, 7, 9, 10}) {
      try (Network network = Toys.network(device, Kind.BERT_CLASSIFICATION, DType.FLOAT32, 1, 0)) {
        Map<String, String> before = Toys.weights(network);
        new Trainer(
                network,
                new Toys.Source(Kind.BERT_CLASSIFICATION, 4, 3),
                options(steps).unfreezeEvery(3).build())
            .run();
        Map<String, String> after = Toys.weights(network);
        int lowest = 3 - (steps - 1) / 3;
        for (Parameter p : network.parameters().all()) {
          assertThat(!after.get(p.name()).equals(before.get(p.name())))
              .as("%s after %d steps", p.name(), steps)
              .isEqualTo(network.depth(p) >= lowest);
        }
      }
    }
  }

  /**
   * Oracle: the run that never stopped. Tolerance: none. Stops around and at a change of layers.
   */
  @Test
  void unfreezing_resumesExactly() {
    Kind kind = Kind.BERT_CLASSIFICATION;
    TrainingOptions.Builder plan = options(11).unfreezeEvery(-1).layerDecay(0.8);
    Map<String, String> whole = run(kind, 1, plan.build());
    for (int stop : new int[] {4, 5, 6, 10}) {
      CancellationToken token = new CancellationToken();
      TrainingListener stops =
          new TrainingListener() {
            @Override
            public void onStep(StepEvent event) {
              if (event.step() == stop) {
                token.cancel();
              }
            }
          };
      TrainingOptions.Builder saved =
          plan.build().toBuilder().logEvery(1).runDirectory(folder.resolve("stop-" + stop));
      run(kind, 1, saved.listener(stops).cancellation(token).build());
      Map<String, String> rest =
          run(
              kind,
              99,
              saved
                  .listener(TrainingListener.NONE)
                  .cancellation(new CancellationToken())
                  .resume(true)
                  .build());
      assertThat(rest).as("stopped at %d", stop).isEqualTo(whole);
    }
  }

  private Map<String, String> run(Kind kind, long seed, TrainingOptions options) {
    try (Network network = Toys.network(device, kind, DType.FLOAT32, seed, 0.1)) {
      new Trainer(network, new Toys.Source(kind, 4, 3), options).run();
      return Toys.state(network);
    }
  }

  @Test
  void whatCannotBeFrozen_isNamed() {
    try (Network network = Toys.network(device, Kind.BERT_CLASSIFICATION, DType.FLOAT32, 1, 0)) {
      assertThatThrownBy(() -> new LayerPlan(network, freeze("bert.encodr.*"), 1))
          .hasMessageContaining("nothing of this network is called bert.encodr.*");
      assertThatThrownBy(() -> new LayerPlan(network, freeze("3"), 1))
          .hasMessageContaining("expected at most 2 layers, got 3");
      assertThatThrownBy(() -> new LayerPlan(network, freeze("*"), 1))
          .hasMessageContaining("nothing is left to train");
      assertThatThrownBy(() -> new LayerPlan(network, freeze("*.0.*.query.weight"), 1))
          .hasMessageContaining("train together or not at all");
    }
  }

  private static Tuning freeze(String text) {
    return new Tuning(1, List.of(text), 0, null);
  }
}
