package dev.graft.bench;

import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.graft.bench.LibtorchRule.Measure;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

/** The comparison itself must be able to fail. */
class LibtorchRuleTest {
  private static final double[] EXACT = {1, 2, 3};
  private static final double[] NEAR = {1.0000001, 2, 3};

  private static void judge(double[] own, int precision) {
    LibtorchRule rule = new LibtorchRule(Measure.LARGEST);
    rule.add("x", own, NEAR, EXACT, precision);
    rule.check("case", result -> false);
  }

  @Test
  void onePercentOff_isRefused() {
    assertThatThrownBy(() -> judge(new double[] {1.01, 2, 3}, LibtorchRule.FP32))
        .isInstanceOf(AssertionError.class)
        .hasMessageContaining("case x");
  }

  @Test
  void twoUlpsBeyondTwiceLibtorch_areAllowedAndNoMore() {
    // The largest value is 3: an ulp is 2^-22 in fp32 and 2^-6 in bf16.
    double allowed = 2e-7 + 2 * Math.scalb(1.0, -22);
    assertThatCode(() -> judge(new double[] {1 + 0.99 * allowed, 2, 3}, LibtorchRule.FP32))
        .doesNotThrowAnyException();
    assertThatThrownBy(() -> judge(new double[] {1 + 1.01 * allowed, 2, 3}, LibtorchRule.FP32))
        .isInstanceOf(AssertionError.class);
    assertThatCode(() -> judge(new double[] {1 + Math.scalb(1.0, -5), 2, 3}, LibtorchRule.BF16))
        .doesNotThrowAnyException();
  }

  @Test
  void nan_isRefusedOnEitherSide() {
    assertThatThrownBy(() -> judge(new double[] {Double.NaN, 2, 3}, LibtorchRule.FP32))
        .isInstanceOf(AssertionError.class);
    LibtorchRule rule = new LibtorchRule(Measure.LARGEST);
    assertThatThrownBy(
            () -> rule.add("x", EXACT, new double[] {Double.NaN, 2, 3}, EXACT, LibtorchRule.FP32))
        .isInstanceOf(AssertionError.class);
  }

  @Test
  void gradientThatIsZeroInExactArithmetic_isJudgedAgainstTheLargest() {
    LibtorchRule rule = new LibtorchRule(Measure.LARGEST);
    rule.add("d large", EXACT, EXACT, EXACT, LibtorchRule.FP32);
    double[] zero = {0, 0, 0};
    rule.add("d zero", new double[] {1e-7, 0, 0}, zero, zero, LibtorchRule.FP32);
    assertThatCode(() -> rule.check("case", result -> true)).doesNotThrowAnyException();
    assertThatThrownBy(() -> rule.check("case", result -> result.endsWith("large")))
        .isInstanceOf(AssertionError.class);
  }

  /**
   * Of 10,000 elements libtorch is off by 1e-3 in each; ours is off by so much in the first few.
   */
  private static void judgeRms(double error, int elements) {
    double[] exact = new double[10_000];
    Arrays.fill(exact, 1);
    double[] peer = new double[exact.length];
    Arrays.fill(peer, 1.001);
    double[] own = exact.clone();
    Arrays.fill(own, 0, elements, 1 + error);
    LibtorchRule rule = new LibtorchRule(Measure.RMS);
    rule.add("x", own, peer, exact, LibtorchRule.FP32);
    rule.check("case", result -> false);
  }

  @Test
  void rms_allowsTwiceLibtorchsAndNoMore() {
    assertThatCode(() -> judgeRms(1.99e-3, 10_000)).doesNotThrowAnyException();
    assertThatThrownBy(() -> judgeRms(2.01e-3, 10_000)).hasMessageContaining("RMS");
    assertThatCode(() -> judgeRms(3.9e-3, 2_000)).doesNotThrowAnyException();
  }

  @Test
  void rms_seesOneWrongElementOfMany() {
    assertThatThrownBy(() -> judgeRms(4.1e-3, 1)).hasMessageContaining("largest");
  }
}
