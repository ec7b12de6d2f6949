package dev.graft.metrics;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;

/** Answers that are numbers: squared and absolute error, and correlation with the truth. */
public final class RegressionMetrics {
  private double[] truths = new double[64];
  private double[] answers = new double[64];
  private int count;

  /** One example: its number and the answer. */
  public void add(double truth, double answer) {
    if (count == truths.length) {
      truths = Arrays.copyOf(truths, 2 * count);
      answers = Arrays.copyOf(answers, 2 * count);
    }
    truths[count] = truth;
    answers[count] = answer;
    count++;
  }

  public long count() {
    return count;
  }

  /** Mean squared error; NaN without examples. */
  public double meanSquaredError() {
    double sum = 0;
    for (int i = 0; i < count; i++) {
      double error = answers[i] - truths[i];
      sum += error * error;
    }
    return sum / count;
  }

  /** Mean absolute error; NaN without examples. */
  public double meanAbsoluteError() {
    double sum = 0;
    for (int i = 0; i < count; i++) {
      sum += Math.abs(answers[i] - truths[i]);
    }
    return sum / count;
  }

  /** See {@link PearsonCorrelation}. */
  public double pearson() {
    return PearsonCorrelation.of(Arrays.copyOf(truths, count), Arrays.copyOf(answers, count));
  }

  /** See {@link SpearmanCorrelation}. */
  public double spearman() {
    return SpearmanCorrelation.of(Arrays.copyOf(truths, count), Arrays.copyOf(answers, count));
  }

  /** All of them by name. */
  public Map<String, Double> toMap() {
    Map<String, Double> metrics = new LinkedHashMap<>();
    metrics.put("mse", meanSquaredError());
    metrics.put("mae", meanAbsoluteError());
    metrics.put("pearson", pearson());
    metrics.put("spearman", spearman());
    return metrics;
  }
}
