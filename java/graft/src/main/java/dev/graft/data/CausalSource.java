package dev.graft.data;

import dev.graft.io.InvalidInputException;
import dev.graft.runtime.Philox;

/** Training batches for the next-token objective. */
public final class CausalSource implements BatchSource {
  private static final int STREAM = 0x4353;

  /** How documents become sequences. */
  public enum Packing {
    /** One stream: documents joined by the end token, attention across them. */
    STREAM,
    /** A sequence never holds two documents; positions restart and no label crosses. */
    DOCUMENT
  }

  /** How {@link Packing#STREAM} picks its windows. */
  public enum Sampling {
    /** At random offsets, with replacement, as nanoGPT does. */
    RANDOM,
    /** Every window once an epoch, in random order, from an offset that differs by epoch. */
    EPOCH
  }

  private final TokenRange tokens;
  private final int context;
  private final int batchSize;
  private final Packing packing;
  private final Sampling sampling;
  private final long seed;
  private final Pieces pieces;
  private final Philox random = new Philox(0);
  private long epoch = -1;
  private Permutation permutation;
  private long offset;

  /**
   * @param context tokens of a sequence
   * @param batchSize sequences of a batch
   */
  public CausalSource(
      TokenRange tokens,
      int context,
      int batchSize,
      Packing packing,
      Sampling sampling,
      long seed) {
    if (context < 1 || batchSize < 1) {
      throw new IllegalArgumentException(
          "expected positive sizes, got a context of " + context + ", a batch of " + batchSize);
    }
    this.tokens = tokens;
    this.context = context;
    this.batchSize = batchSize;
    this.packing = packing;
    this.sampling = sampling;
    this.seed = seed;
    pieces = packing == Packing.DOCUMENT ? new Pieces(tokens, context + 1, 1, 2) : null;
    if (packing == Packing.STREAM && tokens.size() < context + 1L) {
      throw new InvalidInputException(
          "the training text has "
              + tokens.size()
              + " tokens, fewer than a context of "
              + context
              + " and its next token; take a smaller context or more text");
    }
    if (pieces != null && pieces.count() == 0) {
      throw new InvalidInputException("no document of the training text has two tokens");
    }
  }

  @Override
  public long batchesPerEpoch() {
    return Math.max(1, sequencesPerEpoch() / batchSize);
  }

  private long sequencesPerEpoch() {
    return pieces != null ? pieces.count() : (tokens.size() - 1) / context;
  }

  @Override
  public Batch newBatch() {
    return new Batch(Math.multiplyExact(batchSize, context), batchSize, context);
  }

  @Override
  public void fill(long index, Batch batch) {
    batch.begin();
    if (pieces == null && sampling == Sampling.RANDOM) {
      random.seek(seed, STREAM, index);
      for (int b = 0; b < batchSize; b++) {
        window(batch, uniform(tokens.size() - context), context);
      }
    } else {
      for (int b = 0; b < batchSize; b++) {
        ordered(batch, index * batchSize + b);
      }
    }
    batch.finish();
  }

  /** A uniform offset in [0, bound), for corpora of any size. */
  private long uniform(long bound) {
    return bound <= Integer.MAX_VALUE
        ? random.nextInt((int) bound)
        : (long) (random.nextDouble() * bound);
  }

  private void ordered(Batch batch, long sequence) {
    long count = sequencesPerEpoch();
    long at = sequence / count;
    if (at != epoch) {
      epoch = at;
      permutation = new Permutation(count, seed, epoch);
      long slack = pieces == null ? tokens.size() - 1 - count * context : 0;
      random.seek(seed, STREAM, epoch);
      offset = slack == 0 ? 0 : uniform(slack + 1);
    }
    long chosen = permutation.apply(sequence % count);
    if (pieces != null) {
      window(batch, pieces.start(chosen), pieces.length(chosen) - 1);
      return;
    }
    window(batch, offset + chosen * context, context);
  }

  private void window(Batch batch, long start, int length) {
    batch.beginSequence(Batch.IGNORED);
    int token = tokens.token(start);
    for (int i = 0; i < length; i++) {
      int next = tokens.token(start + i + 1);
      batch.addToken(token, i, 0, next);
      token = next;
    }
  }

  @Override
  public String fingerprint() {
    return String.join(
        " ",
        "causal",
        tokens.fingerprint(),
        "context=" + context,
        "batch=" + batchSize,
        packing.name(),
        sampling.name(),
        "seed=" + seed);
  }
}
