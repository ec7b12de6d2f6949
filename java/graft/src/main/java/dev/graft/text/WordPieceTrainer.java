package dev.graft.text;

import dev.graft.io.InvalidInputException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.SortedMap;
import java.util.TreeSet;

/**
 * Trains WordPiece vocabularies as BERT's: words by BERT's normalisation, pieces by merging the
 * most frequent pairs, continuations marked with {@code ##}.
 */
public final class WordPieceTrainer {
  private static final List<String> SPECIAL = List.of("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]");

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
    WordCounts words = new WordCounts();
    TextReader.pieces(files, piece -> count(piece, lowercase, words));
    return train(files.get(0), words, vocabSize, minFrequency, lowercase);
  }

  /** Trains on texts in memory; {@code source} is named in messages. */
  public static Tokenizer train(
      Path source, Iterable<String> texts, int vocabSize, int minFrequency, boolean lowercase) {
    WordCounts words = new WordCounts();
    texts.forEach(text -> count(text, lowercase, words));
    return train(source, words, vocabSize, minFrequency, lowercase);
  }

  private static void count(String text, boolean lowercase, WordCounts words) {
    BertWords.forEach(
        text,
        lowercase,
        word -> {
          // Longer words become [UNK], so their pieces would never be used.
          if (word.codePointCount(0, word.length()) <= TokenizerFiles.LONGEST_WORD) {
            words.add(word);
          }
        });
  }

  private static Tokenizer train(
      Path source, WordCounts words, int vocabSize, int minFrequency, boolean lowercase) {
    if (words.isEmpty()) {
      throw InvalidInputException.of(source, "there is no text to train on");
    }
    TreeSet<String> alphabet = new TreeSet<>();
    SortedMap<String, Long> sorted = words.sorted();
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
        .forEach(c -> symbols.add((symbols.isEmpty() ? "" : "##") + Character.toString(c)));
    return symbols;
  }
}
