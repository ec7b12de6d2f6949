package dev.graft.cli;

/** Exit codes, as {@code graft --help} lists them. */
final class ExitCode {
  private ExitCode() {}

  static final int DONE = 0;

  /** A defect of Graft, or the machine failed: the heap, a device, a diverged training. */
  static final int FAILED = 1;

  /** Bad input or wrong usage, or a device with too little memory for it, told in one line. */
  static final int INVALID_INPUT = 2;

  /** SIGINT, after saving: 128 + its number. */
  static final int INTERRUPTED = 130;

  /** Whoever read standard output went away: 128 + SIGPIPE, as for a program killed by it. */
  static final int READER_GONE = 141;

  /** SIGTERM, after saving. */
  static final int TERMINATED = 143;
}
