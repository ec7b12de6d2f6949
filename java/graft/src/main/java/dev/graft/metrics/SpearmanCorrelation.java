package dev.graft.metrics;

import java.util.Comparator;
import java.util.stream.IntStream;

/** Spearman's rank correlation: Pearson's of the ranks, equal numbers sharing their mean rank. */
public final class SpearmanCorrelation {
  private SpearmanCorrelation() {}

  /**
   * Correlation of pairs, in [−1, 1]; NaN where {@link PearsonCorrelation} is NaN.
   *
   * @throws IllegalArgumentException if the two differ in length
   */
  public static double of(double[] x, double[] y) {
    for (double[] side : new double[][] {x, y}) {
      for (double number : side) {
        if (Double.isNaN(number)) {
          return Double.NaN;
        }
      }
    }
    return PearsonCorrelation.of(ranks(x), ranks(y));
  }

  private static double[] ranks(double[] numbers) {
    int[] order =
        IntStream.range(0, numbers.length)
            .boxed()
            .sorted(Comparator.comparingDouble(i -> numbers[i]))
            .mapToInt(Integer::intValue)
            .toArray();
    double[] ranks = new double[numbers.length];
    for (int first = 0, end; first < order.length; first = end) {
      end = first + 1;
      // == and not compare: 0.0 and -0.0 tie.
      while (end < order.length && numbers[order[end]] == numbers[order[first]]) {
        end++;
      }
      for (int i = first; i < end; i++) {
        ranks[order[i]] = (first + 1 + end) / 2.0;
      }
    }
    return ranks;
  }
}
