package dev.graft.metrics;

import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Answers of any number of labels at once. Definitions as in scikit-learn with {@code
 * zero_division=0}: an F1 without a truth and an answer is 0, and counts in the mean.
 */
public final class MultiLabelMetrics {
  private final long[] right;
  private final long[] truths;
  private final long[] answers;
  private long count;
  private long exact;
  private double sampleF1;

  public MultiLabelMetrics(int labels) {
    if (labels < 1) {
      throw new IllegalArgumentException("expected at least one label, got " + labels);
    }
    right = new long[labels];
    truths = new long[labels];
    answers = new long[labels];
  }

  /** One example: whether each label is true, and whether it was answered. */
  public void add(boolean[] truth, boolean[] answer) {
    if (truth.length != right.length || answer.length != right.length) {
      throw new IllegalArgumentException(
          String.format(
              "expected %d labels, got %d and %d", right.length, truth.length, answer.length));
    }
    int both = 0;
    int sum = 0;
    boolean equal = true;
    for (int label = 0; label < right.length; label++) {
      if (truth[label]) {
        truths[label]++;
        sum++;
      }
      if (answer[label]) {
        answers[label]++;
        sum++;
      }
      if (truth[label] && answer[label]) {
        right[label]++;
        both++;
      }
      equal &= truth[label] == answer[label];
    }
    count++;
    exact += equal ? 1 : 0;
    sampleF1 += f1(both, sum);
  }

  private static double f1(long both, long sum) {
    return sum == 0 ? 0 : 2.0 * both / sum;
  }

  public long count() {
    return count;
  }

  /** Share of examples whose labels are all right; NaN without examples. */
  public double exactMatch() {
    return (double) exact / count;
  }

  /** F1 of one label. */
  public double f1(int label) {
    return f1(right[label], truths[label] + answers[label]);
  }

  /** F1 of all decisions together. */
  public double microF1() {
    long both = 0;
    long sum = 0;
    for (int label = 0; label < right.length; label++) {
      both += right[label];
      sum += truths[label] + answers[label];
    }
    return f1(both, sum);
  }

  /** Mean F1 of the labels. */
  public double macroF1() {
    double sum = 0;
    for (int label = 0; label < right.length; label++) {
      sum += f1(label);
    }
    return sum / right.length;
  }

  /** Mean F1 of the examples; NaN without examples. */
  public double samplesF1() {
    return sampleF1 / count;
  }

  /** All of them by name. */
  public Map<String, Double> toMap() {
    Map<String, Double> metrics = new LinkedHashMap<>();
    metrics.put("f1_micro", microF1());
    metrics.put("f1_macro", macroF1());
    metrics.put("f1_samples", samplesF1());
    metrics.put("exact_match", exactMatch());
    return metrics;
  }
}
