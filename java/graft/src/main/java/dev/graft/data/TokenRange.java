package dev.graft.data;

/**
 * A run of a corpus: tokens {@code [begin, end)}.
 *
 * @param shards the corpus
 */
public record TokenRange(TokenShards shards, long begin, long end) {
  public TokenRange {
    if (begin < 0 || end < begin || end > shards.tokens()) {
      throw new IllegalArgumentException("tokens " + begin + ".." + end + " of " + shards.tokens());
    }
  }

  public long size() {
    return end - begin;
  }

  /** Token {@code index} of the run. */
  public int token(long index) {
    return shards.token(begin + index);
  }

  /** The first {@code share} of the run. */
  public TokenRange head(double share) {
    return new TokenRange(shards, begin, begin + (long) (share * size()));
  }

  /** What {@link #head} leaves. */
  public TokenRange tail(double share) {
    return new TokenRange(shards, begin + (long) (share * size()), end);
  }

  public String fingerprint() {
    return shards.fingerprint() + ":" + begin + "-" + end;
  }
}
