package dev.graft.data;

import dev.graft.io.InvalidInputException;

/**
 * A whole split in order, in windows that do not overlap: every token but the first is predicted
 * exactly once, the last and shorter window included.
 */
public final class CausalEvalSource implements BatchSource {
  private final TokenRange tokens;
  private final int context;
  private final int batchSize;

  public CausalEvalSource(TokenRange tokens, int context, int batchSize) {
    if (context < 1 || batchSize < 1) {
      throw new IllegalArgumentException(
          "expected positive sizes, got a context of " + context + ", a batch of " + batchSize);
    }
    if (tokens.size() < 2) {
      throw new InvalidInputException(
          "the validation text has " + tokens.size() + " tokens; it needs at least 2");
    }
    this.tokens = tokens;
    this.context = context;
    this.batchSize = batchSize;
  }

  private long windows() {
    return (tokens.size() - 2) / context + 1;
  }

  @Override
  public long batchesPerEpoch() {
    return (windows() + batchSize - 1) / batchSize;
  }

  @Override
  public Batch newBatch() {
    return new Batch(Math.multiplyExact(batchSize, context), batchSize, context);
  }

  @Override
  public void fill(long index, Batch batch) {
    batch.begin();
    long first = index % batchesPerEpoch() * batchSize;
    for (long w = first; w < Math.min(first + batchSize, windows()); w++) {
      long start = w * context;
      int length = (int) Math.min(context, tokens.size() - 1 - start);
      batch.beginSequence(Batch.IGNORED);
      for (int i = 0; i < length; i++) {
        batch.addToken(tokens.token(start + i), i, 0, tokens.token(start + i + 1));
      }
    }
    batch.finish();
  }

  @Override
  public String fingerprint() {
    return "causal evaluation " + tokens.fingerprint() + " context=" + context;
  }
}
