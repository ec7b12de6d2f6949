package dev.graft.verify;

import java.util.Arrays;

/** Wall-clock medians. */
public final class Clock {
  private Clock() {}

  /** Median seconds of {@code runs} runs after two unclocked ones. */
  public static double median(int runs, Runnable task) {
    task.run();
    task.run();
    double[] seconds = new double[runs];
    for (int i = 0; i < runs; i++) {
      seconds[i] = seconds(task);
    }
    return median(seconds);
  }

  public static double seconds(Runnable task) {
    long start = System.nanoTime();
    task.run();
    return (System.nanoTime() - start) * 1e-9;
  }

  public static double median(double[] values) {
    double[] sorted = values.clone();
    Arrays.sort(sorted);
    int middle = sorted.length / 2;
    return sorted.length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  }
}
