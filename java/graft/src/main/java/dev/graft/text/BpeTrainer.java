package dev.graft.text;

import dev.graft.io.InvalidInputException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Trains byte-level BPE vocabularies as GPT-2's (Radford et al. 2019, section 2.2). */
public final class BpeTrainer {
  /** The 256 bytes and the end of a text. */
  public static final int SMALLEST = 257;

  /** GPT-2's pre-tokens: contractions, letters, digits, other signs, white space. */
  private static final Pattern PRE_TOKENS =
      Pattern.compile(
          "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
          Pattern.UNICODE_CHARACTER_CLASS);

  private BpeTrainer() {}

  /**
   * Trains on UTF-8 files of any size.
   *
   * @param vocabSize tokens, at least {@link #SMALLEST}; fewer come out if the text has no more
   *     pairs
   * @param minFrequency pairs rarer than this are not merged
   */
  public static Tokenizer train(List<Path> files, int vocabSize, int minFrequency) {
    if (vocabSize < SMALLEST) {
      throw new InvalidInputException(
          "a byte-level BPE vocabulary has at least "
              + SMALLEST
              + " tokens (256 bytes and the end of a text), not "
              + vocabSize);
    }
    WordCounts words = new WordCounts();
    TextReader.pieces(files, piece -> count(piece, words));
    if (words.isEmpty()) {
      throw InvalidInputException.of(files.get(0), "there is no text to train on");
    }
    char[] alphabet = byteAlphabet();
    List<String> tokens = new ArrayList<>();
    for (char c : sorted(alphabet)) {
      tokens.add(String.valueOf(c));
    }
    PairMerger merger = new PairMerger(tokens);
    words
        .sorted()
        .forEach(
            (word, count) -> {
              List<String> symbols = new ArrayList<>();
              for (byte b : word.getBytes(StandardCharsets.UTF_8)) {
                symbols.add(String.valueOf(alphabet[b & 0xFF]));
              }
              merger.addWord(symbols, count);
            });
    List<String[]> merges = merger.run(vocabSize - 1, minFrequency, String::concat);
    tokens.add(TokenizerFiles.END_OF_TEXT);
    return HuggingFaceTokenizer.of(files.get(0), TokenizerFiles.bpe(tokens, merges));
  }

  private static void count(String text, WordCounts words) {
    Matcher matcher = PRE_TOKENS.matcher(text);
    while (matcher.find()) {
      words.add(matcher.group());
    }
  }

  private static char[] sorted(char[] alphabet) {
    char[] copy = alphabet.clone();
    Arrays.sort(copy);
    return copy;
  }

  /**
   * GPT-2's printable character of each byte: itself if it is one, else the next from U+0100 on.
   */
  static char[] byteAlphabet() {
    char[] alphabet = new char[256];
    int next = 256;
    for (int b = 0; b < 256; b++) {
      boolean printable =
          (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || (b >= 0xAE && b <= 0xFF);
      alphabet[b] = (char) (printable ? b : next++);
    }
    return alphabet;
  }
}
