package dev.graft.dist;

import dev.graft.data.Batch;
import dev.graft.data.BatchSource;
import dev.graft.model.BertConfig;
import dev.graft.model.Gpt2Config;
import dev.graft.model.Network;
import dev.graft.model.Task;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.runtime.Philox;

/** Small networks with dropout, and sequences of uneven length, each a function of its number. */
enum Toy {
  GPT,
  BERT;

  private static final int VOCABULARY = 97;
  private static final int LENGTH = 24;
  private static final int SEQUENCES = 5;
  private static final double DROPOUT = 0.2;

  Network network(Device device, long seed) {
    return this == GPT
        ? Network.create(
            device,
            Gpt2Config.of(VOCABULARY, LENGTH, 32, 2, 2).withDropout(DROPOUT, DROPOUT, DROPOUT),
            Task.CAUSAL_LM,
            DType.FLOAT32,
            seed)
        : Network.create(
            device,
            BertConfig.of(VOCABULARY, LENGTH, 32, 2, 2, 64).withDropout(DROPOUT, DROPOUT, DROPOUT),
            Task.PRETRAINING,
            DType.FLOAT32,
            seed);
  }

  BatchSource source() {
    return new BatchSource() {
      @Override
      public void fill(long index, Batch batch) {
        batch.begin();
        for (int i = 0; i < SEQUENCES; i++) {
          sequence(index * SEQUENCES + i, batch);
        }
        batch.finish();
      }

      @Override
      public long batchesPerEpoch() {
        return 12;
      }

      @Override
      public Batch newBatch() {
        return new Batch(SEQUENCES * LENGTH, SEQUENCES, LENGTH);
      }

      @Override
      public String fingerprint() {
        return "toy " + Toy.this;
      }
    };
  }

  private void sequence(long number, Batch batch) {
    long key = Philox.streamKey(3, number, 7);
    int length = 3 + (int) ((key >>> 8) % (LENGTH - 2));
    int first = (int) ((key >>> 20) & 63);
    int stride = 1 + (int) ((key >>> 40) & 7);
    batch.beginSequence(this == GPT ? Batch.IGNORED : (int) ((key >>> 50) % 2));
    for (int t = 0; t < length; t++) {
      int next = (first + (t + 1) * stride) % VOCABULARY;
      boolean labelled = this == GPT ? t + 1 < length : t % 4 == 1;
      batch.addToken(
          (first + t * stride) % VOCABULARY,
          t,
          this == GPT ? 0 : t * 2 / length,
          labelled ? next : Batch.IGNORED);
    }
  }
}
