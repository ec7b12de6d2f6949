package dev.graft.data;

import java.util.Arrays;

/**
 * The documents of a corpus run, cut into pieces of at most {@code longest} tokens, of which each
 * begins with the last {@code overlap} of the one before.
 */
final class Pieces {
  private long[] starts = new long[1024];
  private int[] lengths = new int[1024];
  private int count;

  /** Pieces shorter than {@code shortest} are left out. */
  Pieces(TokenRange range, int longest, int overlap, int shortest) {
    TokenShards shards = range.shards();
    for (long d = 0; d < shards.documents(); d++) {
      long from = Math.max(range.begin(), shards.documentStart(d));
      long to = Math.min(range.end(), shards.documentStart(d + 1));
      for (long at = from; at + overlap < to; at += longest - overlap) {
        int length = (int) Math.min(longest, to - at);
        if (length >= shortest) {
          add(at - range.begin(), length);
        }
      }
    }
  }

  private void add(long start, int length) {
    if (count == lengths.length) {
      starts = Arrays.copyOf(starts, 2 * count);
      lengths = Arrays.copyOf(lengths, 2 * count);
    }
    starts[count] = start;
    lengths[count++] = length;
  }

  int count() {
    return count;
  }

  /** First token, counted from the run's first. */
  long start(long piece) {
    return starts[(int) piece];
  }

  int length(long piece) {
    return lengths[(int) piece];
  }
}
