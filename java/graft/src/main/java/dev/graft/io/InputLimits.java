package dev.graft.io;

/**
 * What bytes from outside may ask for at most. Every reader of files checks against this table, so
 * that a damaged or hostile file ends in an {@link InvalidInputException} and never takes the
 * machine's memory.
 */
public final class InputLimits {
  /** Bytes of a JSON file; the largest published tokenizer.json have some 35 MB. */
  public static final long JSON_FILE = 128L << 20;

  /** Objects and arrays inside each other. */
  public static final int JSON_DEPTH = 200;

  /** Characters of a JSON string. */
  public static final int JSON_STRING = 64 << 20;

  /** Digits of a JSON number. */
  public static final int JSON_NUMBER = 400;

  /** Bytes of a safetensors header, as the format's reference library allows. */
  public static final long SAFETENSORS_HEADER = 100L << 20;

  /** Files of a checkpoint in several. */
  public static final int SHARDS = 1000;

  /** Bytes of the pickles of a PyTorch checkpoint; that of a model of 1.5 B numbers has 0.2 MB. */
  public static final long PICKLE = 16L << 20;

  /** Objects such a pickle makes. */
  public static final int PICKLE_OBJECTS = 1 << 20;

  /** Bytes of the directory of a zip archive. */
  public static final int ZIP_DIRECTORY = 64 << 20;

  /** Axes of a tensor. */
  public static final int TENSOR_AXES = 64;

  /** Characters of vocab.txt or merges.txt. */
  public static final int VOCABULARY_FILE = 64 << 20;

  /** Token ids lie below. */
  public static final int TOKEN_ID = 1 << 24;

  /** Characters of a line, or of a CSV record with its line ends. */
  public static final int LINE = 64 << 20;

  /** Bytes of a hub's list of a model's files. */
  public static final long HUB_LISTING = 16L << 20;

  private InputLimits() {}
}
