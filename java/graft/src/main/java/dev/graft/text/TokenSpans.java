package dev.graft.text;

/**
 * The tokens of a text without special ones, and the characters each stands for.
 *
 * @param ids token ids
 * @param begins index of a token's first character in the text
 * @param ends index behind its last one
 */
public record TokenSpans(int[] ids, int[] begins, int[] ends) {
  public int length() {
    return ids.length;
  }
}
