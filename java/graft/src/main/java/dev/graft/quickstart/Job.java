package dev.graft.quickstart;

/** The trainings a quickstart is made of. */
public enum Job {
  /** The GPT learns to write. */
  GPT,
  /** The BERT learns the language of the questions, without labels. */
  PRETRAINING,
  /** A fresh BERT learns the intents from the few labelled questions. */
  SCRATCH,
  /** The pretrained BERT learns the intents from the same questions. */
  TRANSFER;

  /** As JSON lines name it. */
  public String label() {
    return name().toLowerCase(java.util.Locale.ROOT);
  }
}
