package dev.graft.data;

import dev.graft.runtime.Philox;

/**
 * A random permutation of 0 … n − 1 that takes no memory: a four-round Feistel network over the
 * next power of four, walked until it lands inside (Black &amp; Rogaway, CT-RSA 2002,
 * cycle-walking).
 */
final class Permutation {
  private static final int STREAM = 0x5045;
  private final long size;
  private final long key;
  private final int halfBits;
  private final int[] words = new int[4];

  Permutation(long size, long seed, long epoch) {
    this.size = size;
    this.key = Philox.streamKey(seed, epoch, STREAM);
    int bits = 64 - Long.numberOfLeadingZeros(Math.max(1, size - 1));
    this.halfBits = Math.max(1, (bits + 1) / 2);
  }

  /** Where {@code index} goes. */
  long apply(long index) {
    long at = index;
    do {
      at = feistel(at);
    } while (at >= size);
    return at;
  }

  private long feistel(long value) {
    long mask = (1L << halfBits) - 1;
    long left = value >>> halfBits;
    long right = value & mask;
    for (int round = 0; round < 4; round++) {
      Philox.words(key, (int) right, (int) (right >>> 32), round, 0, words);
      long mixed = left ^ (((words[0] & 0xFFFFFFFFL) | ((long) words[1] << 32)) & mask);
      left = right;
      right = mixed;
    }
    return (left << halfBits) | right;
  }
}
