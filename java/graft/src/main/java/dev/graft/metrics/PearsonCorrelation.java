package dev.graft.metrics;

/** Pearson's product-moment correlation: covariance over the product of the deviations. */
public final class PearsonCorrelation {
  private PearsonCorrelation() {}

  /**
   * Correlation of pairs, in [−1, 1]; NaN for fewer than two pairs, where one side is constant, or
   * where a number is NaN.
   *
   * @throws IllegalArgumentException if the two differ in length
   */
  public static double of(double[] x, double[] y) {
    if (x.length != y.length) {
      throw new IllegalArgumentException(
          "expected as many numbers on both sides, got " + x.length + " and " + y.length);
    }
    int n = x.length;
    if (n < 2 || constant(x) || constant(y)) {
      return Double.NaN;
    }
    double meanX = mean(x);
    double meanY = mean(y);
    double squaresX = 0;
    double squaresY = 0;
    double products = 0;
    // Two passes: sums of raw products would cancel where the mean is far from zero.
    for (int i = 0; i < n; i++) {
      double dx = x[i] - meanX;
      double dy = y[i] - meanY;
      squaresX += dx * dx;
      squaresY += dy * dy;
      products += dx * dy;
    }
    double r = products / Math.sqrt(squaresX) / Math.sqrt(squaresY);
    return Double.isNaN(r) ? r : Math.max(-1, Math.min(1, r));
  }

  /** Told by the numbers: the mean of equal numbers may round to another one. */
  private static boolean constant(double[] numbers) {
    for (double number : numbers) {
      if (number != numbers[0]) {
        return false;
      }
    }
    return true;
  }

  private static double mean(double[] numbers) {
    double sum = 0;
    for (double number : numbers) {
      sum += number;
    }
    return sum / numbers.length;
  }
}
