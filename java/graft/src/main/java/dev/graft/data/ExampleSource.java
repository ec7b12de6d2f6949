package dev.graft.data;

import java.util.Comparator;
import java.util.List;
import java.util.function.ToIntFunction;

/** Batches of examples, packed without padding. */
public final class ExampleSource implements BatchSource {
  private final String task;
  private final List<Example> examples;
  private final int batchSize;
  private final int targetColumns;
  private final boolean shuffle;
  private final long seed;
  private long epoch = -1;
  private Permutation permutation;

  /**
   * Batches of examples.
   *
   * @param task a name for the fingerprint
   * @param batchSize examples of a batch
   * @param targetColumns float targets of a sequence; 0 for tasks without
   * @param shuffle true for training: another order every epoch, whole batches only; false: in
   *     order, the last batch may be smaller
   */
  public ExampleSource(
      String task,
      List<? extends Example> examples,
      int batchSize,
      int targetColumns,
      boolean shuffle,
      long seed) {
    if (examples.isEmpty() || batchSize < 1) {
      throw new IllegalArgumentException(
          "expected examples and a positive batch, got " + examples.size() + ", " + batchSize);
    }
    this.task = task;
    this.examples = List.copyOf(examples);
    this.batchSize = Math.min(batchSize, examples.size());
    this.targetColumns = targetColumns;
    this.shuffle = shuffle;
    this.seed = seed;
  }

  /** How many examples. */
  public int size() {
    return examples.size();
  }

  /** The first example of an unshuffled batch. */
  public int firstOf(long batch) {
    return Math.toIntExact(batch * batchSize);
  }

  @Override
  public long batchesPerEpoch() {
    return shuffle ? examples.size() / batchSize : (examples.size() + batchSize - 1) / batchSize;
  }

  /** No batch is larger than the largest examples together. */
  private int largest(ToIntFunction<Example> size) {
    return examples.stream()
        .map(size::applyAsInt)
        .sorted(Comparator.reverseOrder())
        .limit(batchSize)
        .reduce(0, Math::addExact);
  }

  @Override
  public Batch newBatch() {
    int longest = examples.stream().mapToInt(Example::longest).max().orElse(1);
    return new Batch(
        Math.max(1, largest(Example::tokens)),
        largest(Example::sequences),
        Math.max(1, longest),
        targetColumns);
  }

  @Override
  public void fill(long index, Batch batch) {
    batch.begin();
    long inEpoch = index % batchesPerEpoch();
    for (int b = 0; b < batchSize; b++) {
      long at = inEpoch * batchSize + b;
      if (at >= examples.size()) {
        break;
      }
      long from = shuffle ? shuffled(index / batchesPerEpoch(), at) : at;
      examples.get((int) from).addTo(batch);
    }
    batch.finish();
  }

  private long shuffled(long now, long at) {
    if (now != epoch) {
      epoch = now;
      permutation = new Permutation(examples.size(), seed, epoch);
    }
    return permutation.apply(at);
  }

  @Override
  public String fingerprint() {
    int hash = 1;
    for (Example example : examples) {
      hash = 31 * hash + example.contentHash();
    }
    return String.join(
        " ",
        task,
        Integer.toHexString(hash),
        "examples=" + examples.size(),
        "batch=" + batchSize,
        "shuffle=" + shuffle,
        "seed=" + seed);
  }
}
