package dev.graft.data;

import dev.graft.io.InvalidInputException;
import dev.graft.text.Encoding;
import dev.graft.text.Tokenizer;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;

/**
 * Texts in tokens, cut where a model takes no more. How many were cut is part of the result, for a
 * cut text is another text.
 *
 * @param encodings in the order of the texts
 * @param cut which were cut
 * @param longest tokens of the longest before it was cut
 */
public record EncodedTexts(List<Encoding> encodings, BitSet cut, int longest) {

  /**
   * Encodes with the tokenizer's special tokens.
   *
   * @param maxLength longest text in tokens, special tokens included; longer ones lose the end of
   *     their longer part
   */
  public static EncodedTexts of(Tokenizer tokenizer, List<LabelledExample> texts, int maxLength) {
    Builder builder = new Builder(tokenizer, maxLength);
    texts.forEach(builder::add);
    return builder.build();
  }

  /** Takes one text after the other, so that they need not be in memory together. */
  public static final class Builder {
    private final Tokenizer tokenizer;
    private final int maxLength;
    private final List<Encoding> encodings = new ArrayList<>();
    private final BitSet cut = new BitSet();
    private int longest;

    /** See {@link EncodedTexts#of}. */
    public Builder(Tokenizer tokenizer, int maxLength) {
      this.tokenizer = tokenizer;
      this.maxLength = maxLength;
    }

    /** Encodes a text; its label is not looked at. */
    public void add(LabelledExample text) {
      Encoding whole = tokenizer.encode(text.text(), text.secondText(), true);
      longest = Math.max(longest, whole.length());
      cut.set(encodings.size(), whole.length() > maxLength);
      try {
        encodings.add(whole.truncate(maxLength));
      } catch (IllegalArgumentException e) {
        throw new InvalidInputException("texts cannot be cut to the model: " + e.getMessage(), e);
      }
    }

    public EncodedTexts build() {
      return new EncodedTexts(List.copyOf(encodings), cut, longest);
    }
  }

  /** How many were cut. */
  public int truncated() {
    return cut.cardinality();
  }

  /** Whether a text was cut. */
  public boolean isTruncated(int text) {
    return cut.get(text);
  }
}
