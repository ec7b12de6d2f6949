package dev.graft.data;

import dev.graft.io.InvalidInputException;
import dev.graft.text.TokenSpans;
import dev.graft.text.Tokenizer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Cuts sentences into windows a model can read. The first token of a word carries its label. A
 * sentence longer than a window goes on in the next, which begins with some words of the one before
 * for context; every word counts in exactly one window.
 */
public final class TaggedWindows {
  /** Part of a window that repeats the one before. */
  private static final int CONTEXT = 4;

  private final Tokenizer tokenizer;
  private final SequenceFrame frame;
  private final int room;

  /**
   * For a tokenizer and a length.
   *
   * @param maxLength longest window in tokens, special ones included
   */
  public TaggedWindows(Tokenizer tokenizer, int maxLength) {
    this.tokenizer = tokenizer;
    this.frame = SequenceFrame.single(tokenizer);
    this.room = maxLength - frame.added();
    if (room < 1) {
      throw new InvalidInputException("a length of " + maxLength + " has no room for a word");
    }
  }

  /**
   * The windows of some sentences.
   *
   * @param labels the classes, or null to leave labels out
   * @throws InvalidInputException if a tag is not one of the classes
   */
  public List<TaggedWindow> of(List<TaggedSentence> sentences, LabelSet labels) {
    List<TaggedWindow> windows = new ArrayList<>();
    for (int s = 0; s < sentences.size(); s++) {
      add(sentences.get(s), s, labels, windows);
    }
    return windows;
  }

  private void add(TaggedSentence sentence, int index, LabelSet labels, List<TaggedWindow> to) {
    StringBuilder text = new StringBuilder();
    int[] begins = new int[sentence.words().size()];
    for (int w = 0; w < begins.length; w++) {
      text.append(w == 0 ? "" : " ");
      begins[w] = text.length();
      text.append(sentence.words().get(w));
    }
    TokenSpans spans = tokenizer.spans(text.toString());
    int[] words = firstTokens(spans, begins);
    int[] classes = null;
    if (labels != null) {
      classes = new int[begins.length];
      for (int w = 0; w < classes.length; w++) {
        classes[w] = labels.id(TaggedData.requireTags(sentence).get(w), source(sentence));
      }
    }
    int counted = 0; // tokens that earlier windows count
    do {
      int from = counted == 0 ? 0 : contextBegin(words, counted);
      int to0 = Math.min(spans.length(), from + room);
      int end = to0 == spans.length() ? to0 : wordBegin(words, counted, to0);
      to.add(window(spans, words, classes, from, counted, end, index));
      counted = end;
    } while (counted < spans.length());
  }

  private static String source(TaggedSentence sentence) {
    return sentence.source().isEmpty() ? "the tagged sentences" : sentence.source();
  }

  /** The word each token is the first of, −1 for the others. */
  private static int[] firstTokens(TokenSpans spans, int[] begins) {
    int[] words = new int[spans.length()];
    int last = -1;
    for (int t = 0; t < words.length; t++) {
      // A token may begin with the space before its word.
      int at = Arrays.binarySearch(begins, Math.max(spans.begins()[t], spans.ends()[t] - 1));
      int word = at >= 0 ? at : -at - 2;
      words[t] = word > last ? word : -1;
      last = Math.max(last, word);
    }
    return words;
  }

  /** A window may begin inside a word only if the word is longer than the context allows. */
  private int contextBegin(int[] words, int counted) {
    int earliest = Math.max(0, counted - room / CONTEXT);
    for (int t = earliest; t < counted; t++) {
      if (words[t] >= 0) {
        return t;
      }
    }
    return counted;
  }

  /** The last beginning of a word in (from, to], or {@code to} inside a word without end. */
  private static int wordBegin(int[] words, int from, int to) {
    for (int t = to; t > from; t--) {
      if (words[t] >= 0) {
        return t;
      }
    }
    return to;
  }

  private TaggedWindow window(
      TokenSpans spans, int[] words, int[] classes, int from, int counted, int end, int sentence) {
    SequenceFrame.Framed framed = frame.frame(Arrays.copyOfRange(spans.ids(), from, end));
    int[] labels = new int[framed.ids().length];
    int[] own = new int[labels.length];
    Arrays.fill(labels, Batch.IGNORED);
    Arrays.fill(own, -1);
    for (int t = counted; t < end; t++) {
      if (words[t] >= 0) {
        int at = frame.firstAt() + t - from;
        own[at] = words[t];
        labels[at] = classes == null ? Batch.IGNORED : classes[words[t]];
      }
    }
    return new TaggedWindow(framed.ids(), framed.typeIds(), labels, own, sentence);
  }
}
