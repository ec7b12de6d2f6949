package dev.graft.data;

import java.text.Normalizer;

/**
 * Cleans a text without harming what its language needs.
 *
 * <ol>
 *   <li>Controls and characters without a glyph go, but where they are spelling: see the guide.
 *   <li>Unicode's normal form: the same text in the same characters.
 *   <li>Line ends of all kinds become {@code \n}; spaces of other widths become a space, but
 *       U+3000, which indents Chinese and Japanese paragraphs.
 *   <li>Space before a line's end goes, runs of spaces within a line become one, indentation stays;
 *       more than one blank line becomes one.
 * </ol>
 */
public final class TextCleaner {
  /** Unicode's normal forms (UAX 15). */
  public enum Form {
    /** Canonical: nothing but the encoding changes. */
    NFC(Normalizer.Form.NFC),
    /** Compatible: full-width letters, ligatures and the like become the plain ones. */
    NFKC(Normalizer.Form.NFKC),
    /** As it is. */
    NONE(null);

    private final Normalizer.Form form;

    Form(Normalizer.Form form) {
      this.form = form;
    }
  }

  private final Form form;
  private final boolean keepSpaces;
  private final int newlines;
  private long removed;

  /**
   * @param keepSpaces whether runs of spaces within a line stay, for tables and code
   * @param newlines how many line ends may follow each other: 0 makes them spaces, 1 leaves no
   *     blank line
   */
  TextCleaner(Form form, boolean keepSpaces, int newlines) {
    this.form = form;
    this.keepSpaces = keepSpaces;
    this.newlines = newlines;
  }

  /** The usual cleaning: NFC, one blank line at most. */
  public TextCleaner() {
    this(Form.NFC, false, 2);
  }

  /** Characters without a glyph that were removed so far. */
  public long removed() {
    return removed;
  }

  /** The clean text; empty if nothing is left of it. */
  public String clean(String text) {
    // Normalised behind it: a mark may now stand beside its letter.
    String bare = withoutNoise(text);
    String normal =
        form.form == null || Normalizer.isNormalized(bare, form.form)
            ? bare
            : Normalizer.normalize(bare, form.form);
    StringBuilder out = new StringBuilder(normal.length());
    int lines = newlines;
    boolean started = false;
    int spaces = 0; // of the run at out's end
    boolean ideographic = false; // whether U+3000 is among them
    for (int i = 0, c; i < normal.length(); i += Character.charCount(c)) {
      c = normal.codePointAt(i);
      if (lineEnd(c)) {
        if (c == '\r' && i + 1 < normal.length() && normal.charAt(i + 1) == '\n') {
          continue;
        }
        if (newlines == 0) {
          out.append(' ');
          spaces++;
          continue;
        }
        out.setLength(out.length() - spaces);
        spaces = 0;
        ideographic = false;
        if (started && lines < newlines) {
          out.append('\n');
          lines++;
        }
      } else if (c == '\t' || Character.getType(c) == Character.SPACE_SEPARATOR) {
        out.append(c == '\t' || c == 0x3000 ? (char) c : ' ');
        ideographic |= c == 0x3000;
        spaces++;
      } else {
        boolean indent = spaces == out.length() || out.charAt(out.length() - spaces - 1) == '\n';
        if (spaces > 1 && !indent && !ideographic && !keepSpaces) {
          out.setLength(out.length() - spaces);
          out.append(' ');
        }
        spaces = 0;
        ideographic = false;
        lines = 0;
        started = true;
        out.appendCodePoint(c);
      }
    }
    int end = out.length();
    while (end > 0 && (out.charAt(end - 1) <= ' ' || out.charAt(end - 1) == 0x3000)) {
      end--;
    }
    return out.substring(newlines == 0 ? firstText(out, end) : 0, end);
  }

  private String withoutNoise(String text) {
    StringBuilder kept = null;
    for (int i = 0, c; i < text.length(); i += Character.charCount(c)) {
      c = text.codePointAt(i);
      boolean noise = !lineEnd(c) && Invisibles.noise(text, i, c);
      if (noise) {
        removed++;
        kept = kept == null ? new StringBuilder(text.length()).append(text, 0, i) : kept;
      } else if (kept != null) {
        kept.appendCodePoint(c);
      }
    }
    return kept == null ? text : kept.toString();
  }

  private static int firstText(StringBuilder text, int end) {
    int at = 0;
    while (at < end && text.charAt(at) <= ' ') {
      at++;
    }
    return at;
  }

  private static boolean lineEnd(int c) {
    return (c >= '\n' && c <= '\r') || c == 0x85 || c == 0x2028 || c == 0x2029;
  }
}
