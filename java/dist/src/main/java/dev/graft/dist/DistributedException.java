package dev.graft.dist;

/**
 * A process group could not be formed, or a collective failed: another rank ended, does not answer,
 * or disagrees. The message names this process' rank and what it was doing.
 */
public final class DistributedException extends IllegalStateException {
  private static final long serialVersionUID = 1L;

  private final int rank;
  private final int size;

  DistributedException(int rank, int size, String what, Throwable cause) {
    super("rank " + rank + " of " + size + ": " + what, cause);
    this.rank = rank;
    this.size = size;
  }

  /** The rank of the process that throws this. */
  public int rank() {
    return rank;
  }

  /** Ranks of the group. */
  public int size() {
    return size;
  }
}
