package dev.graft.data;

import dev.graft.data.Question.Answer;
import dev.graft.io.InvalidInputException;
import dev.graft.text.TokenSpans;
import dev.graft.text.Tokenizer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Cuts contexts into windows behind their questions, as BERT's authors did for SQuAD (Devlin et
 * al., arXiv:1810.04805, section 4.2): each window repeats the end of the one before, so that every
 * answer that is short enough lies whole in one of them. In a window that does not hold the whole
 * answer the first token, [CLS], is the answer.
 */
public final class AnswerWindows {
  /** Longest question in tokens, as in BERT's own code; longer ones lose their end. */
  private static final int QUESTION = 64;

  /** Part of a window that repeats the one before. */
  private static final int OVERLAP = 3;

  private final Tokenizer tokenizer;
  private final SequenceFrame frame;
  private final int maxLength;
  private long truncated;

  /**
   * For a tokenizer and a length.
   *
   * @param maxLength longest window in tokens, question and special ones included
   */
  public AnswerWindows(Tokenizer tokenizer, int maxLength) {
    this.tokenizer = tokenizer;
    this.frame = SequenceFrame.pair(tokenizer);
    this.maxLength = maxLength;
    if (maxLength < frame.added() + 2) {
      throw new InvalidInputException(
          "a length of " + maxLength + " has no room for a question and a text");
    }
  }

  /** Questions that were longer than there is room for, and lost their end. */
  public long truncated() {
    return truncated;
  }

  /** The windows of some questions; where answers are known with the first of them. */
  public List<AnswerWindow> of(List<Question> questions) {
    List<AnswerWindow> windows = new ArrayList<>();
    for (int q = 0; q < questions.size(); q++) {
      add(questions.get(q), q, windows);
    }
    return windows;
  }

  private void add(Question question, int index, List<AnswerWindow> to) {
    int[] asked = tokenizer.spans(question.question().strip()).ids();
    int most = Math.min(QUESTION, (maxLength - frame.added()) / 2);
    if (asked.length > most) {
      truncated++;
      asked = Arrays.copyOf(asked, most);
    }
    TokenSpans context = tokenizer.spans(question.context());
    int room = maxLength - frame.added() - asked.length;
    int step = Math.max(1, room - room / OVERLAP);
    int[] answer = answer(question, context);
    for (int from = 0; ; from += step) {
      int end = Math.min(context.length(), from + room);
      to.add(window(asked, context, from, end, answer, index));
      if (end == context.length()) {
        return;
      }
    }
  }

  /** First and last token of the first answer; null if it is not known, empty if there is none. */
  private static int[] answer(Question question, TokenSpans context) {
    if (question.answers() == null || question.answers().isEmpty()) {
      return question.answers() == null ? null : new int[0];
    }
    Answer answer = question.answers().get(0);
    int first = -1;
    int last = -1;
    for (int t = 0; t < context.length(); t++) {
      boolean inside = context.ends()[t] > answer.begin() && context.begins()[t] < answer.end();
      if (inside && context.ends()[t] > context.begins()[t]) {
        first = first < 0 ? t : first;
        last = t;
      }
    }
    return first < 0 ? new int[0] : new int[] {first, last};
  }

  private AnswerWindow window(
      int[] asked, TokenSpans context, int from, int end, int[] answer, int question) {
    SequenceFrame.Framed framed = frame.frame(asked, Arrays.copyOfRange(context.ids(), from, end));
    int contextAt = frame.secondAt(asked.length);
    int start = answer == null ? Batch.IGNORED : 0;
    int stop = start;
    if (answer != null && answer.length > 0 && answer[0] >= from && answer[1] < end) {
      start = contextAt + answer[0] - from;
      stop = contextAt + answer[1] - from;
    }
    return new AnswerWindow(
        framed.ids(),
        framed.typeIds(),
        start,
        stop,
        question,
        contextAt,
        Arrays.copyOfRange(context.begins(), from, end),
        Arrays.copyOfRange(context.ends(), from, end));
  }
}
