package dev.graft.train;

import dev.graft.data.Batch;
import dev.graft.data.BatchSource;
import dev.graft.model.EvalStep;
import dev.graft.model.Limits;
import dev.graft.model.Network;

/** The batches an evaluator judges by, and the programs it recorded for the network it sees. */
final class JudgedBatches implements AutoCloseable {
  private final BatchSource source;
  private final Batch batch;
  private Network network;
  private EvalStep step;

  JudgedBatches(BatchSource source) {
    this.source = source;
    this.batch = source.newBatch();
  }

  /** A step of a network; recorded programs stay as long as it is the same one. */
  EvalStep on(Network evaluated) {
    evaluated.device().activate();
    if (network != evaluated) {
      close();
      network = evaluated;
      step = new EvalStep(evaluated, Limits.of(batch));
    }
    return step;
  }

  /** Batches of a whole pass. */
  long count() {
    return source.batchesPerEpoch();
  }

  /** One of them, in the place of the one before. */
  Batch get(long index) {
    source.fill(index, batch);
    return batch;
  }

  @Override
  public void close() {
    if (step != null) {
      step.close();
      step = null;
      network = null;
    }
  }

  /** The index of the largest, of equal ones the first. */
  static int highest(float[] logits) {
    int best = 0;
    for (int i = 1; i < logits.length; i++) {
      best = logits[i] > logits[best] ? i : best;
    }
    return best;
  }
}
