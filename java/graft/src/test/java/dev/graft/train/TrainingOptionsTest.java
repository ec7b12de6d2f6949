package dev.graft.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.Json;
import dev.graft.runtime.DType;
import java.nio.file.Path;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class TrainingOptionsTest {

  @Test
  void finetuningDefaults_areTheOnesPeopleExpect() {
    TrainingOptions o = TrainingOptions.finetuning().build();
    assertThat(o.learningRate()).isEqualTo(5e-5);
    assertThat(o.schedule()).isEqualTo(Schedule.LINEAR);
    assertThat(o.epochs()).isEqualTo(3);
    assertThat(o.batchSize()).isEqualTo(8);
    assertThat(o.clip()).isEqualTo(1);
    assertThat(o.eps()).isEqualTo(1e-8);
    assertThat(o.decayAll()).isFalse();
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
            .weightDecay(0.75)
            .decayAll(true)
            .beta1(0.1)
            .beta2(0.2)
            .eps(0.3)
            .clip(0.4)
            .seed(16)
            .dtype(DType.BFLOAT16)
            .logEvery(17)
            .evalEvery(18)
            .saveEvery(19)
            .keepCheckpoints(20)
            .maxSkippedInARow(21)
            .runDirectory(Path.of("run"))
            .resume(true)
            .listener(new TrainingListener() {})
            .cancellation(new CancellationToken())
            .exchange(new OneProcess())
            .build();
    assertThat(from.toBuilder().build()).isEqualTo(from);
    TrainingOptions defaults = TrainingOptions.finetuning().build();
    for (var component : TrainingOptions.class.getRecordComponents()) {
      if (!component.getName().equals("warmupRatio")) {
        assertThat(component.getAccessor().invoke(from))
            .as(component.getName())
            .isNotEqualTo(component.getAccessor().invoke(defaults));
      }
    }
    assertThat(TrainingOptions.finetuning().warmupSteps(3).warmupRatio(0.5).build().warmup(10))
        .isEqualTo(5);
  }

  @ParameterizedTest
  @CsvSource({
    "batchSize, at least 1",
    "gradientAccumulation, at least 1",
    "learningRate, above 0",
    "minLearningRate, 0 to learningRate",
    "beta1, '[0, 1)'",
    "beta2, '[0, 1)'",
    "eps, above 0",
    "clip, at least 0",
    "keepCheckpoints, at least 2",
    "weightDecay, at least 0",
    "resume, a runDirectory",
    "steps and epochs, one of them above 0",
    "dtype, fp32 or bf16",
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
              case "resume" -> b.resume(true);
              case "steps and epochs" -> b.epochs(0);
              case "dtype" -> b.dtype(DType.INT32);
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
