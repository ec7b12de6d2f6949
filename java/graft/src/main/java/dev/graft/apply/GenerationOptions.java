package dev.graft.apply;

import java.util.List;

/**
 * How text is written.
 *
 * @param maxNewTokens most tokens to write
 * @param temperature 0 takes the most probable token, 1 draws as the model says
 * @param topK draws among the k most probable only; 0 for all
 * @param topP draws among the most probable that together reach this probability
 * @param repetitionPenalty above 1 makes tokens that occurred less probable
 * @param seed of the draws
 * @param stop writing ends before any of these
 */
public record GenerationOptions(
    int maxNewTokens,
    double temperature,
    int topK,
    double topP,
    double repetitionPenalty,
    long seed,
    List<String> stop) {
  public GenerationOptions {
    if (maxNewTokens < 1
        || !(temperature >= 0)
        || topK < 0
        || !(topP > 0 && topP <= 1)
        || !(repetitionPenalty > 0)) {
      throw new IllegalArgumentException(
          "generation: expected maxNewTokens >= 1, temperature >= 0, topK >= 0, 0 < topP <= 1,"
              + " repetitionPenalty > 0");
    }
    stop = List.copyOf(stop);
  }

  /** 100 tokens at temperature 1. */
  public static GenerationOptions defaults() {
    return new GenerationOptions(100, 1, 0, 1, 1, 0, List.of());
  }

  /** The most probable token each time. */
  public static GenerationOptions greedy(int maxNewTokens) {
    return new GenerationOptions(maxNewTokens, 0, 0, 1, 1, 0, List.of());
  }
}
