package dev.graft.data;

import java.util.List;
import java.util.function.ToIntFunction;

/** Batches of examples, packed without padding. */
public final class ExampleSource implements BatchSource {
  private final String task;
  private final List<Example> examples;
  private final int targetColumns;
  private final EpochOrder order;

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
    this.targetColumns = targetColumns;
    this.order = new EpochOrder(examples.size(), batchSize, shuffle, seed);
  }

  /** How many examples. */
  public int size() {
    return examples.size();
  }

  /** The first example of an unshuffled batch. */
  public int firstOf(long batch) {
    return Math.toIntExact(batch * order.batchSize());
  }

  @Override
  public long batchesPerEpoch() {
    return order.batchesPerEpoch();
  }

  private int largest(ToIntFunction<Example> size) {
    return order.largestBatch(examples.stream().mapToInt(size).toArray());
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
    for (int place = 0; place < order.batchSize(); place++) {
      int example = order.example(index, place);
      if (example < 0) {
        break;
      }
      examples.get(example).addTo(batch);
    }
    batch.finish();
  }

  @Override
  public String fingerprint() {
    int hash = 1;
    for (Example example : examples) {
      hash = 31 * hash + example.contentHash();
    }
    return order.fingerprint(task, hash);
  }
}
