package dev.graft.model;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.IntStream;

/** BERT's config.json; the fields carry its names in Java's spelling. */
public record BertConfig(
    int vocabSize,
    int maxPositions,
    int channels,
    int layers,
    int heads,
    int intermediateChannels,
    int typeVocabSize,
    String activation,
    double layerNormEps,
    double hiddenDropout,
    double attentionDropout,
    double classifierDropout,
    double initializerRange,
    int padTokenId,
    List<String> labels)
    implements ModelConfig {

  public BertConfig {
    labels = List.copyOf(labels);
  }

  /** The published defaults for a shape: GELU in its erf form, dropout 0.1, two segments. */
  public static BertConfig of(
      int vocabSize, int maxPositions, int channels, int layers, int heads, int intermediate) {
    new Fields(Path.of("bert config"), Json.object()).heads(channels, heads);
    return new BertConfig(
        vocabSize,
        maxPositions,
        channels,
        layers,
        heads,
        intermediate,
        2,
        "gelu",
        1e-12,
        0.1,
        0.1,
        0.1,
        0.02,
        0,
        List.of());
  }

  static BertConfig fromJson(Path file, ObjectNode json) {
    Fields f = new Fields(file, json);
    f.refuse("is_decoder", false);
    f.refuse("add_cross_attention", false);
    f.refuse("tie_word_embeddings", true);
    String positions = json.path("position_embedding_type").asText("absolute");
    if (!positions.equals("absolute")) {
      throw InvalidInputException.of(
          file, "position_embedding_type: '" + positions + "' is not supported");
    }
    int channels = f.positive("hidden_size");
    int heads = f.positive("num_attention_heads");
    f.heads(channels, heads);
    double hidden = f.probability("hidden_dropout_prob", 0.1);
    return new BertConfig(
        f.positive("vocab_size"),
        f.positive("max_position_embeddings"),
        channels,
        f.positive("num_hidden_layers"),
        heads,
        f.positive("intermediate_size"),
        f.positive("type_vocab_size", 2),
        f.activation("hidden_act", "gelu"),
        f.number("layer_norm_eps", 1e-12),
        hidden,
        f.probability("attention_probs_dropout_prob", 0.1),
        f.probability("classifier_dropout", hidden),
        f.number("initializer_range", 0.02),
        json.path("pad_token_id").asInt(0),
        labels(f, json));
  }

  /** A published classifier of the two default classes, LABEL_0 and LABEL_1, does not name them. */
  private static List<String> labels(Fields fields, ObjectNode json) {
    List<String> named = fields.labels();
    boolean classifier =
        json.path("architectures").path(0).asText("").equals("BertForSequenceClassification");
    if (!named.isEmpty() || !classifier) {
      return named;
    }
    return IntStream.range(0, fields.positive("num_labels", 2))
        .mapToObj(i -> "LABEL_" + i)
        .toList();
  }

  @Override
  public String modelType() {
    return "bert";
  }

  @Override
  public BertConfig withLabels(List<String> newLabels) {
    return new BertConfig(
        vocabSize,
        maxPositions,
        channels,
        layers,
        heads,
        intermediateChannels,
        typeVocabSize,
        activation,
        layerNormEps,
        hiddenDropout,
        attentionDropout,
        classifierDropout,
        initializerRange,
        padTokenId,
        newLabels);
  }

  @Override
  public BertConfig withVocabSize(int size) {
    return new BertConfig(
        size,
        maxPositions,
        channels,
        layers,
        heads,
        intermediateChannels,
        typeVocabSize,
        activation,
        layerNormEps,
        hiddenDropout,
        attentionDropout,
        classifierDropout,
        initializerRange,
        padTokenId,
        labels);
  }

  @Override
  public BertConfig withDropout(double hidden, double attention, double classifier) {
    return new BertConfig(
        vocabSize,
        maxPositions,
        channels,
        layers,
        heads,
        intermediateChannels,
        typeVocabSize,
        activation,
        layerNormEps,
        hidden,
        attention,
        classifier,
        initializerRange,
        padTokenId,
        labels);
  }

  @Override
  public ObjectNode toJson(Task task) {
    ObjectNode json = Json.object();
    json.putArray("architectures")
        .add(
            switch (task) {
              case MASKED_LM -> "BertForMaskedLM";
              case PRETRAINING -> "BertForPreTraining";
              case SEQUENCE_CLASSIFICATION -> "BertForSequenceClassification";
              default -> "BertModel";
            });
    json.put("model_type", "bert")
        .put("vocab_size", vocabSize)
        .put("max_position_embeddings", maxPositions)
        .put("hidden_size", channels)
        .put("num_hidden_layers", layers)
        .put("num_attention_heads", heads)
        .put("intermediate_size", intermediateChannels)
        .put("type_vocab_size", typeVocabSize)
        .put("hidden_act", activation)
        .put("layer_norm_eps", layerNormEps)
        .put("hidden_dropout_prob", hiddenDropout)
        .put("attention_probs_dropout_prob", attentionDropout)
        .put("classifier_dropout", classifierDropout)
        .put("initializer_range", initializerRange)
        .put("position_embedding_type", "absolute")
        .put("pad_token_id", padTokenId)
        .put("tie_word_embeddings", true);
    ModelConfig.putLabels(json, labels);
    return json;
  }
}
