package dev.graft.data;

import java.util.Arrays;

/**
 * Which examples make which batch. Shuffled, for training: another order every epoch, whole batches
 * only. Else in order, and the last batch may be smaller.
 */
final class EpochOrder {
  private final int size;
  private final int batchSize;
  private final boolean shuffle;
  private final long seed;
  private long epoch = -1;
  private Permutation permutation;

  /**
   * @param size examples, at least 1
   * @param batchSize examples of a batch, at least 1; no more than there are
   */
  EpochOrder(int size, int batchSize, boolean shuffle, long seed) {
    this.size = size;
    this.batchSize = Math.min(batchSize, size);
    this.shuffle = shuffle;
    this.seed = seed;
  }

  int size() {
    return size;
  }

  int batchSize() {
    return batchSize;
  }

  long batchesPerEpoch() {
    return shuffle ? size / batchSize : (size + batchSize - 1) / batchSize;
  }

  /** The example at a place below {@link #batchSize} of a batch, or −1 behind the last one. */
  int example(long batch, int place) {
    long at = batch % batchesPerEpoch() * batchSize + place;
    if (at >= size) {
      return -1;
    }
    return (int) (shuffle ? shuffled(batch / batchesPerEpoch(), at) : at);
  }

  private long shuffled(long now, long at) {
    if (now != epoch) {
      epoch = now;
      permutation = new Permutation(size, seed, epoch);
    }
    return permutation.apply(at);
  }

  /** What the largest examples come to together: no batch is larger. */
  int largestBatch(int[] sizes) {
    int[] sorted = sizes.clone();
    Arrays.sort(sorted);
    return Arrays.stream(sorted, size - batchSize, size).reduce(0, Math::addExact);
  }

  /**
   * Of a source, for a resume.
   *
   * @param contentHash of the examples
   */
  String fingerprint(String task, int contentHash) {
    return String.join(
        " ",
        task,
        Integer.toHexString(contentHash),
        "examples=" + size,
        "batch=" + batchSize,
        "shuffle=" + shuffle,
        "seed=" + seed);
  }
}
