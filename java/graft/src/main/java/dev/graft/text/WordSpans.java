package dev.graft.text;

import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The words of a running text as tagged sets have them: letters and digits in one, with what joins
 * them inside ({@code don't}, {@code 3.5}), punctuation and Chinese characters each on its own.
 *
 * @param begins index of each word's first character
 * @param ends index behind its last
 */
public record WordSpans(int[] begins, int[] ends) {
  private static final Pattern WORD =
      Pattern.compile(
          "\\p{IsHan}"
              + "|[\\p{L}\\p{M}\\p{N}&&[^\\p{IsHan}]]+(?:['’.,_-][\\p{L}\\p{M}\\p{N}&&[^\\p{IsHan}]]+)*"
              + "|\\S");

  /** The words of a text. */
  public static WordSpans of(String text) {
    List<int[]> found = new ArrayList<>();
    Matcher matcher = WORD.matcher(text);
    while (matcher.find()) {
      found.add(new int[] {matcher.start(), matcher.end()});
    }
    return new WordSpans(
        found.stream().mapToInt(span -> span[0]).toArray(),
        found.stream().mapToInt(span -> span[1]).toArray());
  }

  public int length() {
    return begins.length;
  }

  /** The words themselves. */
  public List<String> words(String text) {
    List<String> words = new ArrayList<>();
    for (int i = 0; i < begins.length; i++) {
      words.add(text.substring(begins[i], ends[i]));
    }
    return words;
  }
}
