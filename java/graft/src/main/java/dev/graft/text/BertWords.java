package dev.graft.text;

import java.text.Normalizer;
import java.util.function.Consumer;

/**
 * Words as BERT's BasicTokenizer makes them: control characters dropped, white space, punctuation
 * and Chinese characters as borders, and, for uncased models, accents and case dropped.
 */
final class BertWords {
  private BertWords() {}

  static void forEach(String text, boolean lowercase, Consumer<String> sink) {
    String normal = lowercase ? Normalizer.normalize(text, Normalizer.Form.NFD) : text;
    StringBuilder word = new StringBuilder();
    normal
        .codePoints()
        .forEach(
            c -> {
              int type = Character.getType(c);
              if (isDropped(c, type) || (lowercase && type == Character.NON_SPACING_MARK)) {
                return;
              }
              if (isSpace(c, type)) {
                end(word, sink);
              } else if (isPunctuation(c, type) || isChinese(c)) {
                end(word, sink);
                word.appendCodePoint(c);
                end(word, sink);
              } else {
                word.appendCodePoint(lowercase ? Character.toLowerCase(c) : c);
              }
            });
    end(word, sink);
  }

  private static void end(StringBuilder word, Consumer<String> sink) {
    if (word.length() > 0) {
      sink.accept(word.toString());
    }
    word.setLength(0);
  }

  private static boolean isDropped(int c, int type) {
    return c == 0xFFFD
        || type == Character.FORMAT
        || type == Character.PRIVATE_USE
        || (type == Character.CONTROL && c != '\t' && c != '\n' && c != '\r');
  }

  private static boolean isSpace(int c, int type) {
    return c == '\t'
        || c == '\n'
        || c == '\r'
        || type == Character.SPACE_SEPARATOR
        || type == Character.LINE_SEPARATOR
        || type == Character.PARAGRAPH_SEPARATOR;
  }

  private static boolean isPunctuation(int c, int type) {
    boolean ascii =
        (c >= 33 && c <= 47)
            || (c >= 58 && c <= 64)
            || (c >= 91 && c <= 96)
            || (c >= 123 && c <= 126);
    return ascii
        || type == Character.CONNECTOR_PUNCTUATION
        || type == Character.DASH_PUNCTUATION
        || type == Character.START_PUNCTUATION
        || type == Character.END_PUNCTUATION
        || type == Character.INITIAL_QUOTE_PUNCTUATION
        || type == Character.FINAL_QUOTE_PUNCTUATION
        || type == Character.OTHER_PUNCTUATION;
  }

  /**
   * The CJK ideographs set apart; Hangul and kana are not among them. U+2B820 to U+2B91F are in
   * BERT's own list but not in that of the library that encodes; what is trained follows it.
   */
  private static boolean isChinese(int c) {
    return (c >= 0x4E00 && c <= 0x9FFF)
        || (c >= 0x3400 && c <= 0x4DBF)
        || (c >= 0x20000 && c <= 0x2A6DF)
        || (c >= 0x2A700 && c <= 0x2B81F)
        || (c >= 0x2B920 && c <= 0x2CEAF)
        || (c >= 0xF900 && c <= 0xFAFF)
        || (c >= 0x2F800 && c <= 0x2FA1F);
  }
}
