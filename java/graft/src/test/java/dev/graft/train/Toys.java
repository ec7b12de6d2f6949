package dev.graft.train;

import dev.graft.data.Batch;
import dev.graft.data.BatchSource;
import dev.graft.model.BertConfig;
import dev.graft.model.Gpt2Config;
import dev.graft.model.Network;
import dev.graft.model.Parameters.Parameter;
import dev.graft.model.Task;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.runtime.Philox;
import dev.graft.runtime.Tensor;
import java.nio.ByteBuffer;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.Map;

/** Small networks with dropout, and data drawn from an index, for tests of the trainer. */
final class Toys {
  static final int VOCABULARY = 97;
  static final int LENGTH = 24;

  /** What is trained. */
  enum Kind {
    GPT(Task.CAUSAL_LM),
    BERT_PRETRAINING(Task.PRETRAINING),
    BERT_CLASSIFICATION(Task.SEQUENCE_CLASSIFICATION);

    final Task task;

    Kind(Task task) {
      this.task = task;
    }
  }

  private Toys() {}

  static Network network(Device device, Kind kind, DType dtype, long seed, double dropout) {
    return switch (kind) {
      case GPT ->
          Network.create(
              device,
              Gpt2Config.of(VOCABULARY, LENGTH, 32, 2, 2).withDropout(dropout, dropout, dropout),
              kind.task,
              dtype,
              seed);
      case BERT_PRETRAINING, BERT_CLASSIFICATION ->
          Network.create(
              device,
              BertConfig.of(VOCABULARY, LENGTH, 32, 2, 2, 64)
                  .withDropout(dropout, dropout, dropout)
                  .withLabels(
                      kind == Kind.BERT_CLASSIFICATION
                          ? java.util.List.of("a", "b", "c")
                          : java.util.List.of()),
              kind.task,
              dtype,
              seed);
    };
  }

  /** Sequences of uneven length, each a function of (seed, its number). */
  static class Source implements BatchSource {
    private final Kind kind;
    private final int sequences;
    private final long seed;

    Source(Kind kind, int sequences, long seed) {
      this.kind = kind;
      this.sequences = sequences;
      this.seed = seed;
    }

    @Override
    public void fill(long index, Batch batch) {
      batch.begin();
      for (int i = 0; i < sequences; i++) {
        sequence(index * sequences + i, batch);
      }
      batch.finish();
    }

    private void sequence(long number, Batch batch) {
      long key = Philox.streamKey(seed, number, 7);
      int length = 3 + (int) ((key >>> 8) % (LENGTH - 2));
      int first = (int) ((key >>> 20) & 63);
      int stride = 1 + (int) ((key >>> 40) & 7);
      batch.beginSequence(kind == Kind.GPT ? Batch.IGNORED : (int) ((key >>> 50) % 2));
      for (int t = 0; t < length; t++) {
        int id = (first + t * stride) % VOCABULARY;
        int next = (first + (t + 1) * stride) % VOCABULARY;
        int label =
            switch (kind) {
              case GPT -> t + 1 < length ? next : Batch.IGNORED;
              case BERT_PRETRAINING -> t % 4 == 1 ? next : Batch.IGNORED;
              case BERT_CLASSIFICATION -> Batch.IGNORED;
            };
        batch.addToken(id, t, kind == Kind.GPT ? 0 : t * 2 / length, label);
      }
    }

    @Override
    public long batchesPerEpoch() {
      return 10;
    }

    @Override
    public Batch newBatch() {
      return new Batch(sequences * LENGTH, sequences, LENGTH);
    }

    @Override
    public String fingerprint() {
      return "toy " + kind + " " + sequences + " " + seed;
    }
  }

  /** Every bit that decides how a run goes on: weights, the copies kernels read, moments. */
  static Map<String, String> state(Network network) {
    Map<String, String> state = new LinkedHashMap<>();
    for (Parameter p : network.parameters().all()) {
      state.put("weight " + p.name(), hash(p.weight()));
      state.put("compute " + p.name(), hash(p.compute()));
      state.put("m " + p.name(), hash(p.firstMoment()));
      state.put("v " + p.name(), hash(p.secondMoment()));
    }
    return state;
  }

  /** Master weights alone. */
  static Map<String, String> weights(Network network) {
    Map<String, String> state = new LinkedHashMap<>();
    for (Parameter p : network.parameters().all()) {
      state.put(p.name(), hash(p.weight()));
    }
    return state;
  }

  static String hash(Tensor tensor) {
    float[] values = tensor.floats();
    ByteBuffer bytes = ByteBuffer.allocate(4 * values.length);
    for (float value : values) {
      bytes.putInt(Float.floatToRawIntBits(value));
    }
    return HexFormat.of().formatHex(Durable.sha256().digest(bytes.array()));
  }
}
