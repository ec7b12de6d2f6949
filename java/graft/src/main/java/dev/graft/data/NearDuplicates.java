package dev.graft.data;

import dev.graft.io.InvalidInputException;
import java.util.Arrays;
import java.util.Random;
import java.util.function.IntConsumer;

/**
 * Finds texts that may be similar, by MinHash (Broder 1997) and banding (Leskovec, Rajaraman and
 * Ullman 2014, section 3.4): two sets of Jaccard similarity s agree in one minimum with probability
 * s, in one of b bands of r minima with 1 − (1 − sʳ)ᵇ. The longest bands are taken that find a pair
 * at the threshold with a probability of at least 0.999. What it finds has to be compared.
 *
 * <p>It depends on the texts and their order alone. It keeps 16 bytes a band and text and 8 more,
 * 408 at a threshold of 0.8, and twice that when it has just grown; beyond {@link #HEAP_SHARE} of
 * the heap it refuses.
 */
final class NearDuplicates {
  private static final int MINIMA = 128;
  private static final double FOUND = 0.999;
  private static final double HEAP_SHARE = 0.6;

  private final double threshold;
  private final int rows;
  private final int bands;
  private final long[] multipliers;
  private final long[] offsets;
  private final int[] minima;

  /** [bands][table] the newest text of a key, −1 for none. */
  private int[][] heads;

  /** [bands][texts] the text before with the same slot, −1 for none. */
  private final int[][] next;

  /** [bands][texts] the band's hash. */
  private final int[][] keys;

  private int[] sizes = new int[1024];
  private int[] seen = new int[1024];
  private int count;
  private int queries;

  NearDuplicates(double threshold) {
    this.threshold = threshold;
    rows = rows(threshold);
    bands = MINIMA / rows;
    Random random = new Random(0x67726166L);
    multipliers = random.longs(rows * bands).map(a -> a | 1).toArray();
    offsets = random.longs(rows * bands).toArray();
    minima = new int[rows * bands];
    heads = tables(1 << 11);
    next = new int[bands][1024];
    keys = new int[bands][1024];
  }

  private static int rows(double threshold) {
    int rows = 1;
    for (int r = 2; r <= 16; r++) {
      if (1 - Math.pow(1 - Math.pow(threshold, r), MINIMA / r) >= FOUND) {
        rows = r;
      }
    }
    return rows;
  }

  private int[][] tables(int size) {
    int[][] tables = new int[bands][size];
    for (int[] table : tables) {
      Arrays.fill(table, -1);
    }
    return tables;
  }

  /**
   * Hands on the texts that may be as similar as the threshold to a set that is not empty, newest
   * first, each once.
   */
  void candidates(long[] set, IntConsumer sink) {
    sign(set);
    queries++;
    for (int band = 0; band < bands; band++) {
      int key = key(band);
      int slot = slot(key, heads[band].length);
      for (int text = heads[band][slot]; text >= 0; text = next[band][text]) {
        // Sets of n and m elements share at most the smaller number of them.
        if (keys[band][text] == key
            && seen[text] != queries
            && Math.min(sizes[text], set.length) >= threshold * Math.max(sizes[text], set.length)) {
          seen[text] = queries;
          sink.accept(text);
        }
      }
    }
  }

  /** Takes up the set {@link #candidates} saw last, as the text of the next number from 0. */
  void addLast(long[] set) {
    if (count == sizes.length) {
      grow();
    }
    int text = count++;
    sizes[text] = set.length;
    for (int band = 0; band < bands; band++) {
      keys[band][text] = key(band);
      link(band, text);
    }
  }

  /** Takes up a text without words under the next number: nothing is similar to it. */
  void addEmpty() {
    if (count == sizes.length) {
      grow();
    }
    sizes[count++] = 0;
  }

  private void link(int band, int text) {
    int slot = slot(keys[band][text], heads[band].length);
    next[band][text] = heads[band][slot];
    heads[band][slot] = text;
  }

  private void grow() {
    int size = Math.multiplyExact(2, sizes.length);
    double bytes = (8.0 + 16 * bands) * size;
    double most = HEAP_SHARE * Runtime.getRuntime().maxMemory();
    if (bytes > most) {
      throw new InvalidInputException(
          String.format(
              "near duplicates among more than %,d texts need %,.0f MB of Java's heap, %,.0f MB are"
                  + " allowed: give it more (-Xmx), or look for exact duplicates only",
              count, bytes / 1e6, most / 1e6));
    }
    heads = null;
    sizes = Arrays.copyOf(sizes, size);
    seen = Arrays.copyOf(seen, size);
    heads = tables(Math.multiplyExact(2, size));
    for (int band = 0; band < bands; band++) {
      next[band] = Arrays.copyOf(next[band], size);
      keys[band] = Arrays.copyOf(keys[band], size);
      for (int text = 0; text < count; text++) {
        if (sizes[text] > 0) {
          link(band, text);
        }
      }
    }
  }

  private void sign(long[] set) {
    for (int m = 0; m < minima.length; m++) {
      long a = multipliers[m];
      long b = offsets[m];
      int least = Integer.MAX_VALUE;
      for (long element : set) {
        // The upper half of a·x + b mod 2⁶⁴, whose low bits are weak.
        least = Math.min(least, (int) ((a * element + b) >>> 33));
      }
      minima[m] = least;
    }
  }

  private int key(int band) {
    long hash = band;
    for (int r = 0; r < rows; r++) {
      hash = Shingles.mix(hash * 31 + minima[band * rows + r]);
    }
    return (int) (hash >>> 32);
  }

  private static int slot(int key, int size) {
    return key & (size - 1);
  }
}
