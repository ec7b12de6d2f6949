package dev.graft.apply;

import dev.graft.data.Batch;
import dev.graft.data.Example;
import dev.graft.model.EvalStep;
import dev.graft.model.Limits;
import dev.graft.model.Network;
import dev.graft.text.Encoding;
import java.util.List;
import java.util.function.BiConsumer;

/**
 * Forward passes over texts in packed batches of one capacity, so that a bucket's program is
 * recorded when it first comes and replayed ever after, whatever the lengths.
 */
final class PackedForward implements AutoCloseable {
  /** Most tokens of a batch (but one text always fits): activations stay small, products large. */
  private static final int TOKENS = 4096;

  private final Batch batch;
  private final EvalStep step;

  /**
   * @param maxLength longest text in tokens
   * @param batchSize most texts computed together
   */
  PackedForward(Network network, int maxLength, int batchSize) {
    long all = (long) maxLength * batchSize;
    batch = new Batch((int) Math.max(maxLength, Math.min(TOKENS, all)), batchSize, maxLength);
    step = new EvalStep(network, Limits.of(batch));
  }

  /**
   * Computes texts in order.
   *
   * @param sink reads each batch's outputs; its live sequences are the next texts
   */
  void run(List<Encoding> texts, BiConsumer<EvalStep, Batch> sink) {
    batch.begin();
    for (Encoding text : texts) {
      if (batch.sequences > 0 && !fits(1, text.length())) {
        flush(sink);
      }
      batch.beginSequence(Batch.IGNORED);
      for (int i = 0; i < text.length(); i++) {
        batch.addToken(text.ids()[i], i, text.typeIds()[i], Batch.IGNORED);
      }
    }
    if (batch.sequences > 0) {
      flush(sink);
    }
  }

  /**
   * Computes examples in order; those without labels.
   *
   * @param sink reads each batch's outputs; its sequences are those of the next examples
   */
  void runExamples(List<? extends Example> examples, BiConsumer<EvalStep, Batch> sink) {
    batch.begin();
    for (Example example : examples) {
      if (batch.sequences > 0 && !fits(example.sequences(), example.tokens())) {
        flush(sink);
      }
      example.addTo(batch);
    }
    if (batch.sequences > 0) {
      flush(sink);
    }
  }

  private boolean fits(int sequences, int tokens) {
    return batch.sequences + sequences <= batch.maxLiveSequences()
        && batch.liveTokens + tokens <= batch.maxTokens();
  }

  private void flush(BiConsumer<EvalStep, Batch> sink) {
    sink.accept(step, batch.finish());
    batch.begin();
  }

  @Override
  public void close() {
    step.close();
  }
}
