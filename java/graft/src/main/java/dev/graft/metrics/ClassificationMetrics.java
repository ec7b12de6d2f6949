package dev.graft.metrics;

import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Counts of a classifier's answers, and what follows from them. Definitions as in scikit-learn: a
 * class that is neither true nor answered has an F1 of 0 and counts in the macro mean only if it
 * occurs.
 */
public final class ClassificationMetrics {
  private final long[][] confusion;

  public ClassificationMetrics(int classes) {
    if (classes < 2) {
      throw new IllegalArgumentException("expected at least two classes, got " + classes);
    }
    confusion = new long[classes][classes];
  }

  /** One example: its class and the answer. */
  public void add(int truth, int answer) {
    int classes = confusion.length;
    if (truth < 0 || truth >= classes || answer < 0 || answer >= classes) {
      throw new IllegalArgumentException(
          String.format("expected classes of 0 to %d, got %d and %d", classes - 1, truth, answer));
    }
    confusion[truth][answer]++;
  }

  public long count() {
    long count = 0;
    for (long[] row : confusion) {
      for (long cell : row) {
        count += cell;
      }
    }
    return count;
  }

  private long correct() {
    long correct = 0;
    for (int c = 0; c < confusion.length; c++) {
      correct += confusion[c][c];
    }
    return correct;
  }

  private long truths(int c) {
    long sum = 0;
    for (long cell : confusion[c]) {
      sum += cell;
    }
    return sum;
  }

  private long answers(int c) {
    long sum = 0;
    for (long[] row : confusion) {
      sum += row[c];
    }
    return sum;
  }

  /** Share of right answers; NaN without examples. */
  public double accuracy() {
    return (double) correct() / count();
  }

  /** F1 of one class. */
  public double f1(int c) {
    long both = truths(c) + answers(c);
    return both == 0 ? 0 : 2.0 * confusion[c][c] / both;
  }

  /** Mean F1 of the classes that occur. */
  public double macroF1() {
    double sum = 0;
    int occurring = 0;
    for (int c = 0; c < confusion.length; c++) {
      if (truths(c) + answers(c) > 0) {
        sum += f1(c);
        occurring++;
      }
    }
    return sum / occurring;
  }

  /** Of single-label answers it equals the accuracy. */
  public double microF1() {
    return accuracy();
  }

  /**
   * Matthews correlation for any number of classes (Gorodkin 2004); 0 if all answers or all truths
   * are one class.
   */
  public double mcc() {
    double n = count();
    double numerator = correct() * n;
    double answersSquare = 0;
    double truthsSquare = 0;
    for (int c = 0; c < confusion.length; c++) {
      double t = truths(c);
      double a = answers(c);
      numerator -= t * a;
      truthsSquare += t * t;
      answersSquare += a * a;
    }
    double denominator = Math.sqrt(n * n - answersSquare) * Math.sqrt(n * n - truthsSquare);
    return denominator == 0 ? 0 : numerator / denominator;
  }

  /** All of them by name. */
  public Map<String, Double> toMap() {
    Map<String, Double> metrics = new LinkedHashMap<>();
    metrics.put("accuracy", accuracy());
    metrics.put("f1_macro", macroF1());
    metrics.put("f1_micro", microF1());
    metrics.put("mcc", mcc());
    return metrics;
  }
}
