package dev.graft;

import dev.graft.apply.EmbeddingOptions;
import dev.graft.apply.TextEmbedder;
import dev.graft.io.ModelDirectory;
import dev.graft.model.BertConfig;
import dev.graft.model.Network;
import dev.graft.model.Task;
import dev.graft.text.Tokenizer;
import java.nio.file.Path;
import java.util.List;

/** BERT, RoBERTa or DistilBERT without a head: texts as vectors. */
public final class BertModel extends PreTrainedModel {
  private final Worker<TextEmbedder> worker;
  private final EmbeddingOptions embedding;

  private BertModel(Parts parts, EmbeddingOptions embedding) {
    super(parts);
    this.embedding = embedding;
    worker =
        new Worker<>(
            this,
            "BertModel",
            options().threads(),
            network -> new TextEmbedder(network, tokenizer(), maxLength(), 16));
  }

  /** Reads a model directory. */
  public static BertModel fromPretrained(String directory) {
    return fromPretrained(ModelDirectory.resolve(directory).path());
  }

  /** Reads a model directory. */
  public static BertModel fromPretrained(Path directory) {
    return fromPretrained(directory, ModelOptions.defaults());
  }

  /** Reads a model directory; heads of the checkpoint are not used. */
  public static BertModel fromPretrained(Path directory, ModelOptions options) {
    Path path = ModelDirectory.resolve(directory).path();
    EmbeddingOptions embedding = EmbeddingOptions.of(path);
    return new BertModel(
        Parts.read(
            options,
            path,
            ENCODERS,
            device -> Network.load(device, path, Task.BASE, options.dtype(), null, options.seed())),
        embedding);
  }

  /**
   * A new network.
   *
   * @param config its shape; the vocabulary size is replaced by the tokenizer's
   * @param tokenizer stays the caller's: close it after the model
   */
  public static BertModel create(BertConfig config, Tokenizer tokenizer, ModelOptions options) {
    BertConfig whole = config.withVocabSize(tokenizer.vocabSize());
    return new BertModel(
        Parts.make(
            options,
            tokenizer,
            false,
            device -> Network.create(device, whole, Task.BASE, options.dtype(), options.seed())),
        EmbeddingOptions.defaults());
  }

  /**
   * How texts become vectors here: as the model directory says in the files of
   * sentence-transformers, else the mean as it is.
   */
  public EmbeddingOptions embeddingOptions() {
    return embedding;
  }

  /** A text as one vector by {@link #embeddingOptions}: [C]. */
  public float[] embed(String text) {
    return embed(List.of(text)).get(0);
  }

  /**
   * A vector for each text, in order, by {@link #embeddingOptions}. Texts longer than the model are
   * cut.
   */
  public List<float[]> embed(List<String> texts) {
    return embed(texts, embedding);
  }

  /** A vector for each text, in order. Texts longer than the model are cut. */
  public List<float[]> embed(List<String> texts, EmbeddingOptions options) {
    synchronized (worker) {
      return worker.call("embed", embedder -> embedder.embed(texts, options));
    }
  }

  /** The last hidden state of each token of a text, special tokens included: [T][C]. */
  public float[][] hiddenStates(String text) {
    synchronized (worker) {
      return worker.call("hiddenStates", embedder -> embedder.hiddenStates(text));
    }
  }
}
