package dev.graft.data;

/** What a document is in a file of text. */
public enum DocumentMode {
  /** The whole file. */
  FILE,
  /** One record of a JSON Lines file. */
  JSONL,
  /** A run of lines between blank lines. */
  BLANK_LINE,
  /** One line. */
  LINE
}
