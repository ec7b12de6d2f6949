package dev.graft.model;

/**
 * Published families of one encoder body; {@link EncoderNames} says what each calls its tensors.
 */
public enum EncoderFamily {
  /** Devlin et al., arXiv:1810.04805. sentence-transformers' MiniLM models are of this layout. */
  BERT("bert", "Bert"),

  /**
   * Liu et al., arXiv:1907.11692: one segment, positions counted from behind the padding token's
   * id, a classification head of its own.
   */
  ROBERTA("roberta", "Roberta"),

  /**
   * Sanh et al., arXiv:1910.01108: no segments, no pooler, no dropout behind the attention's output
   * projection.
   */
  DISTILBERT("distilbert", "DistilBert");

  private final String modelType;
  private final String className;

  EncoderFamily(String modelType, String className) {
    this.modelType = modelType;
    this.className = className;
  }

  /** {@code model_type} in config.json. */
  public String modelType() {
    return modelType;
  }

  /** Whether the family has a head for a task. */
  boolean does(Task task) {
    return task != Task.CAUSAL_LM && (task != Task.PRETRAINING || this == BERT);
  }

  /** The name in {@code architectures} of a model for {@code task}. */
  String architecture(Task task) {
    return className
        + switch (task) {
          case MASKED_LM -> "ForMaskedLM";
          case PRETRAINING -> "ForPreTraining";
          case SEQUENCE_CLASSIFICATION -> "ForSequenceClassification";
          case TOKEN_CLASSIFICATION -> "ForTokenClassification";
          case QUESTION_ANSWERING -> "ForQuestionAnswering";
          case MULTIPLE_CHOICE -> "ForMultipleChoice";
          case BASE -> "Model";
          case CAUSAL_LM -> throw new IllegalArgumentException("an encoder has no causal head");
        };
  }
}
