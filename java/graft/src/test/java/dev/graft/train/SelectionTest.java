package dev.graft.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.graft.io.InvalidInputException;
import dev.graft.model.Lora;
import dev.graft.model.Network;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.train.Toys.Kind;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The best weights at the end, early stopping, and when evaluations are due. */
class SelectionTest {
  private static final Kind KIND = Kind.BERT_CLASSIFICATION;
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

  /** Scores as told, in order; then the last again. */
  private static class Told implements Evaluator {
    private final double[] scores;
    int at;

    Told(double... scores) {
      this.scores = scores;
    }

    @Override
    public Map<String, Double> evaluate(Network network) {
      double score = scores[Math.min(at++, scores.length - 1)];
      return Map.of("score", score, "loss", 1 - score);
    }

    @Override
    public String mainMetric() {
      return "score";
    }

    @Override
    public boolean higherIsBetter() {
      return true;
    }
  }

  private static TrainingOptions.Builder options(int steps) {
    return TrainingOptions.finetuning()
        .steps(steps)
        .learningRate(1e-3)
        .schedule(Schedule.CONSTANT)
        .warmupSteps(0)
        .evalEvery(2);
  }

  private record Ended(TrainingResult result, Map<String, String> weights, List<Long> judged) {}

  private Ended run(Evaluator evaluator, TrainingOptions.Builder options) {
    List<Long> judged = new ArrayList<>();
    TrainingListener listener =
        new TrainingListener() {
          @Override
          public void onEvaluation(EvalEvent event) {
            judged.add(event.step());
          }
        };
    try (Network network = Toys.network(device, KIND, DType.FLOAT32, 1, 0.1)) {
      Toys.Source source = new Toys.Source(KIND, 4, 3);
      TrainingOptions built = options.listener(listener).build();
      TrainingResult result = new Trainer(network, source, evaluator, built).run();
      return new Ended(result, Toys.weights(network), judged);
    }
  }

  /** Oracle: a run that ends where the best evaluation was; the rate is constant. */
  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void theBestWeights_areWhatIsLeft(boolean lora) {
    Lora adapter = lora ? Lora.rank(2) : null;
    Map<String, String> atFour = run(null, options(4).lora(adapter)).weights();
    for (Path run : new Path[] {null, folder.resolve("run")}) {
      Told told = new Told(0.1, 0.9, 0.9, 0.3, 0.5);
      Ended ended = run(told, options(10).lora(adapter).runDirectory(run));
      assertThat(ended.weights()).isEqualTo(atFour);
      assertThat(ended.result().weightsStep()).isEqualTo(4);
      assertThat(ended.result().steps()).isEqualTo(10);
      assertThat(ended.result().lastEvaluation()).containsEntry("score", 0.9);
      assertThat(ended.judged()).containsExactly(2L, 4L, 6L, 8L, 10L);
    }
    Ended last = run(new Told(0.1, 0.9, 0.3), options(10).lora(adapter).loadBest(false));
    assertThat(last.weights()).isNotEqualTo(atFour);
    assertThat(last.result().weightsStep()).isEqualTo(10);
    assertThat(last.result().lastEvaluation()).containsEntry("score", 0.3);
  }

  /** A small validation set has few values of a metric; its loss still tells them apart. */
  @ParameterizedTest
  @CsvSource({
    // losses at steps 2, 4, 6, 8 of scores .5, .9, .9, .9; step of the best
    "'.1, .4, .3, .2', 8",
    "'.1, .2, .3, .2', 4",
    "'.1, .3, .2, .25', 6",
    "'.1, NaN, .2, .1', 4", // nothing is lower than a loss that is not known
  })
  void tiesAreBrokenByTheLowerLoss_thenTheEarlierStep(String losses, long best) {
    double[] told = Arrays.stream(losses.split(", ")).mapToDouble(Double::parseDouble).toArray();
    Told evaluator =
        new Told(0.5, 0.9, 0.9, 0.9) {
          @Override
          public Map<String, Double> evaluate(Network network) {
            double loss = told[Math.min(at, told.length - 1)];
            return Map.of("score", super.evaluate(network).get("score"), "loss", loss);
          }
        };
    Ended ended = run(evaluator, options(8).patience(3));
    assertThat(ended.result().weightsStep()).isEqualTo(best);
    assertThat(ended.result().lastEvaluation()).containsEntry("score", 0.9);
    // A tie is no gain: patience counts on.
    assertThat(run(new Told(0.9), options(20).patience(2)).result().steps()).isEqualTo(6);
  }

