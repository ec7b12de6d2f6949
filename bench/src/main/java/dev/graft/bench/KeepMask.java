package dev.graft.bench;

import dev.graft.runtime.Philox;

/**
 * The dropout factors graft.h documents, written out: 256 / (256 − k) where an element is kept,
 * else 0; so that libtorch can be given the very mask a kernel draws.
 */
final class KeepMask {
  private KeepMask() {}

  /** Hidden dropout, [rows, channels]; {@code key} is the op's {@link Philox#streamKey}. */
  static double[] hidden(long key, int k, long rows, long channels) {
    double[] factors = new double[Math.toIntExact(rows * channels)];
    int[] words = new int[4];
    int at = 0;
    for (int r = 0; r < rows; r++) {
      for (int c = 0; c < channels; c++) {
        Philox.words(key, c / 16, r, 0, 0, words);
        factors[at++] = factor(words, c, k);
      }
    }
    return factors;
  }

  /**
   * Attention dropout of one sequence, [heads, queries, keys]; queries are counted from {@code
   * firstQuery}.
   */
  static double[] attention(
      long key, int k, int sequence, int heads, int firstQuery, int queries, int keys) {
    double[] factors = new double[heads * queries * keys];
    int[] words = new int[4];
    int at = 0;
    for (int h = 0; h < heads; h++) {
      for (int i = 0; i < queries; i++) {
        for (int j = 0; j < keys; j++) {
          Philox.words(key, j / 16, firstQuery + i, h, sequence, words);
          factors[at++] = factor(words, j, k);
        }
      }
    }
    return factors;
  }

  private static double factor(int[] words, int element, int k) {
    int drawn = (words[element % 16 / 4] >>> (8 * (element % 4))) & 0xFF;
    return drawn < k ? 0 : 256.0 / (256 - k);
  }
}
