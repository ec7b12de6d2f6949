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
  /** BERT: a label for the sequence. */
  SEQUENCE_CLASSIFICATION
}
