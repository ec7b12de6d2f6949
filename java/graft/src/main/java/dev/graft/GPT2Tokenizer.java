package dev.graft;

import dev.graft.io.Hub;
import dev.graft.io.ModelDirectory;
import dev.graft.text.BpeTrainer;
import dev.graft.text.Tokenizer;
import java.nio.file.Path;
import java.util.List;

/**
 * GPT-2's byte-level BPE tokenizer. Nothing is ever truncated or padded.
 *
 * <pre>
 *   GPT2Tokenizer.fromPretrained("gpt2-dir").encode("a text")
 * </pre>
 */
public final class GPT2Tokenizer extends PreTrainedTokenizer {
  private GPT2Tokenizer(Tokenizer tokenizer) {
    super(tokenizer);
  }

  /** Reads {@code tokenizer.json}, or {@code vocab.json} and {@code merges.txt}. */
  public static GPT2Tokenizer fromPretrained(String directory) {
    return fromPretrained(ModelDirectory.resolve(directory, Hub.Part.TOKENIZER).path());
  }

  /** Reads {@code tokenizer.json}, or {@code vocab.json} and {@code merges.txt}. */
  public static GPT2Tokenizer fromPretrained(Path directory) {
    return new GPT2Tokenizer(read(directory, "gpt2", "GPT-2's byte-level BPE"));
  }

  /**
   * Trains one on UTF-8 files.
   *
   * @param vocabSize tokens, at least {@link BpeTrainer#SMALLEST}
   */
  public static GPT2Tokenizer train(List<Path> files, int vocabSize) {
    return new GPT2Tokenizer(BpeTrainer.train(files, vocabSize, 2));
  }
}
