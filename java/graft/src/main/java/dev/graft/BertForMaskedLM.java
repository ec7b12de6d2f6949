package dev.graft;

import dev.graft.apply.Prediction;
import dev.graft.io.ModelDirectory;
import dev.graft.model.BertConfig;
import dev.graft.model.Network;
import dev.graft.model.Task;
import dev.graft.text.Tokenizer;
import java.nio.file.Path;
import java.util.List;

/**
 * BERT, RoBERTa or DistilBERT with its masked-word head: fills masks, and learns from plain text by
 * masking 15 % of it (Devlin et al., arXiv:1810.04805, section 3.1, task 1).
 */
public final class BertForMaskedLM extends LanguageModel {
  private final MaskedWords words;

  private BertForMaskedLM(Parts parts) {
    super(parts);
    words = new MaskedWords(this);
  }

  /** Reads a model directory. */
  public static BertForMaskedLM fromPretrained(String directory) {
    return fromPretrained(ModelDirectory.resolve(directory).path());
  }

  /** Reads a model directory. */
  public static BertForMaskedLM fromPretrained(Path directory) {
    return fromPretrained(directory, ModelOptions.defaults());
  }

  /** Reads a model directory; a checkpoint without the head gets a new one (said in the log). */
  public static BertForMaskedLM fromPretrained(Path directory, ModelOptions options) {
    Path path = ModelDirectory.resolve(directory).path();
    return new BertForMaskedLM(
        Parts.read(
            options,
            path,
            ENCODERS,
            device ->
                Network.load(device, path, Task.MASKED_LM, options.dtype(), null, options.seed())));
  }

  /** A new network; see the overload. */
  public static BertForMaskedLM create(BertConfig config, Tokenizer tokenizer) {
    return create(config, tokenizer, ModelOptions.defaults());
  }

  /**
   * A new network.
   *
   * @param config its shape; the vocabulary size is replaced by the tokenizer's
   * @param tokenizer stays the caller's: close it after the model
   */
  public static BertForMaskedLM create(
      BertConfig config, Tokenizer tokenizer, ModelOptions options) {
    BertConfig whole = config.withVocabSize(tokenizer.vocabSize());
    return new BertForMaskedLM(
        Parts.make(
            options,
            tokenizer,
            false,
            device ->
                Network.create(device, whole, Task.MASKED_LM, options.dtype(), options.seed())));
  }

  /**
   * The k most probable words for each mask.
   *
   * @param text holds {@code [MASK]} at least once
   * @return a list a mask, in the order of the text, most probable word first
   */
  public List<List<Prediction.Scored>> fillMask(String text, int k) {
    return words.fill(text, k);
  }
}
