package dev.graft.runtime;

/**
 * Philox 4×32-10, the counter-based generator every random decision of Graft is drawn from (Salmon
 * et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section 3.3).
 *
 * <p>A word is a pure function of a 64-bit key and a 128-bit counter, so a position in the random
 * sequence is all the state there is: resuming is exact, and every backend draws the same words.
 * The native kernels use the same function; {@link #streamKey} is the derivation they share.
 */
public final class Philox {
  private static final long M0 = 0xD2511F53L;
  private static final long M1 = 0xCD9E8D57L;
  private static final int W0 = 0x9E3779B9;
  private static final int W1 = 0xBB67AE85;

  private final int[] block = new int[4];
  private long key;
  private long counter;
  private int used = 4;

  /** A sequential generator over the counters 0, 1, 2 … of one key. */
  public Philox(long key) {
    this.key = key;
  }

  /**
   * A sequential generator for one purpose: {@code stream} tells purposes apart, {@code index}
   * items of one purpose (a batch number, an epoch).
   */
  public Philox(long seed, int stream, long index) {
    seek(seed, stream, index);
  }

  /** Begins anew as {@link #Philox(long, int, long)} does, without an object. */
  public Philox seek(long seed, int stream, long index) {
    words(seed, (int) index, (int) (index >>> 32), stream, 0, block);
    key = joined(block);
    counter = 0;
    used = 4;
    return this;
  }

  /**
   * Fills {@code out[0..3]} with the four words at counter {@code (c0, c1, c2, c3)} under {@code
   * key}.
   */
  public static void words(long key, int c0, int c1, int c2, int c3, int[] out) {
    int k0 = (int) key;
    int k1 = (int) (key >>> 32);
    for (int round = 0; round < 10; round++) {
      long p0 = M0 * (c0 & 0xFFFFFFFFL);
      long p1 = M1 * (c2 & 0xFFFFFFFFL);
      int n0 = (int) (p1 >>> 32) ^ c1 ^ k0;
      int n2 = (int) (p0 >>> 32) ^ c3 ^ k1;
      c1 = (int) p1;
      c3 = (int) p0;
      c0 = n0;
      c2 = n2;
      k0 += W0;
      k1 += W1;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
  }

  /**
   * The key of one op's draws in one step: the first two words at counter (step low, step high,
   * stream, 0) under {@code seed}. The native kernels derive theirs alike from the step state.
   */
  public static long streamKey(long seed, long step, int stream) {
    int[] out = new int[4];
    words(seed, (int) step, (int) (step >>> 32), stream, 0, out);
    return joined(out);
  }

  private static long joined(int[] words) {
    return (words[0] & 0xFFFFFFFFL) | ((long) words[1] << 32);
  }

  /** The next 32 random bits. */
  public int nextInt() {
    if (used == 4) {
      words(key, (int) counter, (int) (counter >>> 32), 0, 0, block);
      counter++;
      used = 0;
    }
    return block[used++];
  }

  /** A uniform integer in {@code [0, bound)}, without bias (rejection). */
  public int nextInt(int bound) {
    if (bound <= 0) {
      throw new IllegalArgumentException("bound must be positive, got " + bound);
    }
    long limit = (0x1_0000_0000L / bound) * bound;
    long word;
    do {
      word = nextInt() & 0xFFFFFFFFL;
    } while (word >= limit);
    return (int) (word % bound);
  }

  /** A uniform double in {@code [0, 1)} with 53 random bits. */
  public double nextDouble() {
    long high = (nextInt() & 0xFFFFFFFFL) >>> 5;
    long low = (nextInt() & 0xFFFFFFFFL) >>> 6;
    return (high * 67108864.0 + low) / 9007199254740992.0;
  }

  /** A standard normal deviate (Box–Muller, one of the pair, so that draws stay countable). */
  public double nextGaussian() {
    double u = 1.0 - nextDouble();
    double v = nextDouble();
    return Math.sqrt(-2.0 * Math.log(u)) * Math.cos(2.0 * Math.PI * v);
  }
}
