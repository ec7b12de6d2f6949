package dev.graft.data;

import java.lang.Character.UnicodeScript;
import java.util.EnumSet;
import java.util.Set;

/**
 * Which characters without a glyph are noise and which are spelling. Controls, byte-order marks,
 * bidirectional controls and stray zero-width characters are noise. Kept where a script needs them:
 * the zero-width joiner and non-joiner of Persian and its neighbours, of the Indic scripts and in
 * emoji, the zero-width space between words of Thai, Lao, Khmer and Burmese, the tags of flags, the
 * Mongolian vowel separator.
 */
final class Invisibles {
  private static final int ZERO_WIDTH_SPACE = 0x200B;
  private static final int NON_JOINER = 0x200C;
  private static final int JOINER = 0x200D;
  private static final int BLACK_FLAG = 0x1F3F4;

  /** Letters change their shape with their neighbour. */
  private static final Set<UnicodeScript> JOINING =
      EnumSet.of(
          UnicodeScript.ARABIC,
          UnicodeScript.SYRIAC,
          UnicodeScript.MANDAIC,
          UnicodeScript.MONGOLIAN,
          UnicodeScript.NKO,
          UnicodeScript.PHAGS_PA,
          UnicodeScript.ADLAM,
          UnicodeScript.HANIFI_ROHINGYA);

  /** Joiners choose among the forms of a consonant without its vowel. */
  private static final Set<UnicodeScript> INDIC =
      EnumSet.of(
          UnicodeScript.DEVANAGARI,
          UnicodeScript.BENGALI,
          UnicodeScript.GURMUKHI,
          UnicodeScript.GUJARATI,
          UnicodeScript.ORIYA,
          UnicodeScript.TAMIL,
          UnicodeScript.TELUGU,
          UnicodeScript.KANNADA,
          UnicodeScript.MALAYALAM,
          UnicodeScript.SINHALA,
          UnicodeScript.GRANTHA,
          UnicodeScript.NEWA,
          UnicodeScript.TIRHUTA,
          UnicodeScript.BALINESE,
          UnicodeScript.JAVANESE,
          UnicodeScript.MYANMAR,
          UnicodeScript.KHMER);

  /** Written without spaces between words. */
  private static final Set<UnicodeScript> SPACELESS =
      EnumSet.of(
          UnicodeScript.THAI,
          UnicodeScript.LAO,
          UnicodeScript.KHMER,
          UnicodeScript.MYANMAR,
          UnicodeScript.TAI_LE,
          UnicodeScript.NEW_TAI_LUE,
          UnicodeScript.TAI_THAM,
          UnicodeScript.TAI_VIET);

  private Invisibles() {}

  /**
   * Whether the character at an index is noise.
   *
   * @param c the code point there
   */
  static boolean noise(String text, int index, int c) {
    if (c >= 0x20 && c < 0x7F) {
      return false;
    }
    int type = Character.getType(c);
    if (type == Character.CONTROL) {
      return c != '\n' && c != '\t';
    }
    // Noncharacters: U+FDD0 to U+FDEF and the last two of each plane.
    if ((c & 0xFFFE) == 0xFFFE || (c >= 0xFDD0 && c <= 0xFDEF)) {
      return true;
    }
    if (type != Character.FORMAT) {
      return false;
    }
    if (c == ZERO_WIDTH_SPACE) {
      return !(SPACELESS.contains(before(text, index))
          && SPACELESS.contains(after(text, index, c)));
    }
    if (c == NON_JOINER) {
      return !(INDIC.contains(before(text, index))
          || (JOINING.contains(before(text, index)) && JOINING.contains(after(text, index, c))));
    }
    if (c == JOINER) {
      return !(INDIC.contains(before(text, index))
          || JOINING.contains(before(text, index))
          || JOINING.contains(after(text, index, c))
          || (emojiBefore(text, index) && emojiAfter(text, index)));
    }
    if (c == 0x180E) {
      return before(text, index) != UnicodeScript.MONGOLIAN;
    }
    if (c >= 0xE0020 && c <= 0xE007F) {
      return !flagBefore(text, index);
    }
    return c == 0xAD
        || c == 0x61C
        || c == 0x200E
        || c == 0x200F
        || (c >= 0x202A && c <= 0x202E)
        || (c >= 0x2060 && c <= 0x206F)
        || c == 0xFEFF
        || (c >= 0xFFF9 && c <= 0xFFFB)
        || c == 0xE0001;
  }

  /** The script before an index, marks taken for what they stand on. */
  private static UnicodeScript before(String text, int index) {
    for (int i = index; i > 0; ) {
      int c = text.codePointBefore(i);
      UnicodeScript script = UnicodeScript.of(c);
      if (script != UnicodeScript.INHERITED) {
        return script;
      }
      i -= Character.charCount(c);
    }
    return UnicodeScript.COMMON;
  }

  private static UnicodeScript after(String text, int index, int c) {
    int next = index + Character.charCount(c);
    return next < text.length() ? UnicodeScript.of(text.codePointAt(next)) : UnicodeScript.COMMON;
  }

  private static boolean emoji(int c) {
    return Character.getType(c) == Character.OTHER_SYMBOL || (c >= 0x1F000 && c <= 0x1FAFF);
  }

  private static boolean emojiBefore(String text, int index) {
    for (int i = index; i > 0; ) {
      int c = text.codePointBefore(i);
      // The selector of the coloured form and skin tones belong to what stands before them.
      if (c != 0xFE0F && !(c >= 0x1F3FB && c <= 0x1F3FF)) {
        return emoji(c);
      }
      i -= Character.charCount(c);
    }
    return false;
  }

  private static boolean emojiAfter(String text, int index) {
    return index + 1 < text.length() && emoji(text.codePointAt(index + 1));
  }

  private static boolean flagBefore(String text, int index) {
    for (int i = index; i > 0; ) {
      int c = text.codePointBefore(i);
      if (c < 0xE0020 || c > 0xE007F) {
        return c == BLACK_FLAG;
      }
      i -= Character.charCount(c);
    }
    return false;
  }
}
