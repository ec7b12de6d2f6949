package dev.graft.train;

/**
 * Learning rate over a run of N steps. Steps {@code 0 … W − 1} are a linear warm-up, peak·(s +
 * 1)/W, so that no step is spent at rate 0 and step W − 1 is the first at the peak. From there,
 * with progress p = (s − W)/(N − W) in [0, 1):
 *
 * <ul>
 *   <li>{@link #COSINE}: min + (peak − min)·(1 + cos πp)/2 (Loshchilov and Hutter, "SGDR", ICLR
 *       2017, equation 5, one cycle)
 *   <li>{@link #LINEAR}: peak + (min − peak)·p
 *   <li>{@link #CONSTANT}: peak
 * </ul>
 */
public enum Schedule {
  COSINE,
  LINEAR,
  CONSTANT;

  /**
   * The rate of one step.
   *
   * @param step the step, 0 ≤ step
   * @param warmup W, steps of warm-up
   * @param total N, steps of the run; behind them the rate stays at the schedule's end
   */
  public double rate(long step, long warmup, long total, double peak, double min) {
    if (step < warmup) {
      return peak * (step + 1) / warmup;
    }
    if (this == CONSTANT) {
      return peak;
    }
    double progress =
        total <= warmup ? 1 : Math.min(1, (double) (step - warmup) / (total - warmup));
    // StrictMath: the same rate on every machine and in compiled and interpreted code.
    return this == COSINE
        ? min + (peak - min) * 0.5 * (1 + StrictMath.cos(Math.PI * progress))
        : peak + (min - peak) * progress;
  }
}
