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
 * BERT as it was published: masked words and next sentences together (Devlin et al.,
 * arXiv:1810.04805, section 3.1). An example is two halves of a piece of text, or with probability
 * one half the first of one and the second of another.
 */
public final class BertForPreTraining extends LanguageModel {
  private final MaskedWords words;

  private BertForPreTraining(Parts parts) {
    super(parts);
    words = new MaskedWords(this);
  }

  /** Reads a model directory. */
  public static BertForPreTraining fromPretrained(String directory) {
    return fromPretrained(ModelDirectory.resolve(directory).path());
  }

  /** Reads a model directory. */
  public static BertForPreTraining fromPretrained(Path directory) {
    return fromPretrained(directory, ModelOptions.defaults());
  }

  /** Reads a model directory; heads the checkpoint lacks begin new (said in the log). */
  public static BertForPreTraining fromPretrained(Path directory, ModelOptions options) {
    Path path = ModelDirectory.resolve(directory).path();
    return new BertForPreTraining(
        Parts.read(
            options,
            path,
            List.of("bert"),
            device ->
                Network.load(
                    device, path, Task.PRETRAINING, options.dtype(), null, options.seed())));
  }

  /** A new network; see the overload. */
  public static BertForPreTraining create(BertConfig config, Tokenizer tokenizer) {
    return create(config, tokenizer, ModelOptions.defaults());
  }

  /**
   * A new network.
   *
   * @param config its shape; the vocabulary size is replaced by the tokenizer's
   * @param tokenizer stays the caller's: close it after the model
   */
  public static BertForPreTraining create(
      BertConfig config, Tokenizer tokenizer, ModelOptions options) {
    BertConfig whole = config.withVocabSize(tokenizer.vocabSize());
    return new BertForPreTraining(
        Parts.make(
            options,
            tokenizer,
            false,
            device ->
                Network.create(device, whole, Task.PRETRAINING, options.dtype(), options.seed())));
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
