package dev.graft.bench;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Predicate;

/**
 * The rule a result is judged by, libtorch at the same dtype: |x − f64| ≤ 2 · |libtorch − f64| + 2
 * ulp(|f64|), where |·| is a {@link Measure} over all elements and a few draws of the data: on a
 * handful of elements one draw may find libtorch lucky.
 */
final class LibtorchRule {
  /** How the errors of many elements become one number. */
  enum Measure {
    /** The largest: for one kernel, where the error is a bounded number of roundings. */
    LARGEST,
    /**
     * The root mean square: for a whole model, where the largest of some thousand errors is a
     * matter of luck (equal sides differ by more than 2 in one tensor of some hundreds, and which
     * one depends on the processor). The largest error may still be no more than 4 times
     * libtorch's, so that one wrong row of a large tensor is seen.
     */
    RMS
  }

  /**
   * So few numbers bound their own spread badly: of two equal sides with 16 numbers each, one RMS
   * is twice the other in 1 of 150 cases (F distribution) and three times in 1 of 20,000.
   */
  private static final int FEW = 32;

  /** Significand bits. */
  static final int FP32 = 24;

  static final int BF16 = 8;

  /** Below this share of the largest gradient, a gradient is zero but for rounding. */
  private static final double ZERO = 1e-6;

  /** What one result came to over the draws. */
  private static final class Errors {
    double own;
    double peer;
    double largest;
    double ownSquares;
    double peerSquares;
    double squares;
    long count;
    int precision;

    double rms(double sumOfSquares) {
      return Math.sqrt(sumOfSquares / count);
    }
  }

  private final Measure measure;
  private final Map<String, Errors> errors = new LinkedHashMap<>();

  LibtorchRule(Measure measure) {
    this.measure = measure;
  }

  /**
   * Adds a draw.
   *
   * @param precision significand bits of the result's dtype
   */
  void add(String result, double[] own, double[] peer, double[] exact, int precision) {
    assertThat(own).as(result).hasSameSizeAs(exact);
    Errors e = errors.computeIfAbsent(result, key -> new Errors());
    double peerError = distance(peer, exact);
    // An infinite error of the peer's would allow anything.
    assertThat(peerError).as("libtorch's error in %s", result).isFinite();
    e.own = Math.max(e.own, distance(own, exact));
    e.peer = Math.max(e.peer, peerError);
    e.largest = Math.max(e.largest, largest(exact));
    e.ownSquares += squaredDistance(own, exact);
    e.peerSquares += squaredDistance(peer, exact);
    e.squares += squaredDistance(exact, new double[exact.length]);
    e.count += exact.length;
    e.precision = precision;
  }

  /**
   * Judges every result. A gradient that is zero in exact arithmetic is judged against the largest.
   *
   * @param what named in the message
   * @param gradient which results are gradients
   */
  void check(String what, Predicate<String> gradient) {
    assertThat(errors).as(what).isNotEmpty();
    double most = largestOf(gradient);
    errors.forEach(
        (result, e) -> {
          // A gradient that is zero but for rounding is as exact as the sums it cancels in.
          boolean zero = gradient.test(result) && e.largest < ZERO * most;
          double largest = zero ? most : e.largest;
          if (measure == Measure.LARGEST) {
            judge(what, result, "largest", e.own, 2 * e.peer + 2 * ulp(largest, e.precision));
          } else {
            double typical = zero ? most : e.rms(e.squares);
            judge(
                what,
                result,
                "RMS",
                e.rms(e.ownSquares),
                (e.count < FEW ? 3 : 2) * e.rms(e.peerSquares) + 2 * ulp(typical, e.precision));
            judge(what, result, "largest", e.own, 4 * e.peer + 2 * ulp(largest, e.precision));
          }
        });
  }

  private static void judge(
      String what, String result, String measured, double error, double allowed) {
    assertThat(error)
        .as("%s %s: %s error, allowed by libtorch's own", what, result, measured)
        .isLessThanOrEqualTo(allowed);
  }

  private double largestOf(Predicate<String> gradient) {
    return errors.entrySet().stream()
        .filter(entry -> gradient.test(entry.getKey()))
        .mapToDouble(entry -> entry.getValue().largest)
        .max()
        .orElse(0);
  }

  static double ulp(double magnitude, int bits) {
    return magnitude == 0 ? 0 : Math.scalb(1.0, Math.getExponent(magnitude) - bits + 1);
  }

  static double largest(double[] values) {
    double largest = 0;
    for (double value : values) {
      largest = Math.max(largest, Math.abs(value));
    }
    return largest;
  }

  /** max|a − b|; a NaN or a differing infinity anywhere makes it infinite. */
  static double distance(double[] a, double[] b) {
    double worst = 0;
    for (int i = 0; i < a.length; i++) {
      double difference = a[i] == b[i] ? 0 : Math.abs(a[i] - b[i]);
      worst = Double.isNaN(difference) ? Double.POSITIVE_INFINITY : Math.max(worst, difference);
    }
    return worst;
  }

  private static double squaredDistance(double[] a, double[] b) {
    double sum = 0;
    for (int i = 0; i < a.length; i++) {
      // Equal infinities are no distance; distance() has refused the rest.
      double difference = a[i] == b[i] ? 0 : a[i] - b[i];
      sum += difference * difference;
    }
    return sum;
  }
}
