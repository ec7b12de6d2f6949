package dev.graft.data;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;

/**
 * Finds the answer to one question in the scores of its windows: the span with the highest sum of
 * the score of its first token as a beginning and of its last as an end. "No answer" scores what
 * [CLS] does, in the window where that is lowest (as in BERT's code for SQuAD 2.0).
 */
public final class AnswerSearch {
  /** Beginnings and ends looked at in a window, spans kept in all. */
  private static final int BEST = 20;

  /**
   * A span of the context.
   *
   * @param begin index of its first character, 0 for no answer
   * @param end index behind the last; {@code begin} for no answer
   * @param score sum of both logits
   */
  public record Span(int begin, int end, double score) {
    /** Whether it says that the context has no answer. */
    public boolean empty() {
      return begin == end;
    }
  }

  private final int longest;
  private final List<Span> spans = new ArrayList<>();
  private double none = Double.POSITIVE_INFINITY;

  /**
   * For one question.
   *
   * @param longest longest answer in tokens
   */
  public AnswerSearch(int longest) {
    this.longest = longest;
  }

  /**
   * Looks at a window.
   *
   * @param logits [tokens][2] how much an answer begins and ends with each token of a batch
   * @param first the window's first row among them
   */
  public void add(AnswerWindow window, float[][] logits, int first) {
    none = Math.min(none, (double) logits[first][0] + logits[first][1]);
    int at = first + window.contextAt();
    int length = window.begins().length;
    int[] ends = best(logits, at, length, 1);
    for (int b : best(logits, at, length, 0)) {
      for (int e : ends) {
        int begin = window.begins()[b];
        int end = window.ends()[e];
        if (e >= b && e - b < longest && end > begin) {
          spans.add(new Span(begin, end, (double) logits[at + b][0] + logits[at + e][1]));
        }
      }
    }
  }

  private static int[] best(float[][] logits, int at, int length, int column) {
    return IntStream.range(0, length)
        .boxed()
        .sorted(
            Comparator.comparingDouble((Integer t) -> -logits[at + t][column])
                .thenComparing(t -> t))
        .limit(BEST)
        .mapToInt(Integer::intValue)
        .toArray();
  }

  /**
   * The best spans, best first; never empty.
   *
   * @param allowNone whether "no answer" is one of them
   */
  public List<Span> spans(boolean allowNone) {
    List<Span> all = new ArrayList<>();
    spans.stream()
        .sorted(Comparator.comparingDouble((Span s) -> -s.score()))
        .filter(s -> all.stream().noneMatch(o -> o.begin() == s.begin() && o.end() == s.end()))
        .limit(BEST)
        .forEach(all::add);
    if (allowNone || all.isEmpty()) {
      all.add(new Span(0, 0, none));
      all.sort(Comparator.comparingDouble(s -> -s.score()));
    }
    return all;
  }
}
