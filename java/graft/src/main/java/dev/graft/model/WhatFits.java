package dev.graft.model;

import dev.graft.data.Batch;
import java.util.Locale;
import java.util.StringJoiner;

/** The largest batches that would fit into the memory there is, by recording them. */
final class WhatFits {
  private WhatFits() {}

  /** Bytes of activations a step over so many tokens needs. */
  interface Need {
    long bytes(int tokens, Recompute level);
  }

  /**
   * One sentence: at each level the most tokens of a batch, at most those that were asked for.
   *
   * @param tokens of the bucket that does not fit
   * @param room bytes there are for activations
   * @param levels whether the step has a backward pass that could compute more again
   */
  static String sentence(int tokens, int maxSeqlen, long room, boolean levels, Need need) {
    StringJoiner found = new StringJoiner(", ", "Would fit: ", "");
    Recompute[] all = levels ? Recompute.values() : new Recompute[] {Recompute.NONE};
    for (Recompute level : all) {
      String name = levels ? "recompute " + level.name().toLowerCase(Locale.ROOT) + " " : "";
      found.add(name + amount(mostTokens(tokens, room, level, need), maxSeqlen));
    }
    return found
        + (levels
            ? "; a smaller batch with as many times the accumulation makes the same steps"
            : "");
  }

  private static String amount(int tokens, int maxSeqlen) {
    if (tokens == 0) {
      return "no batch";
    }
    int sequences = tokens / maxSeqlen;
    String whole =
        sequences == 0
            ? "less than a sequence of " + maxSeqlen
            : sequences + (sequences == 1 ? " sequence of " : " sequences of ") + maxSeqlen;
    return String.format(Locale.ROOT, "%,d tokens a batch (%s)", tokens, whole);
  }

  /** Bytes grow with the tokens, so halving finds the last bucket that fits; 0 if none does. */
  private static int mostTokens(int tokens, long room, Recompute level, Need need) {
    int fits = 0;
    int most = tokens / Batch.TOKEN_BUCKET;
    while (fits < most) {
      int middle = (fits + most + 1) >>> 1;
      if (need.bytes(middle * Batch.TOKEN_BUCKET, level) <= room) {
        fits = middle;
      } else {
        most = middle - 1;
      }
    }
    return fits * Batch.TOKEN_BUCKET;
  }
}
