package dev.graft.data;

/** What a loss is computed of: one sequence, or the several of a question. */
public interface Example {
  /** Sequences it takes. */
  int sequences();

  /** Tokens of all of them. */
  int tokens();

  /** Tokens of the longest. */
  int longest();

  /** Adds its sequences to a batch, labels included. */
  void addTo(Batch batch);

  /** Of tokens and labels: the same in every run. */
  int contentHash();
}
