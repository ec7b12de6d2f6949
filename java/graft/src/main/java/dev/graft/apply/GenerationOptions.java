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
 * @param beams searches for the most probable text instead of drawing; null: draws. The temperature
 *     then is 0 and nothing is left out by topK and topP
 */
public record GenerationOptions(
    int maxNewTokens,
    double temperature,
    int topK,
    double topP,
    double repetitionPenalty,
    long seed,
    List<String> stop,
    BeamOptions beams) {
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
    if (beams != null && (temperature != 0 || topK != 0 || topP != 1)) {
      throw new IllegalArgumentException(
          "generation: beams search, they do not draw: expected temperature 0, topK 0, topP 1");
    }
    stop = List.copyOf(stop);
  }

  /** Without beams. */
  public GenerationOptions(
      int maxNewTokens,
      double temperature,
      int topK,
      double topP,
      double repetitionPenalty,
      long seed,
      List<String> stop) {
    this(maxNewTokens, temperature, topK, topP, repetitionPenalty, seed, stop, null);
  }

  /** 100 tokens at temperature 1. */
  public static GenerationOptions defaults() {
    return new GenerationOptions(100, 1, 0, 1, 1, 0, List.of());
  }

  /** The most probable token each time. */
  public static GenerationOptions greedy(int maxNewTokens) {
    return new GenerationOptions(maxNewTokens, 0, 0, 1, 1, 0, List.of());
  }

  /** The most probable text by beam search. */
  public static GenerationOptions beams(int maxNewTokens, int beams) {
    return greedy(maxNewTokens).withBeams(BeamOptions.of(beams));
  }

  /** Searches with beams, or, for null, draws. */
  public GenerationOptions withBeams(BeamOptions value) {
    return new GenerationOptions(
        maxNewTokens, temperature, topK, topP, repetitionPenalty, seed, stop, value);
  }

  public GenerationOptions withStop(List<String> value) {
    return new GenerationOptions(
        maxNewTokens, temperature, topK, topP, repetitionPenalty, seed, value, beams);
  }

  public GenerationOptions withMaxNewTokens(int value) {
    return new GenerationOptions(
        value, temperature, topK, topP, repetitionPenalty, seed, stop, beams);
  }
}
