package dev.graft.data;

/**
 * Batches by number: filling batch {@code index} is a pure function of the source's seed and the
 * index, so a training run resumes exactly from the index alone. Sources are used by one thread.
 */
public interface BatchSource {
  /** Fills {@code batch} with batch {@code index} ≥ 0; epochs follow each other without end. */
  void fill(long index, Batch batch);

  /** Batches of one pass over the data. */
  long batchesPerEpoch();

  /** A batch with room for any of this source. */
  Batch newBatch();

  /** Hash of the data and of every setting that decides what is drawn; checked at resume. */
  String fingerprint();
}
