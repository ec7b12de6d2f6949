package dev.graft.data;

import dev.graft.io.InvalidInputException;
import dev.graft.text.Encoding;
import dev.graft.text.Tokenizer;
import java.util.Arrays;

/**
 * What a tokenizer puts around one text, or around and between two, so that windows of token ids
 * become what a model reads: [CLS] question [SEP] window [SEP] for BERT.
 */
final class SequenceFrame {
  private final int[] before;
  private final int[] between;
  private final int[] after;
  private final int[] typesBefore;
  private final int[] typesBetween;
  private final int[] typesAfter;
  private final int firstType;
  private final int secondType;

  /** A window in its frame. */
  record Framed(int[] ids, int[] typeIds) {}

  private SequenceFrame(Encoding probe, boolean pair) {
    int[] special = probe.specialTokensMask();
    int first = next(special, 0, 0);
    int firstEnd = next(special, first, 1);
    int second = pair ? next(special, firstEnd, 0) : firstEnd;
    int end = pair ? next(special, second, 1) : firstEnd;
    if (first == firstEnd || pair && second == end) {
      throw new InvalidInputException("the tokenizer has no token for the letter a");
    }
    before = Arrays.copyOfRange(probe.ids(), 0, first);
    typesBefore = Arrays.copyOfRange(probe.typeIds(), 0, first);
    between = Arrays.copyOfRange(probe.ids(), firstEnd, second);
    typesBetween = Arrays.copyOfRange(probe.typeIds(), firstEnd, second);
    after = Arrays.copyOfRange(probe.ids(), end, probe.length());
    typesAfter = Arrays.copyOfRange(probe.typeIds(), end, probe.length());
    firstType = probe.typeIds()[first];
    secondType = pair ? probe.typeIds()[second] : firstType;
  }

  private static int next(int[] mask, int from, int value) {
    int at = from;
    while (at < mask.length && mask[at] != value) {
      at++;
    }
    return at;
  }

  /** Around one text. */
  static SequenceFrame single(Tokenizer tokenizer) {
    return new SequenceFrame(tokenizer.encode("a", true), false);
  }

  /** Around two texts. */
  static SequenceFrame pair(Tokenizer tokenizer) {
    return new SequenceFrame(tokenizer.encode("a", "a", true), true);
  }

  /** Special tokens of a sequence. */
  int added() {
    return before.length + between.length + after.length;
  }

  /** Where the first text begins in a sequence. */
  int firstAt() {
    return before.length;
  }

  /** Where the second text begins behind a first one of so many tokens. */
  int secondAt(int firstLength) {
    return before.length + firstLength + between.length;
  }

  /** A sequence of one text. */
  Framed frame(int[] text) {
    return frame(text, new int[0]);
  }

  /** A sequence of two texts. */
  Framed frame(int[] first, int[] second) {
    int[][] parts = {before, first, between, second, after};
    int[][] types = {
      typesBefore,
      filled(first.length, firstType),
      typesBetween,
      filled(second.length, secondType),
      typesAfter
    };
    return new Framed(join(parts), join(types));
  }

  private static int[] filled(int length, int value) {
    int[] out = new int[length];
    Arrays.fill(out, value);
    return out;
  }

  private static int[] join(int[][] parts) {
    return Arrays.stream(parts).flatMapToInt(Arrays::stream).toArray();
  }
}
