package dev.graft.metrics;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * ROUGE-1, ROUGE-2 and ROUGE-L (Lin 2004) of a text against a reference: overlap of words, of word
 * pairs, and longest common subsequence.
 *
 * <p>Text is lower-cased and cut into runs of letters and digits; each Chinese character, hiragana
 * and katakana is a word of its own. Words are not stemmed. On ASCII text this equals the package
 * {@code rouge-score} with {@code use_stemmer=False}.
 */
public final class Rouge {
  /**
   * One comparison.
   *
   * @param precision share of the text's units that the reference has
   * @param recall share of the reference's units that the text has
   */
  public record Score(double precision, double recall) {
    /** Harmonic mean of precision and recall; 0 if both are. */
    public double f1() {
      double sum = precision + recall;
      return sum > 0 ? 2 * precision * recall / sum : 0;
    }
  }

  private static final List<String> NAMES = List.of("rouge1", "rouge2", "rougeL");

  private final double[] sums = new double[NAMES.size()];
  private long count;

  /** Words of a text as the scores count them. */
  public static List<String> words(String text) {
    List<String> words = new ArrayList<>();
    StringBuilder word = new StringBuilder();
    text.toLowerCase(Locale.ROOT)
        .codePoints()
        .forEach(
            c -> {
              boolean alone = TextUnits.alone(c);
              if (alone || !TextUnits.word(c)) {
                take(word, words);
              }
              if (alone) {
                words.add(Character.toString(c));
              } else if (TextUnits.word(c)) {
                word.appendCodePoint(c);
              }
            });
    take(word, words);
    return words;
  }

  private static void take(StringBuilder word, List<String> words) {
    if (word.length() > 0) {
      words.add(word.toString());
      word.setLength(0);
    }
  }

  /** Overlap of runs of {@code n} words, each counted as often as both texts have it. */
  public static Score ofWords(int n, String text, String reference) {
    return ofWords(n, words(text), words(reference));
  }

  private static Score ofWords(int n, List<String> text, List<String> reference) {
    Map<List<String>, Integer> left = new HashMap<>();
    for (int i = 0; i + n <= reference.size(); i++) {
      left.merge(reference.subList(i, i + n), 1, Integer::sum);
    }
    int common = 0;
    for (int i = 0; i + n <= text.size(); i++) {
      List<String> run = text.subList(i, i + n);
      Integer times = left.get(run);
      if (times != null && times > 0) {
        left.put(run, times - 1);
        common++;
      }
    }
    return score(common, text.size() - n + 1, reference.size() - n + 1);
  }

  /** Longest common subsequence of the whole texts, lines not told apart. */
  public static Score ofSubsequence(String text, String reference) {
    return ofSubsequence(words(text), words(reference));
  }

  private static Score ofSubsequence(List<String> text, List<String> reference) {
    int[] row = new int[reference.size() + 1];
    for (String word : text) {
      int diagonal = 0;
      for (int i = 0; i < reference.size(); i++) {
        int above = row[i + 1];
        row[i + 1] = word.equals(reference.get(i)) ? diagonal + 1 : Math.max(above, row[i]);
        diagonal = above;
      }
    }
    return score(row[reference.size()], text.size(), reference.size());
  }

  private static Score score(int common, int text, int reference) {
    return new Score((double) common / Math.max(1, text), (double) common / Math.max(1, reference));
  }

  /**
   * Counts one text. Of several references the best counts, for each score apart.
   *
   * @throws IllegalArgumentException without a reference
   */
  public void add(String text, List<String> references) {
    if (references.isEmpty()) {
      throw new IllegalArgumentException("expected at least one reference");
    }
    List<String> words = words(text);
    double[] best = new double[sums.length];
    for (String reference : references) {
      List<String> expected = words(reference);
      best[0] = Math.max(best[0], ofWords(1, words, expected).f1());
      best[1] = Math.max(best[1], ofWords(2, words, expected).f1());
      best[2] = Math.max(best[2], ofSubsequence(words, expected).f1());
    }
    for (int i = 0; i < sums.length; i++) {
      sums[i] += best[i];
    }
    count++;
  }

  public long count() {
    return count;
  }

  /** Mean F1 of each score by name: {@code rouge1}, {@code rouge2}, {@code rougeL}; NaN if none. */
  public Map<String, Double> toMap() {
    Map<String, Double> metrics = new LinkedHashMap<>();
    for (int i = 0; i < sums.length; i++) {
      metrics.put(NAMES.get(i), sums[i] / count);
    }
    return metrics;
  }
}
