package dev.graft.model;

import dev.graft.data.Batch;

/**
 * The largest batch a step will see.
 *
 * @param maxTokens rows, a multiple of 128
 * @param maxSequences sequences, the tail's included
 * @param maxSeqlen longest sequence
 */
public record Limits(int maxTokens, int maxSequences, int maxSeqlen) {
  public Limits {
    if (maxTokens < 1 || maxTokens % Batch.TOKEN_BUCKET != 0) {
      throw new IllegalArgumentException(
          "maxTokens: expected a positive multiple of 128, got " + maxTokens);
    }
    if (maxSequences < 1 || maxSeqlen < 1) {
      throw new IllegalArgumentException(
          "expected at least one sequence of one token, got " + maxSequences + " of " + maxSeqlen);
    }
  }

  /** The limits of a batch's arrays. */
  public static Limits of(Batch batch) {
    return new Limits(batch.maxTokens(), batch.maxSequences(), batch.maxSeqlen());
  }
}
