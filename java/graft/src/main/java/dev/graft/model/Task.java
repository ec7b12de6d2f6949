package dev.graft.model;

/** What a network is asked for: which head it carries and which loss it has. */
public enum Task {
  /** No head: hidden states (and BERT's pooler). */
  BASE,
  /** GPT-2: the next token. */
  CAUSAL_LM,
  /** BERT: the masked words. */
  MASKED_LM,
  /** BERT: the masked words and whether the second segment follows the first. */
  PRETRAINING,
  /** Encoders: classes, labels or numbers for the sequence; see {@link ProblemType}. */
  SEQUENCE_CLASSIFICATION,
  /** Encoders: a class for each token. */
  TOKEN_CLASSIFICATION,
  /** Encoders: where an answer begins and where it ends. */
  QUESTION_ANSWERING,
  /** Encoders: which of several sequences is right. */
  MULTIPLE_CHOICE;

  /** Whether the head needs the names of its classes. */
  public boolean hasLabels() {
    return this == SEQUENCE_CLASSIFICATION || this == TOKEN_CLASSIFICATION;
  }
}
