package dev.graft.metrics;

import java.lang.Character.UnicodeScript;

/** Where text metrics cut: scripts written without spaces count character by character. */
final class TextUnits {
  private TextUnits() {}

  /** Whether a character is a unit of its own: Chinese, and Japanese with its syllables. */
  static boolean alone(int codePoint) {
    if (codePoint < 0x2E80) {
      return false;
    }
    UnicodeScript script = UnicodeScript.of(codePoint);
    return script == UnicodeScript.HAN
        || script == UnicodeScript.HIRAGANA
        || script == UnicodeScript.KATAKANA;
  }

  /** Letters, digits and the marks that belong to them. */
  static boolean word(int codePoint) {
    int type = Character.getType(codePoint);
    return Character.isLetterOrDigit(codePoint)
        || type == Character.NON_SPACING_MARK
        || type == Character.COMBINING_SPACING_MARK;
  }
}
