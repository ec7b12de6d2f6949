package dev.graft.text;

import java.util.Arrays;

/**
 * A text in tokens, whole: nothing is truncated or padded.
 *
 * @param ids token ids
 * @param typeIds 0 for the first text, 1 for the second
 * @param specialTokensMask 1 for tokens the tokenizer added
 * @param wordIds index of the word a token came from, −1 for added tokens
 */
public record Encoding(int[] ids, int[] typeIds, int[] specialTokensMask, int[] wordIds) {
  public int length() {
    return ids.length;
  }

  /**
   * Cut to at most {@code maxLength} tokens: text tokens go from the end of the longer part, of the
   * second where both are as long (as in BERT's own code); added tokens stay.
   *
   * @throws IllegalArgumentException if the added tokens alone are longer
   */
  public Encoding truncate(int maxLength) {
    int surplus = length() - maxLength;
    if (surplus <= 0) {
      return this;
    }
    boolean[] keep = new boolean[length()];
    Arrays.fill(keep, true);
    int[] left = new int[2];
    int[] last = {-1, -1};
    for (int i = 0; i < length(); i++) {
      if (specialTokensMask[i] == 0) {
        int part = typeIds[i] == 0 ? 0 : 1;
        left[part]++;
        last[part] = i;
      }
    }
    if (left[0] + left[1] < surplus) {
      throw new IllegalArgumentException(
          "a length of " + maxLength + " has no room for the special tokens");
    }
    while (surplus-- > 0) {
      int part = left[0] > left[1] ? 0 : 1;
      keep[last[part]] = false;
      left[part]--;
      do {
        last[part]--;
      } while (last[part] >= 0
          && (specialTokensMask[last[part]] != 0 || (typeIds[last[part]] == 0 ? 0 : 1) != part));
    }
    return new Encoding(
        pick(ids, keep, maxLength),
        pick(typeIds, keep, maxLength),
        pick(specialTokensMask, keep, maxLength),
        pick(wordIds, keep, maxLength));
  }

  private static int[] pick(int[] from, boolean[] keep, int length) {
    int[] to = new int[length];
    int at = 0;
    for (int i = 0; i < from.length; i++) {
      if (keep[i]) {
        to[at++] = from[i];
      }
    }
    return to;
  }
}
