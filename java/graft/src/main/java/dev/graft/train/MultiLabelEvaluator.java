package dev.graft.train;

import dev.graft.data.Batch;
import dev.graft.data.ExampleSource;
import dev.graft.data.ValuedText;
import dev.graft.metrics.MultiLabelMetrics;
import dev.graft.model.Network;
import java.util.List;
import java.util.Map;

/**
 * Answers of any number of labels: {@code loss} and those of {@link MultiLabelMetrics}, a label
 * counted as answered from a probability of one half. Judged by {@code f1_micro}.
 */
public final class MultiLabelEvaluator extends HeadEvaluator {
  private final List<ValuedText> texts;
  private MultiLabelMetrics metrics;

  /**
   * For a set.
   *
   * @param batchSize texts computed together
   */
  public MultiLabelEvaluator(List<ValuedText> texts, int batchSize) {
    super(
        new ExampleSource("multi-label", texts, batchSize, texts.get(0).values().length, false, 0));
    this.texts = texts;
  }

  @Override
  void begin(Network evaluated) {
    metrics = new MultiLabelMetrics(texts.get(0).values().length);
  }

  @Override
  void add(Batch judged, int first, float[][] logits) {
    for (int i = 0; i < logits.length; i++) {
      float[] wanted = texts.get(first + i).values();
      boolean[] truth = new boolean[wanted.length];
      boolean[] answer = new boolean[wanted.length];
      for (int k = 0; k < wanted.length; k++) {
        truth[k] = wanted[k] > 0.5;
        answer[k] = logits[i][k] > 0;
      }
      metrics.add(truth, answer);
    }
  }

  @Override
  Map<String, Double> metrics() {
    return metrics.toMap();
  }

  @Override
  long examples() {
    return texts.size();
  }

  @Override
  public String mainMetric() {
    return "f1_micro";
  }
}
