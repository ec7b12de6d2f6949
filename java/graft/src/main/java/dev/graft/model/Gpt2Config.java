package dev.graft.model;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import java.nio.file.Path;
import java.util.List;

/** GPT-2's config.json; the fields carry its names in Java's spelling. */
public record Gpt2Config(
    int vocabSize,
    int maxPositions,
    int channels,
    int layers,
    int heads,
    int innerChannels,
    String activation,
    double layerNormEps,
    double residDropout,
    double embdDropout,
    double attnDropout,
    double initializerRange,
    boolean tiedHead,
    int bosTokenId,
    int eosTokenId)
    implements ModelConfig {

  /** The published defaults for a shape: GELU in its tanh form, dropout 0.1, tied head. */
  public static Gpt2Config of(
      int vocabSize, int maxPositions, int channels, int layers, int heads) {
    new Fields(Path.of("gpt2 config"), Json.object()).heads(channels, heads);
    return new Gpt2Config(
        vocabSize,
        maxPositions,
        channels,
        layers,
        heads,
        4 * channels,
        "gelu_new",
        1e-5,
        0.1,
        0.1,
        0.1,
        0.02,
        true,
        -1,
        -1);
  }

  static Gpt2Config fromJson(Path file, ObjectNode json) {
    Fields f = new Fields(file, json);
    f.refuse("scale_attn_weights", true);
    f.refuse("scale_attn_by_inverse_layer_idx", false);
    f.refuse("add_cross_attention", false);
    int channels = f.positive("n_embd");
    int heads = f.positive("n_head");
    f.heads(channels, heads);
    if (!json.hasNonNull("n_positions") && !json.hasNonNull("n_ctx")) {
      throw InvalidInputException.of(file, "n_positions: expected a positive whole number");
    }
    return new Gpt2Config(
        f.positive("vocab_size"),
        f.positive(json.hasNonNull("n_positions") ? "n_positions" : "n_ctx"),
        channels,
        f.positive("n_layer"),
        heads,
        f.positive("n_inner", 4 * channels),
        f.activation("activation_function", "gelu_new"),
        f.number("layer_norm_epsilon", 1e-5),
        f.probability("resid_pdrop", 0.1),
        f.probability("embd_pdrop", 0.1),
        f.probability("attn_pdrop", 0.1),
        f.number("initializer_range", 0.02),
        f.flag("tie_word_embeddings", true),
        json.path("bos_token_id").asInt(-1),
        json.path("eos_token_id").asInt(-1));
  }

  @Override
  public String modelType() {
    return "gpt2";
  }

  @Override
  public List<String> labels() {
    return List.of();
  }

  @Override
  public Gpt2Config withLabels(List<String> labels) {
    if (!labels.isEmpty()) {
      throw new IllegalArgumentException("a GPT-2 network has no classes in this version");
    }
    return this;
  }

  @Override
  public Gpt2Config withVocabSize(int size) {
    return new Gpt2Config(
        size,
        maxPositions,
        channels,
        layers,
        heads,
        innerChannels,
        activation,
        layerNormEps,
        residDropout,
        embdDropout,
        attnDropout,
        initializerRange,
        tiedHead,
        bosTokenId,
        eosTokenId);
  }

  @Override
  public Gpt2Config withDropout(double hidden, double attention, double classifier) {
    return new Gpt2Config(
        vocabSize,
        maxPositions,
        channels,
        layers,
        heads,
        innerChannels,
        activation,
        layerNormEps,
        hidden,
        hidden,
        attention,
        initializerRange,
        tiedHead,
        bosTokenId,
        eosTokenId);
  }

  /** The same shape, its head tied to the token embeddings or not. */
  Gpt2Config withTiedHead(boolean tied) {
    return tied == tiedHead
        ? this
        : new Gpt2Config(
            vocabSize,
            maxPositions,
            channels,
            layers,
            heads,
            innerChannels,
            activation,
            layerNormEps,
            residDropout,
            embdDropout,
            attnDropout,
            initializerRange,
            tied,
            bosTokenId,
            eosTokenId);
  }

  /** With the ids of the tokens that begin and end a text; −1 for none. */
  public Gpt2Config withSpecialTokens(int bos, int eos) {
    return new Gpt2Config(
        vocabSize,
        maxPositions,
        channels,
        layers,
        heads,
        innerChannels,
        activation,
        layerNormEps,
        residDropout,
        embdDropout,
        attnDropout,
        initializerRange,
        tiedHead,
        bos,
        eos);
  }

  @Override
  public ObjectNode toJson(Task task) {
    ObjectNode json = Json.object();
    json.putArray("architectures").add(task == Task.BASE ? "GPT2Model" : "GPT2LMHeadModel");
    json.put("model_type", "gpt2")
        .put("vocab_size", vocabSize)
        .put("n_positions", maxPositions)
        .put("n_ctx", maxPositions)
        .put("n_embd", channels)
        .put("n_layer", layers)
        .put("n_head", heads)
        .put("n_inner", innerChannels)
        .put("activation_function", activation)
        .put("layer_norm_epsilon", layerNormEps)
        .put("resid_pdrop", residDropout)
        .put("embd_pdrop", embdDropout)
        .put("attn_pdrop", attnDropout)
        .put("initializer_range", initializerRange)
        .put("tie_word_embeddings", tiedHead);
    if (bosTokenId >= 0) {
      json.put("bos_token_id", bosTokenId);
    } else {
      json.putNull("bos_token_id");
    }
    if (eosTokenId >= 0) {
      json.put("eos_token_id", eosTokenId);
    } else {
      json.putNull("eos_token_id");
    }
    return json;
  }
}
