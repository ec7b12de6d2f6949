package dev.graft.bench;

import dev.graft.data.Batch;
import dev.graft.data.BatchSource;
import dev.graft.data.CausalSource;
import dev.graft.data.ClassificationSource;
import dev.graft.data.DocumentMode;
import dev.graft.data.MaskedSource;
import dev.graft.data.Masking;
import dev.graft.data.TokenShards;
import dev.graft.model.BertConfig;
import dev.graft.model.Gpt2Config;
import dev.graft.model.Limits;
import dev.graft.model.ModelConfig;
import dev.graft.model.Network;
import dev.graft.model.OptimizerOptions;
import dev.graft.model.Task;
import dev.graft.model.TrainStep;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.runtime.Philox;
import dev.graft.text.Encoding;
import dev.graft.text.Tokenizer;
import dev.graft.text.WordPieceTrainer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.stream.Stream;

/** A small network and a corpus on disk, with every source of batches there is. */
public final class TrainingSetup implements AutoCloseable {
  /** What is trained, and on what batches. */
  public enum Kind {
    GPT2_STREAM(Task.CAUSAL_LM),
    GPT2_DOCUMENT(Task.CAUSAL_LM),
    BERT_MASKED(Task.MASKED_LM),
    BERT_PRETRAINING(Task.PRETRAINING),
    BERT_CLASSIFICATION(Task.SEQUENCE_CLASSIFICATION);

    final Task task;

    Kind(Task task) {
      this.task = task;
    }
  }

  private static final int LENGTH = 48;
  private static final int SEQUENCES = 6;
  private static final int DOCUMENTS = 400;
  private static final int VOCABULARY = 300;
  private static final double DROPOUT = 0.1;
  private static final int BUCKET_STEPS = 300;

  private final Path folder;
  private final Tokenizer tokenizer;
  private final TokenShards shards;
  private final Network network;
  private final BatchSource source;
  private final Batch batch;
  private final TrainStep step;
  private long index;

  /** Writes the corpus to a temporary folder that {@link #close} removes. */
  public TrainingSetup(Device device, Kind kind, DType dtype) throws IOException {
    folder = Files.createTempDirectory("graft-bench");
    Path text = folder.resolve("corpus.txt");
    List<String> documents = documents();
    Files.writeString(text, String.join("\n\n", documents));
    tokenizer = WordPieceTrainer.train(List.of(text), VOCABULARY, 1, true);
    shards =
        TokenShards.build(
            List.of(text), DocumentMode.BLANK_LINE, null, tokenizer, folder.resolve("tokens"));
    source = source(kind, documents);
    batch = source.newBatch();
    network = Network.create(device, config(kind), kind.task, dtype, 1);
    step = new TrainStep(network, Limits.of(batch), OptimizerOptions.defaults());
  }

  /** Words of a small vocabulary, from 1 to about 60 a document. */
  private static List<String> documents() {
    Philox random = new Philox(1, 1, 0);
    List<String> documents = new ArrayList<>();
    for (int d = 0; d < DOCUMENTS; d++) {
      StringBuilder text = new StringBuilder();
      for (int w = 1 + random.nextInt(60); w > 0; w--) {
        text.append((char) ('a' + random.nextInt(26)))
            .append((char) ('a' + random.nextInt(6)))
            .append(' ');
      }
      documents.add(text.toString().strip());
    }
    return documents;
  }

  private ModelConfig config(Kind kind) {
    int vocabulary = tokenizer.vocabSize();
    ModelConfig config =
        kind.task == Task.CAUSAL_LM
            ? Gpt2Config.of(vocabulary, LENGTH, 64, 2, 2)
            : BertConfig.of(vocabulary, LENGTH, 64, 2, 2, 256)
                .withLabels(
                    kind.task == Task.SEQUENCE_CLASSIFICATION ? List.of("a", "b", "c") : List.of());
    return config.withDropout(DROPOUT, DROPOUT, DROPOUT);
  }

  private BatchSource source(Kind kind, List<String> documents) {
    boolean pairs = kind == Kind.BERT_PRETRAINING;
    return switch (kind) {
      case GPT2_STREAM -> causal(CausalSource.Packing.STREAM);
      case GPT2_DOCUMENT -> causal(CausalSource.Packing.DOCUMENT);
      case BERT_MASKED, BERT_PRETRAINING ->
          new MaskedSource(
              shards.all(),
              tokenizer,
              new Masking(tokenizer, 0.15),
              LENGTH,
              SEQUENCES,
              pairs,
              true,
              1);
      case BERT_CLASSIFICATION -> {
        List<Encoding> encodings = new ArrayList<>();
        int[] labels = new int[documents.size()];
        for (int d = 0; d < labels.length; d++) {
          encodings.add(tokenizer.encode(documents.get(d), true).truncate(LENGTH));
          labels[d] = d % 3;
        }
        yield new ClassificationSource(encodings, labels, SEQUENCES, true, 1);
      }
    };
  }

  private BatchSource causal(CausalSource.Packing packing) {
    return new CausalSource(
        shards.all(), LENGTH, SEQUENCES, packing, CausalSource.Sampling.EPOCH, 1);
  }

  /** Steps until every bucket has been recorded. */
  public void meetEveryBucket() {
    for (int i = 0; i < BUCKET_STEPS; i++) {
      step();
    }
  }

  /** The next step. */
  public void step() {
    source.fill(index, batch);
    boolean classes = network.task() == Task.SEQUENCE_CLASSIFICATION;
    long sequences = batch.sequenceLabelCount();
    long labels = classes ? sequences : batch.labelCount();
    float scale0 = labels == 0 ? 0 : 1f / labels;
    float scale1 = classes || sequences == 0 ? 0 : 1f / sequences;
    step.forwardBackward(batch, 1, index, scale0, scale1);
    step.update(1e-4f);
    index++;
  }

  /** Native calls of a step. */
  public int calls() {
    return step.calls();
  }

  @Override
  public void close() throws IOException {
    step.close();
    network.close();
    shards.close();
    tokenizer.close();
    try (Stream<Path> files = Files.walk(folder)) {
      for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
        Files.delete(file);
      }
    }
  }
}
