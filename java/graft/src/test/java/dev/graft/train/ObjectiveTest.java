package dev.graft.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.graft.data.Batch;
import dev.graft.io.InvalidInputException;
import dev.graft.model.EvalStep;
import dev.graft.model.Limits;
import dev.graft.model.Network;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.train.Toys.Kind;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Class weights and label smoothing, from the options to the loss a step reports. */
class ObjectiveTest {
  private static final Kind KIND = Kind.BERT_CLASSIFICATION;
  private Device device;

  @BeforeEach
  void device() {
    device = Device.cpu();
  }

  @AfterEach
  void close() {
    device.close();
  }

  private static TrainingOptions.Builder options() {
    return TrainingOptions.finetuning()
        .steps(1)
        .learningRate(1e-3)
        .gradientAccumulation(2)
        .logEvery(1);
  }

  private double firstLoss(TrainingOptions.Builder options) {
    List<Double> losses = new ArrayList<>();
    TrainingListener listener =
        new TrainingListener() {
          @Override
          public void onStep(StepEvent event) {
            losses.add(event.loss());
          }
        };
    try (Network network = Toys.network(device, KIND, DType.FLOAT32, 1, 0)) {
      new Trainer(network, new Toys.Source(KIND, 6, 3), options.listener(listener).build()).run();
    }
    return losses.get(0);
  }

  /**
   * Oracle: PyTorch's definition, in double, over the logits of both batches: the sum of w_y times
   * the smoothed cross-entropy over the sum of w_y. Tolerance: 1e-5, fp32 logits and loss.
   */
  private double expected(double[] weights, double smoothing) {
    double loss = 0;
    double weight = 0;
    Toys.Source source = new Toys.Source(KIND, 6, 3);
    Batch batch = source.newBatch();
    try (Network network = Toys.network(device, KIND, DType.FLOAT32, 1, 0);
        EvalStep step = new EvalStep(network, Limits.of(batch))) {
      for (int b = 0; b < 2; b++) {
        source.fill(b, batch);
        float[][] logits = step.classify(batch);
        for (int s = 0; s < logits.length; s++) {
          double sum = 0;
          for (float x : logits[s]) {
            sum += Math.exp(x);
          }
          int y = batch.sequenceLabels[s];
          double spread = 0;
          for (int v = 0; v < logits[s].length; v++) {
            spread += weights[v] * (Math.log(sum) - logits[s][v]);
          }
          loss +=
              (1 - smoothing) * weights[y] * (Math.log(sum) - logits[s][y])
                  + smoothing / logits[s].length * spread;
          weight += weights[y];
        }
      }
    }
    return loss / weight;
  }

  @Test
  void weightedAndSmoothedLoss_isPyTorchsDefinition() {
    double[] plain = {1, 1, 1};
    assertThat(firstLoss(options())).isCloseTo(expected(plain, 0), within(1e-5));
    assertThat(firstLoss(options().labelSmoothing(0.2)))
        .isCloseTo(expected(plain, 0.2), within(1e-5))
        .isNotCloseTo(expected(plain, 0), within(1e-4));
    double[] given = {4, 1, 0.5};
    Map<String, Double> byName = Map.of("a", 4.0, "c", 0.5);
    assertThat(firstLoss(options().classWeights(byName)))
        .isCloseTo(expected(given, 0), within(1e-5))
        .isNotCloseTo(expected(plain, 0), within(1e-5));
    assertThat(firstLoss(options().classWeights(byName).labelSmoothing(0.1)))
        .isCloseTo(expected(given, 0.1), within(1e-5));
  }

  /** Weighting a batch's classes k-fold changes nothing: the mean divides by the weights. */
  @Test
  void scaleOfAllWeights_changesNoBit() {
    String[] weights = new String[2];
    for (int i = 0; i < 2; i++) {
      double all = i == 0 ? 1 : 4;
      try (Network network = Toys.network(device, KIND, DType.FLOAT32, 1, 0)) {
        Map<String, Double> byName = Map.of("a", 2 * all, "b", all, "c", all);
        new Trainer(
                network,
                new Toys.Source(KIND, 6, 3),
                options().steps(4).classWeights(byName).build())
            .run();
        weights[i] = Toys.weights(network).toString();
      }
    }
    assertThat(weights[1]).isEqualTo(weights[0]);
  }

  @Test
  void balanced_weighsByTheCountsOfTheData() {
    Toys.Source source = new Toys.Source(KIND, 6, 3);
    Batch batch = source.newBatch();
    long[] counts = new long[3];
    for (int i = 0; i < source.batchesPerEpoch(); i++) {
      source.fill(i, batch);
      for (int s = 0; s < batch.liveSequences; s++) {
        counts[batch.sequenceLabels[s]]++;
      }
    }
    assertThat(counts[2]).isZero(); // the toy has two of its three classes
    Objective balanced = new Objective(true, Map.of(), 0);
    try (Network network = Toys.network(device, KIND, DType.FLOAT32, 1, 0)) {
      assertThatThrownBy(() -> ClassWeights.of(balanced, network, source))
          .isInstanceOf(InvalidInputException.class)
          .hasMessageContaining("c has no example to be balanced by");
      Toys.Source three =
          new Toys.Source(KIND, 6, 3) {
            @Override
            public void fill(long index, Batch to) {
              super.fill(index, to);
              to.sequenceLabels[0] = 2;
            }
          };
      float[] weights = ClassWeights.of(balanced, network, three);
      long[] all = new long[3];
      for (int i = 0; i < three.batchesPerEpoch(); i++) {
        three.fill(i, batch);
        for (int s = 0; s < batch.liveSequences; s++) {
          all[batch.sequenceLabels[s]]++;
        }
      }
      for (int c = 0; c < 3; c++) {
        assertThat(weights[c] * all[c]).isCloseTo(60f / 3, within(1e-4f));
      }
    }
  }

  @Test
  void whatDoesNotFit_isNamed() {
    try (Network network = Toys.network(device, KIND, DType.FLOAT32, 1, 0);
        Network gpt = Toys.network(device, Kind.GPT, DType.FLOAT32, 1, 0)) {
      Toys.Source source = new Toys.Source(KIND, 6, 3);
      TrainingOptions wrong = options().classWeights(Map.of("d", 2.0)).build();
      assertThatThrownBy(() -> new Trainer(network, source, wrong).run())
          .isInstanceOf(InvalidInputException.class)
          .hasMessageContaining("no class is called d; there are [a, b, c]");
      TrainingOptions balanced = options().balanced(true).build();
      assertThatThrownBy(() -> new Trainer(gpt, new Toys.Source(Kind.GPT, 6, 3), balanced).run())
          .isInstanceOf(InvalidInputException.class)
          .hasMessageContaining("has no classes");
    }
  }
}
