package dev.graft.bench;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Predicate;

/**
 * The rule a result is judged by, libtorch at the same dtype: max|x − f64| ≤ 2 · max|libtorch −
 * f64| + 2 ulp(max|f64|). The maxima run over a few draws of the data: on a handful of elements one
 * draw may find libtorch lucky.
 */
final class LibtorchRule {
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
    int precision;

    double allowed(boolean gradient, double largestGradient) {
      boolean zero = gradient && largest < ZERO * largestGradient;
      return 2 * peer + 2 * ulp(zero ? largestGradient : largest, precision);
    }
  }

  private final Map<String, Errors> errors = new LinkedHashMap<>();

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
        (result, e) ->
            assertThat(e.own)
                .as(
                    "%s %s: error %g, libtorch's %g, largest value %g",
                    what, result, e.own, e.peer, e.largest)
                .isLessThanOrEqualTo(e.allowed(gradient.test(result), most)));
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
}
