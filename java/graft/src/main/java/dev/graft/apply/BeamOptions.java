package dev.graft.apply;

/**
 * How beam search goes: the most probable continuations are followed side by side, and of those
 * that end the one of the best score is the answer. A score is the sum of ln p over length to the
 * power of {@code lengthPenalty}. Meanings as in Hugging Face's {@code generate}.
 *
 * @param beams texts followed, at least 2
 * @param lengthPenalty above 0 favours long texts, below 0 short ones
 * @param ending when the search is over
 */
public record BeamOptions(int beams, double lengthPenalty, Ending ending) {
  /** When the search is over: besides the length limit. */
  public enum Ending {
    /** As many texts have ended as there are beams ({@code early_stopping=True}). */
    FULL,
    /**
     * And no beam is better than the worst of them at its present length ({@code
     * early_stopping=False}).
     */
    UNLIKELY,
    /** And no beam can become better than the worst of them ({@code early_stopping="never"}). */
    IMPOSSIBLE
  }

  public BeamOptions {
    if (beams < 2 || !Double.isFinite(lengthPenalty)) {
      throw new IllegalArgumentException(
          "beams: expected at least 2 and a finite lengthPenalty, got "
              + beams
              + " and "
              + lengthPenalty);
    }
  }

  /** Length penalty 1, {@link Ending#UNLIKELY}. */
  public static BeamOptions of(int beams) {
    return new BeamOptions(beams, 1, Ending.UNLIKELY);
  }
}
