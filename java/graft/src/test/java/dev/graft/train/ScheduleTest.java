package dev.graft.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import org.junit.jupiter.api.Test;

/**
 * Oracle: the closed forms at points where they are known exactly. Tolerance: 2 ulp of the peak.
 */
class ScheduleTest {
  private static final double PEAK = 1e-3;
  private static final double MIN = 1e-4;
  private static final double TOLERANCE = 2 * Math.ulp(PEAK);

  private static double rate(Schedule schedule, long step) {
    return schedule.rate(step, 100, 2100, PEAK, MIN);
  }

  @Test
  void warmup_risesLinearlyAndReachesThePeakAtItsLastStep() {
    for (Schedule schedule : Schedule.values()) {
      assertThat(rate(schedule, 0)).isCloseTo(PEAK / 100, within(TOLERANCE));
      assertThat(rate(schedule, 49)).isCloseTo(PEAK / 2, within(TOLERANCE));
      assertThat(rate(schedule, 99)).isEqualTo(PEAK);
      assertThat(rate(schedule, 100)).isEqualTo(PEAK);
    }
  }

  @Test
  void cosine_atQuarters() {
    double amplitude = PEAK - MIN;
    assertThat(rate(Schedule.COSINE, 600))
        .isCloseTo(MIN + amplitude * (0.5 + Math.sqrt(2) / 4), within(TOLERANCE));
    assertThat(rate(Schedule.COSINE, 1100)).isCloseTo(MIN + amplitude / 2, within(TOLERANCE));
    assertThat(rate(Schedule.COSINE, 1600))
        .isCloseTo(MIN + amplitude * (0.5 - Math.sqrt(2) / 4), within(TOLERANCE));
    assertThat(rate(Schedule.COSINE, 2100)).isCloseTo(MIN, within(TOLERANCE));
    assertThat(rate(Schedule.COSINE, 5000)).isCloseTo(MIN, within(TOLERANCE));
  }

  @Test
  void linear_atQuarters() {
    for (int quarter = 0; quarter <= 4; quarter++) {
      assertThat(rate(Schedule.LINEAR, 100 + 500 * quarter))
          .isCloseTo(PEAK - (PEAK - MIN) * quarter / 4, within(TOLERANCE));
    }
  }

  @Test
  void constant_staysAtThePeak() {
    assertThat(rate(Schedule.CONSTANT, 2099)).isEqualTo(PEAK);
  }

  @Test
  void withoutWarmup_beginsAtThePeakAndOnlyWarmup_endsThere() {
    for (Schedule schedule : Schedule.values()) {
      assertThat(schedule.rate(0, 0, 10, PEAK, 0)).isEqualTo(PEAK);
      assertThat(schedule.rate(9, 10, 10, PEAK, 0)).isEqualTo(PEAK);
    }
  }

  @Test
  void decay_neverRises() {
    for (Schedule schedule : Schedule.values()) {
      for (long step = 101; step < 2100; step++) {
        assertThat(rate(schedule, step)).isLessThanOrEqualTo(rate(schedule, step - 1));
      }
    }
  }
}
