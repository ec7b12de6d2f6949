package dev.graft.model;

import dev.graft.io.InvalidInputException;
import dev.graft.io.WeightSource;
import dev.graft.model.ParameterFiles.Loaded;
import java.util.Arrays;
import java.util.List;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** What a checkpoint holds beside what its config.json says. */
final class StoredNetwork {
  private static final Logger LOG = LoggerFactory.getLogger(Network.class);
  private static final int COMPARED = 1 << 20;

  private StoredNetwork() {}

  /**
   * What a checkpoint holds decides where config.json says nothing (a base model's pooler) or what
   * is not so: a projection on the vocabulary that differs from the embeddings is not tied to them.
   */
  static ModelConfig asStored(ModelConfig config, WeightSource weights) {
    if (config instanceof Gpt2Config gpt2) {
      boolean tied =
          gpt2.tiedHead() && sameIfBoth(weights, "transformer.wte.weight", "lm_head.weight");
      return gpt2.withTiedHead(tied);
    }
    BertConfig bert = (BertConfig) config;
    EncoderNames names = EncoderNames.of(bert.family());
    boolean tied =
        bert.tiedHead() && sameIfBoth(weights, names.words(), names.decoder() + ".weight");
    boolean pooler =
        names.pooler() != null && PublishedNames.find(weights, names.pooler() + ".weight") != null;
    return bert.withTiedHead(tied).withPooler(pooler);
  }

  private static boolean sameIfBoth(WeightSource weights, String embeddings, String projection) {
    String one = PublishedNames.findUntied(weights, embeddings);
    String other = PublishedNames.findUntied(weights, projection);
    if (one == null || other == null || same(weights, one, other)) {
      return true;
    }
    LOG.info("{} and {} differ in {}: they are not tied", one, other, weights.file());
    return false;
  }

  private static boolean same(WeightSource weights, String one, String other) {
    if (!Arrays.equals(weights.shape(one), weights.shape(other))) {
      return false;
    }
    long count = weights.count(one);
    for (long first = 0; first < count; first += COMPARED) {
      int length = (int) Math.min(COMPARED, count - first);
      if (!Arrays.equals(
          weights.floats(one, first, length), weights.floats(other, first, length))) {
        return false;
      }
    }
    return true;
  }

  /**
   * A config.json out of order may ask for more than any memory holds. What it asks for must be in
   * the file, so that is looked at before memory is taken.
   */
  static void requireAllOf(ModelConfig config, WeightSource weights) {
    double held = weights.storedCount();
    double channels = config.channels();
    double inner;
    double rows = (double) config.vocabSize() + config.maxPositions();
    if (config instanceof BertConfig bert) {
      inner = bert.intermediateChannels();
      rows += bert.typeVocabSize();
    } else {
      inner = ((Gpt2Config) config).innerChannels();
    }
    double asked =
        channels * rows + config.layers() * (4 * channels * channels + 2 * channels * inner);
    if (asked > held) {
      throw InvalidInputException.of(
          weights.file(),
          String.format(
              "holds %,.0f numbers, the network of config.json needs more than %,.0f",
              held, asked));
    }
  }

  /**
   * Says what a checkpoint lacks and what was not asked for.
   *
   * @param adapted whether an adapter will bring the heads that are missing
   * @throws InvalidInputException if it lacks a part of the body
   */
  static void check(Network network, WeightSource weights, Loaded loaded, boolean adapted) {
    List<String> body = loaded.missing().stream().filter(name -> !network.isHead(name)).toList();
    if (!body.isEmpty()) {
      throw InvalidInputException.of(
          weights.file(),
          "these tensors of a " + network.config().modelType() + " are missing: " + body);
    }
    if (!loaded.missing().isEmpty() && !adapted) {
      LOG.info(
          "{} has no {}: untrained until you fit the model",
          weights.file(),
          String.join(", ", loaded.missing()));
    }
    List<String> unused = loaded.unused().stream().filter(name -> !isKnownBuffer(name)).toList();
    if (!unused.isEmpty()) {
      LOG.debug("in {} but not used for {}: {}", weights.file(), network.task(), unused);
    }
  }

  /** Causal masks and position ids that older checkpoints carry. */
  private static boolean isKnownBuffer(String name) {
    return name.endsWith(".attn.bias")
        || name.endsWith(".attn.masked_bias")
        || name.endsWith("position_ids");
  }
}
