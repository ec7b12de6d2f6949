package dev.graft.train;

/** Times a run: seconds in all, tokens a second since the last report, seconds left. */
final class RunClock {
  /** Part of the newest measurement in the running mean of a step's time. */
  private static final double NEWEST = 0.3;

  private double secondsBefore;
  private long start;
  private long windowStart;
  private long windowPaused;
  private long pausedAt;
  private long windowTokens;
  private long windowStep;
  private double tokensPerSecond;
  private double secondsAStep = Double.NaN;

  void start(Progress progress) {
    secondsBefore = progress.seconds;
    start = System.nanoTime();
    open(progress, start);
  }

  private void open(Progress progress, long now) {
    windowStart = now;
    windowPaused = 0;
    windowTokens = progress.tokens;
    windowStep = progress.step;
  }

  /** Evaluations and saves do not count as training in the rates. */
  void pause() {
    pausedAt = System.nanoTime();
  }

  void resume() {
    windowPaused += System.nanoTime() - pausedAt;
  }

  /** Writes the seconds so far into the progress. */
  void stamp(Progress progress) {
    progress.seconds = secondsBefore + (System.nanoTime() - start) * 1e-9;
  }

  /** Closes a window of steps. */
  void report(Progress progress) {
    stamp(progress);
    long now = System.nanoTime();
    double seconds = Math.max(1, now - windowStart - windowPaused) * 1e-9;
    tokensPerSecond = (progress.tokens - windowTokens) / seconds;
    if (progress.step > windowStep) {
      double newest = seconds / (progress.step - windowStep);
      secondsAStep =
          Double.isNaN(secondsAStep) ? newest : secondsAStep + NEWEST * (newest - secondsAStep);
    }
    open(progress, now);
  }

  double tokensPerSecond() {
    return tokensPerSecond;
  }

  double secondsLeft(long steps) {
    return Double.isNaN(secondsAStep) ? Double.NaN : steps * secondsAStep;
  }
}
