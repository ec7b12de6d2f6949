package dev.graft.text;

import dev.graft.io.InvalidInputException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Character vocabularies: one token a Unicode code point, and one for characters not seen. */
public final class CharTrainer {
  static final String UNKNOWN = "<unk>";

  private CharTrainer() {}

  /**
   * Takes the characters of UTF-8 files.
   *
   * @param vocabSize most tokens, the unknown one included: the most frequent characters stay; 0
   *     for all
   */
  public static Tokenizer train(List<Path> files, int vocabSize) {
    Map<Integer, Long> counts = new HashMap<>();
    for (Path file : files) {
      TextReader.pieces(
          file, piece -> piece.codePoints().forEach(c -> counts.merge(c, 1L, Long::sum)));
    }
    if (counts.isEmpty()) {
      throw InvalidInputException.of(files.get(0), "there is no text to train on");
    }
    if (vocabSize != 0 && vocabSize < 2) {
      throw new InvalidInputException(
          "a character vocabulary has at least 2 tokens, not " + vocabSize);
    }
    List<Integer> characters = new ArrayList<>(counts.keySet());
    characters.sort(Comparator.comparingLong((Integer c) -> -counts.get(c)).thenComparing(c -> c));
    int kept = vocabSize == 0 ? characters.size() : Math.min(characters.size(), vocabSize - 1);
    List<Integer> sorted = new ArrayList<>(characters.subList(0, kept));
    sorted.sort(null);
    List<String> tokens = new ArrayList<>();
    sorted.forEach(c -> tokens.add(new String(Character.toChars(c))));
    tokens.add(UNKNOWN);
    return HuggingFaceTokenizer.of(files.get(0), TokenizerFiles.characters(tokens, UNKNOWN));
  }
}
