package dev.graft.train;

import dev.graft.data.Batch;
import dev.graft.data.EncodedChoices;
import dev.graft.data.ExampleSource;
import dev.graft.model.Network;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Which choice is right: {@code loss}, {@code accuracy}. Judged by accuracy. */
public final class ChoiceEvaluator extends HeadEvaluator {
  private final List<EncodedChoices> questions;
  private long right;

  /**
   * For a set.
   *
   * @param batchSize questions computed together
   */
  public ChoiceEvaluator(List<EncodedChoices> questions, int batchSize) {
    super(new ExampleSource("choices", questions, batchSize, 0, false, 0));
    this.questions = List.copyOf(questions);
  }

  @Override
  void begin(Network evaluated) {
    right = 0;
  }

  @Override
  void add(Batch judged, int first, float[][] logits) {
    for (int q = 0; q < judged.questions; q++) {
      int from = judged.cuChoices[q];
      float[] scores = new float[judged.cuChoices[q + 1] - from];
      for (int c = 0; c < scores.length; c++) {
        scores[c] = logits[from + c][0];
      }
      right += JudgedBatches.highest(scores) == questions.get(first + q).label() ? 1 : 0;
    }
  }

  @Override
  Map<String, Double> metrics() {
    Map<String, Double> metrics = new LinkedHashMap<>();
    metrics.put("accuracy", (double) right / questions.size());
    return metrics;
  }

  @Override
  long examples() {
    return questions.size();
  }

  @Override
  public String mainMetric() {
    return "accuracy";
  }
}
