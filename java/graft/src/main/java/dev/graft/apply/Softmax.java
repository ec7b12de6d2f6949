package dev.graft.apply;

import java.util.Comparator;
import java.util.stream.IntStream;

/** Probabilities of a few logits on the host. */
final class Softmax {
  private Softmax() {}

  static double[] of(float[] logits) {
    double highest = Double.NEGATIVE_INFINITY;
    for (float x : logits) {
      highest = Math.max(highest, x);
    }
    double sum = 0;
    double[] p = new double[logits.length];
    for (int i = 0; i < p.length; i++) {
      p[i] = Math.exp(logits[i] - highest);
      sum += p[i];
    }
    for (int i = 0; i < p.length; i++) {
      p[i] /= sum;
    }
    return p;
  }

  /** 1 / (1 + e^-x). */
  static double sigmoid(double x) {
    return 1 / (1 + Math.exp(-x));
  }

  /** Indices of the k largest, falling; ties by rising index. */
  static int[] top(double[] values, int k) {
    return IntStream.range(0, values.length)
        .boxed()
        .sorted(Comparator.comparingDouble((Integer i) -> -values[i]).thenComparing(i -> i))
        .limit(k)
        .mapToInt(Integer::intValue)
        .toArray();
  }
}
