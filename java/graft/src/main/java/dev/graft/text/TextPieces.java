package dev.graft.text;

import java.util.function.Consumer;

/**
 * Cuts a text that arrives in parts into pieces of about a million characters, each cut where no
 * token of byte-level BPE, WordPiece or character vocabularies reaches across: before a blank or a
 * line feed that follows something else than white space. A text without such a place is cut where
 * the piece has grown tenfold.
 */
public final class TextPieces {
  static final int SIZE = 1 << 20;
  private static final int LONGEST = 10 * SIZE;

  private final Consumer<String> sink;
  private final StringBuilder held = new StringBuilder();
  private int searched = 1;

  public TextPieces(Consumer<String> sink) {
    this.sink = sink;
  }

  public void append(CharSequence part) {
    held.append(part);
    emitFull();
  }

  public void append(char[] part, int offset, int count) {
    held.append(part, offset, count);
    emitFull();
  }

  /** Hands on what is left; the next part begins another text. */
  public void end() {
    if (held.length() > 0) {
      sink.accept(held.toString());
    }
    clear(held.length());
  }

  private void emitFull() {
    if (held.length() < SIZE) {
      return;
    }
    int at = held.length() - 1;
    while (at >= searched && !isCut(held, at)) {
      at--;
    }
    if (at < searched) {
      searched = held.length();
      if (held.length() < LONGEST) {
        return;
      }
      at = held.length();
      if (Character.isHighSurrogate(held.charAt(at - 1))) {
        at--;
      }
    }
    sink.accept(held.substring(0, at));
    clear(at);
  }

  private void clear(int count) {
    held.delete(0, count);
    searched = 1;
  }

  /** Whether a text may be cut before position {@code at} ≥ 1. */
  static boolean isCut(CharSequence text, int at) {
    char c = text.charAt(at);
    return (c == ' ' || c == '\n') && !isSpace(text.charAt(at - 1));
  }

  /** White space by Unicode's or Java's definition: they differ in U+0085, U+00A0, U+001C … */
  private static boolean isSpace(char c) {
    return Character.isWhitespace(c) || Character.isSpaceChar(c) || c == '\u0085';
  }
}
