package dev.graft.verify;

import dev.graft.data.Batch;
import dev.graft.model.BertConfig;
import dev.graft.model.Gpt2Config;
import dev.graft.model.ModelConfig;
import dev.graft.model.Task;
import dev.graft.runtime.Philox;
import java.util.List;

/** Networks that are small and have every op of their family, and batches for them. */
enum SmallModel {
  GPT2(Task.CAUSAL_LM),
  BERT_PRETRAINING(Task.PRETRAINING),
  BERT_CLASSIFICATION(Task.SEQUENCE_CLASSIFICATION);

  private static final int VOCABULARY = 97;
  private static final int LENGTH = 24;
  private static final int SEQUENCES = 5;

  final Task task;

  SmallModel(Task task) {
    this.task = task;
  }

  ModelConfig config(double dropout) {
    return this == GPT2
        ? Gpt2Config.of(VOCABULARY, LENGTH, 32, 2, 2).withDropout(dropout, dropout, dropout)
        : BertConfig.of(VOCABULARY, LENGTH, 32, 2, 2, 64)
            .withDropout(dropout, dropout, dropout)
            .withLabels(this == BERT_CLASSIFICATION ? List.of("a", "b", "c") : List.of());
  }

  static Batch newBatch() {
    return new Batch(SEQUENCES * LENGTH, SEQUENCES, LENGTH);
  }

  /** Sequences of uneven length, a function of the number. */
  void fill(long number, Batch batch) {
    batch.begin();
    for (int i = 0; i < SEQUENCES; i++) {
      Philox random = new Philox(3, 7, number * SEQUENCES + i);
      int length = 3 + random.nextInt(LENGTH - 2);
      int first = random.nextInt(VOCABULARY);
      int stride = 1 + random.nextInt(7);
      batch.beginSequence(this == GPT2 ? Batch.IGNORED : random.nextInt(2));
      for (int t = 0; t < length; t++) {
        int id = (first + t * stride) % VOCABULARY;
        int next = (first + (t + 1) * stride) % VOCABULARY;
        int label =
            switch (this) {
              case GPT2 -> t + 1 < length ? next : Batch.IGNORED;
              case BERT_PRETRAINING -> t % 4 == 1 ? next : Batch.IGNORED;
              case BERT_CLASSIFICATION -> Batch.IGNORED;
            };
        batch.addToken(id, t, this == GPT2 ? 0 : t * 2 / length, label);
      }
    }
    batch.finish();
  }
}
