package dev.graft.data;

import java.lang.Character.UnicodeScript;
import java.util.Arrays;
import java.util.Locale;

/**
 * A text as the set of its runs of so many words, each run by a 64-bit hash. A word is a run of
 * letters and digits, in lower case; each Chinese character, hiragana and katakana is one of its
 * own. A text of fewer words is one run.
 */
final class Shingles {
  private Shingles() {}

  /** The set, sorted. Empty if the text has no word. */
  static long[] of(String text, int length) {
    long[] words = words(text);
    if (words.length == 0) {
      return words;
    }
    int size = Math.min(length, words.length);
    long[] runs = new long[words.length - size + 1];
    for (int i = 0; i < runs.length; i++) {
      long hash = size;
      for (int k = 0; k < size; k++) {
        hash = mix(hash * 0x9E3779B97F4A7C15L + words[i + k]);
      }
      runs[i] = hash;
    }
    Arrays.sort(runs);
    int unique = 0;
    for (int i = 0; i < runs.length; i++) {
      if (i == 0 || runs[i] != runs[i - 1]) {
        runs[unique++] = runs[i];
      }
    }
    return Arrays.copyOf(runs, unique);
  }

  /** Jaccard similarity of two sets: shared over all. */
  static double similarity(long[] a, long[] b) {
    int shared = 0;
    for (int i = 0, j = 0; i < a.length && j < b.length; ) {
      if (a[i] == b[j]) {
        shared++;
        i++;
        j++;
      } else if (a[i] < b[j]) {
        i++;
      } else {
        j++;
      }
    }
    int all = a.length + b.length - shared;
    return all == 0 ? 1 : (double) shared / all;
  }

  /** A bijection of 64 bits that spreads them (Stafford's variant 13 of MurmurHash3's). */
  static long mix(long z) {
    z = (z ^ (z >>> 30)) * 0xBF58476D1CE4E5B9L;
    z = (z ^ (z >>> 27)) * 0x94D049BB133111EBL;
    return z ^ (z >>> 31);
  }

  private static long[] words(String text) {
    String lower = text.toLowerCase(Locale.ROOT);
    long[] words = new long[16];
    int count = 0;
    long word = 0;
    for (int i = 0, c; i <= lower.length(); i += Character.charCount(c)) {
      c = i < lower.length() ? lower.codePointAt(i) : ' ';
      boolean alone = alone(c);
      if (!alone && part(c)) {
        word = mix(word + c);
        continue;
      }
      if (count + 2 > words.length) {
        words = Arrays.copyOf(words, 2 * count);
      }
      if (word != 0) {
        words[count++] = word;
        word = 0;
      }
      if (alone) {
        words[count++] = mix(c);
      }
    }
    return Arrays.copyOf(words, count);
  }

  private static boolean alone(int c) {
    if (c < 0x2E80) {
      return false;
    }
    UnicodeScript script = UnicodeScript.of(c);
    return script == UnicodeScript.HAN
        || script == UnicodeScript.HIRAGANA
        || script == UnicodeScript.KATAKANA;
  }

  private static boolean part(int c) {
    int type = Character.getType(c);
    return Character.isLetterOrDigit(c)
        || type == Character.NON_SPACING_MARK
        || type == Character.COMBINING_SPACING_MARK;
  }
}
