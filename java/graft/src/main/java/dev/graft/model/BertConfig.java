package dev.graft.model;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.Json;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.IntStream;

/**
 * config.json of BERT, RoBERTa and DistilBERT; the fields carry BERT's names in Java's spelling.
 *
 * @param maxPositions longest text in tokens; RoBERTa's position table has {@link #positionOffset}
 *     rows more
 * @param typeVocabSize segments; 0 if tokens are not told apart by them
 * @param pooler whether the base model has one
 * @param answerDropout in front of DistilBERT's head for answers, 0 in the others
 * @param tiedHead whether the masked-word head projects by the word embeddings
 * @param problemType what a sequence classifier's outputs mean
 */
public record BertConfig(
    EncoderFamily family,
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
    double answerDropout,
    double initializerRange,
    int padTokenId,
    boolean pooler,
    boolean tiedHead,
    List<String> labels,
    ProblemType problemType)
    implements ModelConfig {
  private static final double DISTILBERT_EPS = 1e-12;

  public BertConfig {
    labels = List.copyOf(labels);
  }

  /** A BERT of the published defaults: GELU in its erf form, dropout 0.1, two segments. */
  public static BertConfig of(
      int vocabSize, int maxPositions, int channels, int layers, int heads, int intermediate) {
    return of(EncoderFamily.BERT, vocabSize, maxPositions, channels, layers, heads, intermediate);
  }

  /** The published defaults of a family for a shape. */
  public static BertConfig of(
      EncoderFamily family,
      int vocabSize,
      int maxPositions,
      int channels,
      int layers,
      int heads,
      int intermediate) {
    new Fields(Path.of(family.modelType() + " config"), Json.object()).heads(channels, heads);
    boolean roberta = family == EncoderFamily.ROBERTA;
    boolean distilBert = family == EncoderFamily.DISTILBERT;
    return new BertConfig(
        family,
        vocabSize,
        maxPositions,
        channels,
        layers,
        heads,
        intermediate,
        distilBert ? 0 : roberta ? 1 : 2,
        "gelu",
        roberta ? 1e-5 : 1e-12,
        0.1,
        0.1,
        distilBert ? 0.2 : 0.1,
        distilBert ? 0.1 : 0,
        0.02,
        roberta ? 1 : 0,
        !distilBert,
        true,
        List.of(),
        ProblemType.SINGLE_LABEL_CLASSIFICATION);
  }

  /** Rows of the position table before the one of a text's first token. */
  int positionOffset() {
    return family == EncoderFamily.ROBERTA ? padTokenId + 1 : 0;
  }

  static BertConfig fromJson(Path file, ObjectNode json, EncoderFamily family) {
    Fields f = new Fields(file, json);
    f.refuse("is_decoder", false);
    f.refuse("add_cross_attention", false);
    return family == EncoderFamily.DISTILBERT ? distilBert(json, f) : bert(f, json, family);
  }

  private static BertConfig bert(Fields f, ObjectNode json, EncoderFamily family) {
    String positions = json.path("position_embedding_type").asText("absolute");
    if (!positions.equals("absolute")) {
      throw f.error("position_embedding_type: '" + positions + "' is not supported");
    }
    int channels = f.positive("hidden_size");
    int heads = f.positive("num_attention_heads");
    f.heads(channels, heads);
    double hidden = f.probability("hidden_dropout_prob", 0.1);
    boolean roberta = family == EncoderFamily.ROBERTA;
    int pad = json.path("pad_token_id").asInt(roberta ? 1 : 0);
    int rows = f.positive("max_position_embeddings");
    if (roberta && (pad < 0 || pad >= rows - 1)) {
      throw f.error(
          "pad_token_id: " + pad + " leaves no position of " + rows + " (max_position_embeddings)");
    }
    return new BertConfig(
        family,
        f.positive("vocab_size"),
        roberta ? rows - pad - 1 : rows,
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
        0,
        f.number("initializer_range", 0.02),
        pad,
        true,
        f.flag("tie_word_embeddings", true),
        labels(f, json, family),
        problemType(f, json, family));
  }

  private static BertConfig distilBert(ObjectNode json, Fields f) {
    int channels = f.positive("dim");
    int heads = f.positive("n_heads");
    f.heads(channels, heads);
    return new BertConfig(
        EncoderFamily.DISTILBERT,
        f.positive("vocab_size"),
        f.positive("max_position_embeddings"),
        channels,
        f.positive("n_layers"),
        heads,
        f.positive("hidden_dim"),
        0,
        f.activation("activation", "gelu"),
        DISTILBERT_EPS,
        f.probability("dropout", 0.1),
        f.probability("attention_dropout", 0.1),
        f.probability("seq_classif_dropout", 0.2),
        f.probability("qa_dropout", 0.1),
        f.number("initializer_range", 0.02),
        json.path("pad_token_id").asInt(0),
        false,
        f.flag("tie_word_embeddings", true),
        labels(f, json, EncoderFamily.DISTILBERT),
        problemType(f, json, EncoderFamily.DISTILBERT));
  }

  private static boolean is(ObjectNode json, EncoderFamily family, Task task) {
    return json.path("architectures").path(0).asText("").equals(family.architecture(task));
  }

  /** A published classifier of the two default classes, LABEL_0 and LABEL_1, does not name them. */
  private static List<String> labels(Fields fields, ObjectNode json, EncoderFamily family) {
    List<String> named = fields.labels();
    boolean classifier =
        is(json, family, Task.SEQUENCE_CLASSIFICATION)
            || is(json, family, Task.TOKEN_CLASSIFICATION);
    if (!named.isEmpty() || !classifier) {
      return named;
    }
    return IntStream.range(0, fields.positive("num_labels", 2))
        .mapToObj(i -> "LABEL_" + i)
        .toList();
  }

  /** A published sequence classifier of one output that says no more is a regression. */
  private static ProblemType problemType(Fields fields, ObjectNode json, EncoderFamily family) {
    String told = json.path("problem_type").asText("");
    for (ProblemType type : ProblemType.values()) {
      if (type.publishedName().equals(told)) {
        return type;
      }
    }
    if (json.hasNonNull("problem_type")) {
      throw fields.error("problem_type: '" + told + "' is not known");
    }
    return is(json, family, Task.SEQUENCE_CLASSIFICATION)
            && labels(fields, json, family).size() == 1
        ? ProblemType.REGRESSION
        : ProblemType.SINGLE_LABEL_CLASSIFICATION;
  }

  @Override
  public String modelType() {
    return family.modelType();
  }

  @Override
  public BertConfig withLabels(List<String> newLabels) {
    return with(
        vocabSize,
        hiddenDropout,
        attentionDropout,
        classifierDropout,
        pooler,
        tiedHead,
        newLabels,
        problemType);
  }

  @Override
  public BertConfig withVocabSize(int size) {
    return with(
        size,
        hiddenDropout,
        attentionDropout,
        classifierDropout,
        pooler,
        tiedHead,
        labels,
        problemType);
  }

  @Override
  public BertConfig withDropout(double hidden, double attention, double classifier) {
    return with(vocabSize, hidden, attention, classifier, pooler, tiedHead, labels, problemType);
  }

  /** The same shape, its base model with or without a pooler. */
  public BertConfig withPooler(boolean there) {
    return with(
        vocabSize,
        hiddenDropout,
        attentionDropout,
        classifierDropout,
        there,
        tiedHead,
        labels,
        problemType);
  }

  /** The same shape, its masked-word head tied to the word embeddings or not. */
  public BertConfig withTiedHead(boolean tied) {
    return with(
        vocabSize,
        hiddenDropout,
        attentionDropout,
        classifierDropout,
        pooler,
        tied,
        labels,
        problemType);
  }

  /** The same shape, a sequence classifier's outputs meaning something else. */
  public BertConfig withProblemType(ProblemType type) {
    return with(
        vocabSize,
        hiddenDropout,
        attentionDropout,
        classifierDropout,
        pooler,
        tiedHead,
        labels,
        type);
  }

  private BertConfig with(
      int vocabulary,
      double hidden,
      double attention,
      double classifier,
      boolean hasPooler,
      boolean tied,
      List<String> names,
      ProblemType type) {
    return new BertConfig(
        family,
        vocabulary,
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
        classifier == 0 ? 0 : answerDropout,
        initializerRange,
        padTokenId,
        hasPooler,
        tied,
        names,
        type);
  }

  @Override
  public ObjectNode toJson(Task task) {
    ObjectNode json = Json.object();
    json.putArray("architectures").add(family.architecture(task));
    json.put("model_type", family.modelType()).put("vocab_size", vocabSize);
    json.put("max_position_embeddings", maxPositions + positionOffset());
    if (family == EncoderFamily.DISTILBERT) {
      json.put("dim", channels)
          .put("n_layers", layers)
          .put("n_heads", heads)
          .put("hidden_dim", intermediateChannels)
          .put("activation", activation)
          .put("dropout", hiddenDropout)
          .put("attention_dropout", attentionDropout)
          .put("seq_classif_dropout", classifierDropout)
          .put("qa_dropout", answerDropout)
          .put("sinusoidal_pos_embds", false);
    } else {
      json.put("hidden_size", channels)
          .put("num_hidden_layers", layers)
          .put("num_attention_heads", heads)
          .put("intermediate_size", intermediateChannels)
          .put("type_vocab_size", typeVocabSize)
          .put("hidden_act", activation)
          .put("layer_norm_eps", layerNormEps)
          .put("hidden_dropout_prob", hiddenDropout)
          .put("attention_probs_dropout_prob", attentionDropout)
          .put("classifier_dropout", classifierDropout)
          .put("position_embedding_type", "absolute");
    }
    json.put("initializer_range", initializerRange)
        .put("pad_token_id", padTokenId)
        .put("tie_word_embeddings", tiedHead);
    if (task == Task.SEQUENCE_CLASSIFICATION) {
      json.put("problem_type", problemType.publishedName());
    }
    ModelConfig.putLabels(json, labels);
    return json;
  }
}
