package dev.graft.metrics;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Oracle: scikit-learn 1.9.1 (accuracy_score; f1_score macro, micro and by class;
 * matthews_corrcoef) in double. Sums in another order differ in the last digits.
 */
class MetricsTest {
  private static final double ROUNDING = 1e-14;

  /** Case, classes, truths, answers, accuracy, macro F1, micro F1, MCC, F1 of class 0. */
  @ParameterizedTest
  @CsvSource({
    "binary, 2,"
        + " 100001110000100011000011001101111001111010011000011100010001,"
        + " 100101101010110101100011101101100011010011101000001101100011,"
        + " 0.6333333333333333, 0.6329254727474972, 0.6333333333333333, 0.27151109153844005, 0.6451612903225806",
    "five, 5,"
        + " 13310203430212300230424233213032010331411401013122001204423304044304443122412122,"
        + " 10310203430012000230434222213332041331421101213220001404422304414324231122134123,"
        + " 0.675, 0.676278918214402, 0.675, 0.593499403301723, 0.7272727272727273",
    "absent, 4,"
        + " 00222,"
        + " 02220,"
        + " 0.6, 0.5833333333333333, 0.6, 0.16666666666666666, 0.5",
    "oneAnswer, 3," + " 0121," + " 1111," + " 0.5, 0.2222222222222222, 0.5, 0.0, 0.0",
    "oneTruth, 3," + " 1111," + " 0121," + " 0.5, 0.2222222222222222, 0.5, 0.0, 0.0",
    "allWrong, 2," + " 0101," + " 1010," + " 0.0, 0.0, 0.0, -1.0, 0.0",
    "perfect, 3," + " 0120," + " 0120," + " 1.0, 1.0, 1.0, 1.0, 1.0",
    "single, 2," + " 1," + " 1," + " 1.0, 1.0, 1.0, 0.0, 0.0"
  })
  void equalScikitLearns(
      String name,
      int classes,
      String truths,
      String answers,
      double accuracy,
      double macro,
      double micro,
      double mcc,
      double first) {
    ClassificationMetrics metrics = new ClassificationMetrics(classes);
    for (int i = 0; i < truths.length(); i++) {
      metrics.add(truths.charAt(i) - '0', answers.charAt(i) - '0');
    }
    assertThat(metrics.count()).isEqualTo(truths.length());
    assertThat(metrics.accuracy()).isCloseTo(accuracy, within(ROUNDING));
    assertThat(metrics.macroF1()).isCloseTo(macro, within(ROUNDING));
    assertThat(metrics.microF1()).isCloseTo(micro, within(ROUNDING));
    assertThat(metrics.mcc()).isCloseTo(mcc, within(ROUNDING));
    assertThat(metrics.f1(0)).isCloseTo(first, within(ROUNDING));
    assertThat(metrics.toMap())
        .containsEntry("accuracy", metrics.accuracy())
        .containsEntry("f1_macro", metrics.macroF1())
        .containsEntry("f1_micro", metrics.microF1())
        .containsEntry("mcc", metrics.mcc())
        .hasSize(4);
  }

  @Test
  void withoutExamples() {
    ClassificationMetrics metrics = new ClassificationMetrics(3);
    assertThat(metrics.count()).isZero();
    assertThat(metrics.accuracy()).isNaN();
    assertThat(metrics.macroF1()).isNaN();
    assertThat(metrics.mcc()).isZero();
  }

  @Test
  void classesThatAreNone() {
    ClassificationMetrics metrics = new ClassificationMetrics(2);
    for (int[] pair : new int[][] {{-1, 0}, {2, 0}, {0, -1}, {0, 2}}) {
      assertThatThrownBy(() -> metrics.add(pair[0], pair[1]))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessage("expected classes of 0 to 1, got " + pair[0] + " and " + pair[1]);
    }
    assertThat(metrics.count()).isZero();
    assertThatThrownBy(() -> new ClassificationMetrics(1))
        .isInstanceOf(IllegalArgumentException.class);
  }

  /** Counts whose products pass 2^63. */
  @Test
  void manyExamples() {
    ClassificationMetrics metrics = new ClassificationMetrics(2);
    for (int i = 0; i < 3_000_000; i++) {
      metrics.add(i & 1, i % 3 == 0 ? 0 : i & 1);
    }
    // 1,500,000 right zeros, 1,000,000 right ones, 500,000 ones taken for zeros: 1 / sqrt(2).
    assertThat(metrics.mcc()).isCloseTo(Math.sqrt(0.5), within(1e-12));
  }

  @Test
  void perplexity() {
    assertThat(Perplexity.of(0)).isEqualTo(1);
    assertThat(Perplexity.of(Math.log(50257))).isCloseTo(50257, within(1e-8));
    assertThat(Perplexity.of(1000)).isInfinite();
    assertThat(Perplexity.of(Double.NaN)).isNaN();
  }
}
