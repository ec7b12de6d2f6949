package dev.graft.bench;

import dev.graft.model.EncoderFamily;

/**
 * What the published checkpoints of an encoder family call their tensors; written down apart from
 * the library's own table, so that a twin does not take over its slips.
 *
 * @param body before the names of embeddings and layers
 * @param layers before a layer's number
 * @param query inside a layer, as the seven after it
 * @param transform of the masked-word head, as the three after it
 * @param pooler of the base model, null if it has none
 * @param sequenceDense in front of a sequence's classes
 * @param sequenceClasses a sequence's classes
 */
record TwinNames(
    String body,
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
    String tiedBias,
    String pooler,
    String sequenceDense,
    String sequenceClasses) {
  static TwinNames of(EncoderFamily family) {
    return switch (family) {
      case BERT ->
          bert(
              "bert.",
              "cls.predictions.transform.dense",
              "cls.predictions.transform.LayerNorm",
              "cls.predictions.decoder",
              "cls.predictions.bias",
              "bert.pooler.dense",
              "classifier");
      case ROBERTA ->
          bert(
              "roberta.",
              "lm_head.dense",
              "lm_head.layer_norm",
              "lm_head.decoder",
              "lm_head.bias",
              "classifier.dense",
              "classifier.out_proj");
      case DISTILBERT ->
          new TwinNames(
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

  private static TwinNames bert(
      String body,
      String transform,
      String transformNorm,
      String decoder,
      String tiedBias,
      String sequenceDense,
      String sequenceClasses) {
    return new TwinNames(
        body,
        body + "encoder.layer.",
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
        tiedBias,
        body + "pooler.dense",
        sequenceDense,
        sequenceClasses);
  }
}
