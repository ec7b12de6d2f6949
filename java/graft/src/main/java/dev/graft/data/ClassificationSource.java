package dev.graft.data;

import dev.graft.text.Encoding;
import java.util.Arrays;
import java.util.List;

/** Batches of encoded texts with a class each, packed without padding. */
public final class ClassificationSource implements BatchSource {
  private final List<Encoding> encodings;
  private final int[] labels;
  private final int batchSize;
  private final boolean shuffle;
  private final long seed;
  private final int longest;
  private final int maxBatchTokens;
  private long epoch = -1;
  private Permutation permutation;

  /**
   * @param labels the class of each text, {@link Batch#IGNORED} if it has none
   * @param batchSize texts of a batch
   * @param shuffle true for training: another order every epoch, whole batches only; false: in
   *     order, the last batch may be smaller
   */
  public ClassificationSource(
      List<Encoding> encodings, int[] labels, int batchSize, boolean shuffle, long seed) {
    if (encodings.isEmpty() || encodings.size() != labels.length || batchSize < 1) {
      throw new IllegalArgumentException(
          "expected as many labels as texts and a positive batch, got "
              + labels.length
              + ", "
              + encodings.size()
              + ", "
              + batchSize);
    }
    this.encodings = List.copyOf(encodings);
    this.labels = labels.clone();
    this.batchSize = Math.min(batchSize, encodings.size());
    this.shuffle = shuffle;
    this.seed = seed;
    int[] lengths = encodings.stream().mapToInt(Encoding::length).sorted().toArray();
    longest = Math.max(1, lengths[lengths.length - 1]);
    // No batch is larger than the longest texts together.
    maxBatchTokens =
        Math.max(
            1,
            Arrays.stream(lengths, lengths.length - this.batchSize, lengths.length)
                .reduce(0, Math::addExact));
  }

  @Override
  public long batchesPerEpoch() {
    return shuffle ? encodings.size() / batchSize : (encodings.size() + batchSize - 1) / batchSize;
  }

  @Override
  public Batch newBatch() {
    return new Batch(maxBatchTokens, batchSize, longest);
  }

  @Override
  public void fill(long index, Batch batch) {
    batch.begin();
    long inEpoch = index % batchesPerEpoch();
    for (int b = 0; b < batchSize; b++) {
      long at = inEpoch * batchSize + b;
      if (at >= encodings.size()) {
        break;
      }
      add(batch, (int) (shuffle ? shuffled(index / batchesPerEpoch(), at) : at));
    }
    batch.finish();
  }

  private long shuffled(long now, long at) {
    if (now != epoch) {
      epoch = now;
      permutation = new Permutation(encodings.size(), seed, epoch);
    }
    return permutation.apply(at);
  }

  private void add(Batch batch, int example) {
    Encoding encoding = encodings.get(example);
    batch.beginSequence(labels[example]);
    for (int i = 0; i < encoding.length(); i++) {
      batch.addToken(encoding.ids()[i], i, encoding.typeIds()[i], Batch.IGNORED);
    }
  }

  @Override
  public String fingerprint() {
    int hash = Arrays.hashCode(labels);
    for (Encoding encoding : encodings) {
      hash = 31 * hash + Arrays.hashCode(encoding.ids());
      hash = 31 * hash + Arrays.hashCode(encoding.typeIds());
    }
    return String.join(
        " ",
        "classification",
        Integer.toHexString(hash),
        "examples=" + labels.length,
        "batch=" + batchSize,
        "shuffle=" + shuffle,
        "seed=" + seed);
  }
}
