package dev.graft.train;

import dev.graft.data.Batch;
import dev.graft.data.ExampleSource;
import dev.graft.data.ValuedText;
import dev.graft.metrics.RegressionMetrics;
import dev.graft.model.Network;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Answers that are numbers: {@code loss} and those of {@link RegressionMetrics}, the mean over
 * several outputs. Judged by the loss, the mean squared error.
 */
public final class RegressionEvaluator extends HeadEvaluator {
  private final List<ValuedText> texts;
  private List<RegressionMetrics> outputs;

  /**
   * For a set.
   *
   * @param batchSize texts computed together
   */
  public RegressionEvaluator(List<ValuedText> texts, int batchSize) {
    super(
        new ExampleSource("regression", texts, batchSize, texts.get(0).values().length, false, 0));
    this.texts = texts;
  }

  @Override
  void begin(Network evaluated) {
    outputs = new ArrayList<>();
    for (int k = 0; k < texts.get(0).values().length; k++) {
      outputs.add(new RegressionMetrics());
    }
  }

  @Override
  void add(Batch judged, int first, float[][] logits) {
    for (int i = 0; i < logits.length; i++) {
      for (int k = 0; k < outputs.size(); k++) {
        outputs.get(k).add(texts.get(first + i).values()[k], logits[i][k]);
      }
    }
  }

  @Override
  Map<String, Double> metrics() {
    Map<String, Double> mean = new LinkedHashMap<>();
    for (RegressionMetrics one : outputs) {
      one.toMap().forEach((name, value) -> mean.merge(name, value / outputs.size(), Double::sum));
    }
    return mean;
  }

  @Override
  long examples() {
    return texts.size();
  }

  @Override
  public String mainMetric() {
    return "loss";
  }

  @Override
  public boolean higherIsBetter() {
    return false;
  }
}
