package dev.graft;

import dev.graft.io.Hub;
import dev.graft.io.ModelDirectory;
import dev.graft.text.Tokenizer;
import dev.graft.text.WordPieceTrainer;
import java.nio.file.Path;
import java.util.List;

/**
 * BERT's WordPiece tokenizer. Nothing is ever truncated or padded.
 *
 * <pre>
 *   BertTokenizer.fromPretrained("bert-dir").encode("a text")   // [CLS] a text [SEP]
 * </pre>
 */
public final class BertTokenizer extends PreTrainedTokenizer {
  private BertTokenizer(Tokenizer tokenizer) {
    super(tokenizer);
  }

  /** Reads {@code tokenizer.json} or {@code vocab.txt} of a directory. */
  public static BertTokenizer fromPretrained(String directory) {
    return fromPretrained(ModelDirectory.resolve(directory, Hub.Part.TOKENIZER).path());
  }

  /** Reads {@code tokenizer.json} or {@code vocab.txt} of a directory. */
  public static BertTokenizer fromPretrained(Path directory) {
    return new BertTokenizer(read(directory, "bert", "BERT's WordPiece"));
  }

  /**
   * Trains one on UTF-8 files.
   *
   * @param vocabSize tokens, special ones included
   * @param lowercase whether letters lose case and accents
   */
  public static BertTokenizer train(List<Path> files, int vocabSize, boolean lowercase) {
    return new BertTokenizer(WordPieceTrainer.train(files, vocabSize, 2, lowercase));
  }
}
