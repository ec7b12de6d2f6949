package dev.graft.train;

import dev.graft.io.InvalidInputException;
import dev.graft.text.BpeTrainer;
import dev.graft.text.CharTrainer;
import dev.graft.text.Tokenizer;
import dev.graft.text.WordPieceTrainer;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;

/**
 * Where a run's tokenizer comes from: a directory, or training on the run's own files.
 *
 * @param directory a tokenizer's or model's directory; null: train one
 * @param kind what is trained
 * @param vocabSize tokens, special ones included; for characters 0 means all
 * @param minFrequency pairs rarer than this are not merged
 * @param lowercase of WordPiece: whether letters lose case and accents
 */
public record TokenizerSettings(
    Path directory, Kind kind, int vocabSize, int minFrequency, boolean lowercase) {

  /** Vocabularies that can be trained. */
  public enum Kind {
    /** Byte-level BPE, GPT-2's. */
    BPE,
    /** WordPiece, BERT's. */
    WORDPIECE,
    /** A token a character. */
    CHARACTER
  }

  public TokenizerSettings {
    Objects.requireNonNull(kind, "kind");
  }

  /** Reads a tokenizer. */
  public static TokenizerSettings from(Path directory) {
    return new TokenizerSettings(Objects.requireNonNull(directory), Kind.BPE, 0, 0, false);
  }

  /** Trains one with the usual choices: pairs from a frequency of 2, WordPiece in lower case. */
  public static TokenizerSettings train(Kind kind, int vocabSize) {
    return new TokenizerSettings(null, kind, vocabSize, 2, true);
  }

  /**
   * The tokenizer.
   *
   * @param files what it is trained on
   */
  public Tokenizer make(List<Path> files) {
    if (directory != null) {
      return Tokenizer.fromPretrained(directory);
    }
    if (files.isEmpty()) {
      throw new InvalidInputException("a tokenizer is trained on files, this corpus has none");
    }
    return switch (kind) {
      case BPE -> BpeTrainer.train(files, vocabSize, minFrequency);
      case WORDPIECE -> WordPieceTrainer.train(files, vocabSize, minFrequency, lowercase);
      case CHARACTER -> CharTrainer.train(files, vocabSize);
    };
  }
}
