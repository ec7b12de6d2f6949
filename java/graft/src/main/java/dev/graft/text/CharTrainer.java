package dev.graft.text;

import dev.graft.io.InvalidInputException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;

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
    if (vocabSize != 0 && vocabSize < 2) {
      throw new InvalidInputException(
          "a character vocabulary has at least 2 tokens, not " + vocabSize);
    }
    long[] counts = new long[Character.MAX_CODE_POINT + 1];
    TextReader.pieces(files, piece -> piece.codePoints().forEach(c -> counts[c]++));
    List<Integer> characters =
        IntStream.range(0, counts.length)
            .filter(c -> counts[c] > 0)
            .boxed()
            .sorted(Comparator.comparingLong((Integer c) -> -counts[c]).thenComparing(c -> c))
            .toList();
    if (characters.isEmpty()) {
      throw InvalidInputException.of(files.get(0), "there is no text to train on");
    }
    int kept = vocabSize == 0 ? characters.size() : Math.min(characters.size(), vocabSize - 1);
    List<String> tokens = new ArrayList<>();
    characters.subList(0, kept).stream().sorted().map(Character::toString).forEach(tokens::add);
    tokens.add(UNKNOWN);
    return HuggingFaceTokenizer.of(files.get(0), TokenizerFiles.characters(tokens, UNKNOWN));
  }
}
