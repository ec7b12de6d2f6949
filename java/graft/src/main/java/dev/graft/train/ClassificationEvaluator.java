package dev.graft.train;

import dev.graft.data.ClassificationSource;
import dev.graft.metrics.ClassificationMetrics;
import dev.graft.model.EvalStep;
import dev.graft.model.Network;
import dev.graft.text.Encoding;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * A classifier's answers on a labelled set: {@code loss} (mean −ln p of the right class), {@code
 * accuracy}, {@code f1_macro}, {@code f1_micro}, {@code mcc}, {@code examples}. Judged by accuracy.
 */
public final class ClassificationEvaluator implements Evaluator {
  private final JudgedBatches batches;
  private final int[] labels;

  /**
   * @param labels the class of each text
   * @param batchSize texts computed together
   */
  public ClassificationEvaluator(List<Encoding> encodings, int[] labels, int batchSize) {
    this.batches =
        new JudgedBatches(new ClassificationSource(encodings, labels, batchSize, false, 0));
    this.labels = labels.clone();
  }

  @Override
  public Map<String, Double> evaluate(Network evaluated) {
    EvalStep step = batches.on(evaluated);
    ClassificationMetrics counts = new ClassificationMetrics(evaluated.config().labels().size());
    double loss = 0;
    int at = 0;
    for (long b = 0; b < batches.count(); b++) {
      for (float[] logits : step.classify(batches.get(b))) {
        counts.add(labels[at], JudgedBatches.highest(logits));
        loss += minusLogProbability(logits, labels[at]);
        at++;
      }
    }
    Map<String, Double> metrics = new LinkedHashMap<>();
    metrics.put("loss", loss / at);
    metrics.putAll(counts.toMap());
    metrics.put("examples", (double) at);
    return metrics;
  }

  private static double minusLogProbability(float[] logits, int label) {
    double highest = logits[JudgedBatches.highest(logits)];
    double sum = 0;
    for (float logit : logits) {
      sum += Math.exp(logit - highest);
    }
    return highest + Math.log(sum) - logits[label];
  }

  @Override
  public String mainMetric() {
    return "accuracy";
  }

  @Override
  public boolean higherIsBetter() {
    return true;
  }

  @Override
  public void close() {
    batches.close();
  }
}
