package dev.graft.text;

import dev.graft.io.InvalidInputException;
import java.nio.file.Path;
import java.text.Normalizer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;

/**
 * Trains WordPiece vocabularies as BERT's: words by BERT's normalisation, pieces by merging the
 * most frequent pairs, continuations marked with {@code ##}.
 */
public final class WordPieceTrainer {
  private static final List<String> SPECIAL = List.of("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]");
  private static final int LONGEST_WORD = 100;

  private WordPieceTrainer() {}

  /**
   * Trains on UTF-8 files of any size.
   *
   * @param vocabSize tokens, special ones included
   * @param minFrequency pairs rarer than this are not merged
   * @param lowercase whether letters lose case and accents
   */
  public static Tokenizer train(
      List<Path> files, int vocabSize, int minFrequency, boolean lowercase) {
    Map<String, Long> words = new HashMap<>();
    for (Path file : files) {
      TextReader.pieces(file, piece -> count(piece, lowercase, words));
    }
    if (words.isEmpty()) {
      throw InvalidInputException.of(files.get(0), "there is no text to train on");
    }
    return train(files.get(0), words, vocabSize, minFrequency, lowercase);
  }

  /** Trains on texts in memory; {@code source} is named in messages. */
  public static Tokenizer train(
      Path source, Iterable<String> texts, int vocabSize, int minFrequency, boolean lowercase) {
    Map<String, Long> words = new HashMap<>();
    for (String text : texts) {
      count(text, lowercase, words);
    }
    if (words.isEmpty()) {
      throw InvalidInputException.of(source, "there is no text to train on");
    }
    return train(source, words, vocabSize, minFrequency, lowercase);
  }

  private static Tokenizer train(
      Path source, Map<String, Long> words, int vocabSize, int minFrequency, boolean lowercase) {
    TreeSet<String> alphabet = new TreeSet<>();
    TreeMap<String, Long> sorted = new TreeMap<>(words);
    sorted.keySet().forEach(word -> alphabet.addAll(symbols(word)));
    int smallest = SPECIAL.size() + alphabet.size();
    if (vocabSize < smallest) {
      throw InvalidInputException.of(
          source,
          "a vocabulary of "
              + vocabSize
              + " is too small: its characters and special tokens alone need "
              + smallest);
    }
    List<String> tokens = new ArrayList<>(SPECIAL);
    tokens.addAll(alphabet);
    PairMerger merger = new PairMerger(tokens);
    sorted.forEach((word, count) -> merger.addWord(symbols(word), count));
    merger.run(vocabSize, minFrequency, (left, right) -> left + right.substring(2));
    return HuggingFaceTokenizer.of(source, TokenizerFiles.wordPiece(tokens, lowercase));
  }

  private static List<String> symbols(String word) {
    List<String> symbols = new ArrayList<>();
    word.codePoints()
        .forEach(
            c -> symbols.add((symbols.isEmpty() ? "" : "##") + new String(Character.toChars(c))));
    return symbols;
  }

  /** BERT's normalisation and pre-tokenisation, as its BasicTokenizer does them. */
  private static void count(String text, boolean lowercase, Map<String, Long> words) {
    String normal =
        lowercase ? Normalizer.normalize(text.toLowerCase(), Normalizer.Form.NFD) : text;
    StringBuilder word = new StringBuilder();
    normal
        .codePoints()
        .forEach(
            c -> {
              int type = Character.getType(c);
              if (c == 0 || c == 0xFFFD || (isControl(type) && !isSpace(c, type))) {
                return;
              }
              if (lowercase && type == Character.NON_SPACING_MARK) {
                return;
              }
              if (isSpace(c, type)) {
                end(word, words);
              } else if (isPunctuation(c, type) || isChinese(c)) {
                end(word, words);
                word.appendCodePoint(c);
                end(word, words);
              } else {
                word.appendCodePoint(c);
              }
            });
    end(word, words);
  }

  private static void end(StringBuilder word, Map<String, Long> words) {
    // Longer words become [UNK], so their pieces would never be used.
    if (word.length() > 0 && word.length() <= LONGEST_WORD) {
      words.merge(word.toString(), 1L, Long::sum);
    }
    word.setLength(0);
  }

  private static boolean isSpace(int c, int type) {
    return c == '\t'
        || c == '\n'
        || c == '\r'
        || type == Character.SPACE_SEPARATOR
        || type == Character.LINE_SEPARATOR
        || type == Character.PARAGRAPH_SEPARATOR;
  }

  private static boolean isControl(int type) {
    return type == Character.CONTROL
        || type == Character.FORMAT
        || type == Character.PRIVATE_USE
        || type == Character.UNASSIGNED;
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

  /** The CJK ideograph blocks BERT sets apart; Hangul and kana are not among them. */
  private static boolean isChinese(int c) {
    return (c >= 0x4E00 && c <= 0x9FFF)
        || (c >= 0x3400 && c <= 0x4DBF)
        || (c >= 0x20000 && c <= 0x2A6DF)
        || (c >= 0x2A700 && c <= 0x2CEAF)
        || (c >= 0xF900 && c <= 0xFAFF)
        || (c >= 0x2F800 && c <= 0x2FA1F);
  }
}
