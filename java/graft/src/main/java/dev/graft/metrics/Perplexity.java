package dev.graft.metrics;

/** Perplexity of a mean loss in natural logarithms. */
public final class Perplexity {
  private Perplexity() {}

  /** e to the mean loss. */
  public static double of(double meanLoss) {
    return Math.exp(meanLoss);
  }
}
