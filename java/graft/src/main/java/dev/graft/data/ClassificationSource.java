package dev.graft.data;

import dev.graft.text.Encoding;
import java.util.Arrays;
import java.util.List;

/** Batches of encoded texts with a class each, packed without padding. */
public final class ClassificationSource implements BatchSource {
  private final List<Encoding> encodings;
  private final int[] labels;
  private final EpochOrder order;
  private final int longest;
  private final int maxBatchTokens;

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
    this.order = new EpochOrder(encodings.size(), batchSize, shuffle, seed);
    int[] lengths = encodings.stream().mapToInt(Encoding::length).toArray();
    longest = Math.max(1, Arrays.stream(lengths).max().getAsInt());
    maxBatchTokens = Math.max(1, order.largestBatch(lengths));
  }

  @Override
  public long batchesPerEpoch() {
    return order.batchesPerEpoch();
  }

  @Override
  public Batch newBatch() {
    return new Batch(maxBatchTokens, order.batchSize(), longest);
  }

  @Override
  public void fill(long index, Batch batch) {
    batch.begin();
    for (int place = 0; place < order.batchSize(); place++) {
      int example = order.example(index, place);
      if (example < 0) {
        break;
      }
      add(batch, example);
    }
    batch.finish();
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
    return order.fingerprint("classification", hash);
  }
}
