package dev.graft.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.Json;
import dev.graft.model.Lora;
import dev.graft.model.Optimizer;
import dev.graft.model.Recompute;
import dev.graft.runtime.DType;
import java.nio.file.Path;
import java.util.Map;
import java.util.Set;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class TrainingOptionsTest {

  @Test
  void finetuningDefaults_areTheOnesPeopleExpect() {
    TrainingOptions o = TrainingOptions.finetuning().build();
    assertThat(o.schedule()).isEqualTo(Schedule.LINEAR);
    assertThat(o.batchSize()).isEqualTo(8);
    assertThat(o.clip()).isEqualTo(1);
    assertThat(o.eps()).isEqualTo(1e-8);
    assertThat(o.decayAll()).isFalse();
  }

  @ParameterizedTest
  @CsvSource({
    // BERT-base on 1,000, 100,000 and 40 examples; MiniLM, a tiny BERT and BERT-large
    "768, 125, 5e-5, 8",
    "768, 12500, 5e-5, 3",
    "768, 5, 5e-5, 20",
    "384, 250, 1.4e-4, 4",
    "128, 97, 7.3e-4, 11",
    "1024, 1000, 3.2e-5, 3",
  })
  void openRateAndLength_followWidthAndData(
      int channels, long batches, double rate, double epochs) {
    TrainingOptions o = TrainingOptions.finetuning().build().resolved(channels, batches);
    assertThat(o.learningRate()).isCloseTo(rate, within(1e-12));
    assertThat(o.epochs()).isEqualTo(epochs);
    TrainingOptions adapter =
        TrainingOptions.finetuning().lora(Lora.rank(8)).build().resolved(channels, batches);
    assertThat(adapter.learningRate()).isCloseTo(10 * rate, within(1e-11));
  }

  @Test
  void givenRateAndLength_stay() {
    TrainingOptions given = TrainingOptions.finetuning().learningRate(1e-4).steps(7).build();
    assertThat(given.resolved(128, 10)).isEqualTo(given);
    assertThatThrownBy(() -> TrainingOptions.finetuning().build().totalSteps(10))
        .isInstanceOf(IllegalStateException.class);
  }

  @Test
  void everyBuilderMethod_setsTheComponentOfItsName() throws ReflectiveOperationException {
    TrainingOptions from =
        TrainingOptions.finetuning()
            .steps(11)
            .batchSize(12)
            .tokensPerStep(13)
            .gradientAccumulation(14)
            .learningRate(0.5)
            .minLearningRate(0.25)
            .schedule(Schedule.CONSTANT)
            .warmupSteps(15)
            .optimizer(Optimizer.LAMB)
            .recompute(Recompute.BLOCK)
            .fp8(true)
            .optimizerState(DType.BFLOAT16)
            .weightDecay(0.75)
            .decayAll(true)
            .beta1(0.1)
            .beta2(0.2)
            .eps(0.3)
            .clip(0.4)
            .seed(16)
            .dtype(DType.BFLOAT16)
            .device("cuda:3")
            .logEvery(17)
            .evalEvery(18)
            .saveEvery(19)
            .keepCheckpoints(20)
            .maxSkippedInARow(21)
            .layerDecay(0.9)
            .freeze("embeddings")
            .unfreezeEvery(22)
            .loadBest(false)
            .classWeights(Map.of("a", 2.0))
            .labelSmoothing(0.1)
            .metric("loss")
            .patience(23)
            .minDelta(0.6)
            .runDirectory(Path.of("run"))
            .resume(true)
            .listener(new TrainingListener() {})
            .cancellation(new CancellationToken())
            .exchange(new OneProcess())
            .build();
    assertThat(from.toBuilder().build()).isEqualTo(from);
    TrainingOptions defaults = TrainingOptions.finetuning().build();
    for (var component : TrainingOptions.class.getRecordComponents()) {
      if (!Set.of("warmupRatio", "epochs").contains(component.getName())) {
        assertThat(component.getAccessor().invoke(from))
            .as(component.getName())
            .isNotEqualTo(component.getAccessor().invoke(defaults));
      }
    }
    assertThat(from.toBuilder().epochs(2.5).build().epochs()).isEqualTo(2.5);
    assertThat(TrainingOptions.finetuning().warmupSteps(3).warmupRatio(0.5).build().warmup(10))
        .isEqualTo(5);
  }

  @ParameterizedTest
  @CsvSource({
    "batchSize, at least 1",
    "gradientAccumulation, at least 1",
    "learningRate, at least 0",
    "minLearningRate, 0 to learningRate",
    "beta1, '[0, 1)'",
    "beta2, '[0, 1)'",
    "eps, above 0",
    "clip, at least 0",
    "keepCheckpoints, at least 2",
    "weightDecay, at least 0",
    "layerDecay, 'above 0, at most 1'",
    "unfreezeEvery, at least 0",
    "evalEvery, at least 0 (or -1: each epoch)",
    "patience, at least 0",
    "labelSmoothing, '[0, 1)'",
    "classWeights, at least 0",
    "minDelta, at least 0",
    "resume, a runDirectory",
    "epochs, at least 0",
    "dtype, fp32 or bf16",
    "optimizerState, fp32 or bf16",
  })
  void wrongValues_areNamedWithWhatWasExpected(String name, String expected) {
    UnaryOperator<TrainingOptions.Builder> wrong =
        b ->
            switch (name) {
              case "batchSize" -> b.batchSize(0);
              case "gradientAccumulation" -> b.gradientAccumulation(0);
              case "learningRate" -> b.learningRate(Double.NaN);
              case "minLearningRate" -> b.learningRate(1).minLearningRate(2);
              case "beta1" -> b.beta1(1);
              case "beta2" -> b.beta2(-0.1);
              case "eps" -> b.eps(0);
              case "clip" -> b.clip(Double.POSITIVE_INFINITY);
              case "keepCheckpoints" -> b.keepCheckpoints(1);
              case "weightDecay" -> b.weightDecay(-1);
              case "layerDecay" -> b.layerDecay(0);
              case "evalEvery" -> b.evalEvery(-2);
              case "labelSmoothing" -> b.labelSmoothing(1);
              case "classWeights" -> b.classWeights(Map.of("a", -1.0));
              case "patience" -> b.patience(-1);
              case "minDelta" -> b.minDelta(Double.NaN);
              case "unfreezeEvery" -> b.unfreezeEvery(-2);
              case "resume" -> b.resume(true);
              case "epochs" -> b.epochs(-1);
              case "dtype" -> b.dtype(DType.INT32);
              case "optimizerState" -> b.optimizerState(DType.FLOAT8_E4M3);
              default -> throw new IllegalArgumentException(name);
            };
    assertThatThrownBy(() -> wrong.apply(TrainingOptions.finetuning()).build())
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("training options: " + name + ": expected " + expected);
  }

  @Test
  void totalSteps_roundUpAndCountAccumulation() {
    assertThat(TrainingOptions.finetuning().epochs(3).build().totalSteps(100)).isEqualTo(300);
    assertThat(
            TrainingOptions.finetuning().epochs(3).gradientAccumulation(7).build().totalSteps(100))
        .isEqualTo(43);
    assertThat(TrainingOptions.finetuning().epochs(0.001).build().totalSteps(100)).isEqualTo(1);
    assertThat(TrainingOptions.finetuning().steps(5).build().totalSteps(100)).isEqualTo(5);
    GradientExchange four = new SharedMemory(4).exchange(0);
    TrainingOptions shared =
        TrainingOptions.finetuning().epochs(3).gradientAccumulation(5).exchange(four).build();
    assertThat(shared.batchesPerStep()).isEqualTo(20);
    assertThat(shared.totalSteps(100)).isEqualTo(15);
  }

  @Test
  void json_holdsEveryOptionButCallbacks() {
    ObjectNode json = Json.object();
    OptionsJson.write(TrainingOptions.finetuning().runDirectory(Path.of("r")).build(), json);
    for (var component : TrainingOptions.class.getRecordComponents()) {
      boolean callback =
          java.util.Set.of("listener", "cancellation", "exchange", "runDirectory", "resume")
              .contains(component.getName());
      assertThat(json.has(component.getName())).as(component.getName()).isEqualTo(!callback);
    }
  }
}
