package dev.graft.model;

import dev.graft.io.WeightSource;

/**
 * What a family calls its tensors, without the {@code .weight} and {@code .bias} at the end.
 *
 * @param prefix of the body, absent in checkpoints of the body alone
 * @param layers of a block, before its number
 * @param query inside a block, as the seven after it
 * @param transform of the masked-word head, as the two after it
 * @param decoder projects on the vocabulary; tied to the word embeddings unless config.json says no
 * @param decoderBias whole name of the bias where the decoder is tied; untied it is the decoder's
 * @param pooler dense layer on the first token in the base model, null if there is none
 * @param sequenceDense the same in front of the classes of sequences
 * @param sequenceClasses projects on the classes
 */
record EncoderNames(
    String prefix,
    String layers,
    String query,
    String key,
    String value,
    String attentionOut,
    String attentionNorm,
    String inner,
    String outer,
    String outputNorm,
    String transform,
    String transformNorm,
    String decoder,
    String decoderBias,
    String pooler,
    String sequenceDense,
    String sequenceClasses) {
  /** BERT's alone. */
  static final String NEXT_SENTENCE = "cls.seq_relationship";

  /** Every family's: classes of tokens, scores of choices. */
  static final String CLASSIFIER = "classifier";

  /** Every family's: beginning and end of an answer. */
  static final String ANSWERS = "qa_outputs";

  static EncoderNames of(EncoderFamily family) {
    return switch (family) {
      case BERT ->
          bertLayers(
              "bert.",
              "cls.predictions.transform.dense",
              "cls.predictions.transform.LayerNorm",
              "cls.predictions.decoder",
              "cls.predictions.bias",
              "bert.pooler.dense",
              "classifier");
      case ROBERTA ->
          bertLayers(
              "roberta.",
              "lm_head.dense",
              "lm_head.layer_norm",
              "lm_head.decoder",
              "lm_head.bias",
              "classifier.dense",
              "classifier.out_proj");
      case DISTILBERT ->
          new EncoderNames(
              "distilbert.",
              "distilbert.transformer.layer.",
              "attention.q_lin",
              "attention.k_lin",
              "attention.v_lin",
              "attention.out_lin",
              "sa_layer_norm",
              "ffn.lin1",
              "ffn.lin2",
              "output_layer_norm",
              "vocab_transform",
              "vocab_layer_norm",
              "vocab_projector",
              "vocab_projector.bias",
              null,
              "pre_classifier",
              "classifier");
    };
  }

  private static EncoderNames bertLayers(
      String prefix,
      String transform,
      String transformNorm,
      String decoder,
      String decoderBias,
      String sequenceDense,
      String sequenceClasses) {
    return new EncoderNames(
        prefix,
        prefix + "encoder.layer.",
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
        "attention.output.LayerNorm",
        "intermediate.dense",
        "output.dense",
        "output.LayerNorm",
        transform,
        transformNorm,
        decoder,
        decoderBias,
        prefix + "pooler.dense",
        sequenceDense,
        sequenceClasses);
  }

  /** The word embeddings' tensor. */
  String words() {
    return prefix + "embeddings.word_embeddings.weight";
  }

  /** What a checkpoint is for, by the heads it holds. */
  Task taskOf(WeightSource weights) {
    boolean words = PublishedNames.find(weights, transform + ".weight") != null;
    if (words) {
      boolean sentences = PublishedNames.find(weights, NEXT_SENTENCE + ".weight") != null;
      return sentences ? Task.PRETRAINING : Task.MASKED_LM;
    }
    if (PublishedNames.find(weights, ANSWERS + ".weight") != null) {
      return Task.QUESTION_ANSWERING;
    }
    // A head of the same name may stand on every token: those models have no pooler.
    boolean dense =
        PublishedNames.find(weights, sequenceDense + ".weight") != null
            || pooler != null && PublishedNames.find(weights, pooler + ".weight") != null;
    if (PublishedNames.find(weights, sequenceClasses + ".weight") != null && dense) {
      return Task.SEQUENCE_CLASSIFICATION;
    }
    return PublishedNames.find(weights, CLASSIFIER + ".weight") != null
        ? Task.TOKEN_CLASSIFICATION
        : Task.BASE;
  }

  /** Whether a tensor belongs to a head or the pooler, so that a checkpoint may lack it. */
  boolean isHead(String tensor) {
    return !tensor.startsWith(prefix) || pooler != null && tensor.startsWith(pooler);
  }
}