  @ParameterizedTest
  @CsvSource({
    // patience, minDelta, steps made, step of the best
    "1, 0, 6, 4",
    "2, 0, 14, 10",
    "3, 0, 16, 10",
    "2, 0.35, 8, 4",
    "0, 0, 20, 10",
  })
  void trainingStops_whenItGetsNoBetter(int patience, double minDelta, long steps, long best) {
    Told told = new Told(0.1, 0.5, 0.4, 0.6, 0.8, 0.7, 0.8, 0.1);
    Ended ended = run(told, options(20).patience(patience).minDelta(minDelta));
    assertThat(ended.result().steps()).isEqualTo(steps);
    assertThat(ended.result().cancelled()).isFalse();
    assertThat(ended.result().stoppedEarly()).isEqualTo(steps < 20);
    boolean bestLater = minDelta > 0; // 0.6 at step 8 is the best, though no gain of 0.35
    assertThat(ended.result().weightsStep()).isEqualTo(bestLater ? 8 : best);
  }

  @Test
  void anotherMetric_mayBeJudgedBy() {
    Ended ended = run(new Told(0.5, 0.2, 0.3), options(6).metric("loss"));
    assertThat(ended.result().weightsStep()).isEqualTo(2);
    assertThat(ended.result().bestMetric()).isEqualTo(0.5);
    assertThatThrownBy(() -> run(new Told(0.5), options(6).metric("f1")))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining("metric: expected one of")
        .hasMessageContaining("got f1");
  }

  /** Ten batches are a pass. */
  @ParameterizedTest
  @CsvSource({"1, '[10, 20, 25]'", "3, '[4, 7, 10, 14, 17, 20, 24, 25]'", "10, '[1, 2]'"})
  void onceAnEpoch_isWhenItsLastBatchWasSeen(int accumulation, String expected) {
    TrainingOptions.Builder options =
        options(accumulation == 10 ? 2 : 25).evalEvery(-1).gradientAccumulation(accumulation);
    assertThat(run(new Told(0.5), options).judged()).hasToString(expected);
  }

  /** Oracle: the run that was not interrupted. */
  @Test
  void stoppedAndResumed_countsOn() {
    double[] scores = {0.3, 0.6, 0.5, 0.4, 0.2, 0.1};
    Ended whole = run(new Told(scores), options(20).patience(3));
    assertThat(whole.result().steps()).isEqualTo(10);
    Path run = folder.resolve("run");
    CancellationToken token = new CancellationToken();
    Told half =
        new Told(scores) {
          @Override
          public Map<String, Double> evaluate(Network network) {
            Map<String, Double> metrics = super.evaluate(network);
            if (metrics.get("score") == 0.5) {
              token.cancel();
            }
            return metrics;
          }
        };
    TrainingOptions.Builder saved = options(20).patience(3).runDirectory(run);
    assertThat(run(half, saved.cancellation(token)).result().steps()).isEqualTo(6);
    for (int again = 0; again < 2; again++) {
      TrainingOptions.Builder resumed = saved.cancellation(new CancellationToken()).resume(true);
      Told rest = again == 0 ? new Told(0.4, 0.2, 0.6) : new Told(0.2, 0.6);
      Ended ended = run(rest, resumed);
      assertThat(ended.weights()).isEqualTo(whole.weights());
      assertThat(ended.result().steps()).isEqualTo(10);
      assertThat(ended.result().stoppedEarly()).isTrue();
      assertThat(ended.result().lastEvaluation()).containsEntry("score", 0.6);
    }
    assertThatThrownBy(() -> run(new Told(0.1), saved.patience(4)))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining("option selection was");
  }
}
