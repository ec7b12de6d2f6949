package dev.graft.train;

import static org.assertj.core.api.Assertions.assertThat;

import dev.graft.data.Batch;
import dev.graft.data.BatchSource;
import dev.graft.data.CausalEvalSource;
import dev.graft.data.CausalSource;
import dev.graft.data.ClassificationSource;
import dev.graft.data.DocumentMode;
import dev.graft.data.MaskedSource;
import dev.graft.data.Masking;
import dev.graft.data.TokenShards;
import dev.graft.model.BertConfig;
import dev.graft.model.Gpt2Config;
import dev.graft.model.ModelConfig;
import dev.graft.model.Network;
import dev.graft.model.Task;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.runtime.Philox;
import dev.graft.text.Encoding;
import dev.graft.text.Tokenizer;
import dev.graft.text.WordPieceTrainer;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * A step of the trainer allocates nothing on the Java heap, the filling of its batch included,
 * whatever the source. Oracle: the JVM's own count of bytes allocated by this thread.
 */
class StepAllocationTest {
  private static final int LENGTH = 40;
  private static final int SEQUENCES = 4;
  private static final int STEPS = 700;
  private static final int STEADY = 400;

  private enum Source {
    STREAM_RANDOM(Task.CAUSAL_LM),
    STREAM_EPOCH(Task.CAUSAL_LM),
    DOCUMENT(Task.CAUSAL_LM),
    IN_ORDER(Task.CAUSAL_LM),
    MASKED(Task.MASKED_LM),
    NEXT_SENTENCE(Task.PRETRAINING),
    CLASSIFICATION(Task.SEQUENCE_CLASSIFICATION);

    final Task task;

    Source(Task task) {
      this.task = task;
    }
  }

  @TempDir static Path folder;
  private static Tokenizer tokenizer;
  private static TokenShards shards;
  private static List<Encoding> texts;
  private static Device device;

  @BeforeAll
  static void corpus() throws IOException {
    Philox random = new Philox(5, 1, 0);
    List<String> documents = new ArrayList<>();
    for (int d = 0; d < 300; d++) {
      StringBuilder text = new StringBuilder();
      for (int w = 1 + random.nextInt(50); w > 0; w--) {
        text.append((char) ('a' + random.nextInt(26))).append(random.nextInt(9)).append(' ');
      }
      documents.add(text.toString().strip());
    }
    Path file = folder.resolve("text.txt");
    Files.writeString(file, String.join("\n\n", documents));
    tokenizer = WordPieceTrainer.train(List.of(file), 120, 1, true);
    shards =
        TokenShards.build(
            List.of(file), DocumentMode.BLANK_LINE, null, tokenizer, folder.resolve("tokens"));
    texts =
        tokenizer.encodeAll(documents, true).stream().map(text -> text.truncate(LENGTH)).toList();
    device = Device.cpu(1);
  }

  @AfterAll
  static void close() {
    device.close();
    shards.close();
    tokenizer.close();
  }

  private static BatchSource source(Source kind) {
    return switch (kind) {
      case STREAM_RANDOM -> causal(CausalSource.Packing.STREAM, CausalSource.Sampling.RANDOM);
      case STREAM_EPOCH -> causal(CausalSource.Packing.STREAM, CausalSource.Sampling.EPOCH);
      case DOCUMENT -> causal(CausalSource.Packing.DOCUMENT, CausalSource.Sampling.EPOCH);
      case IN_ORDER -> new CausalEvalSource(shards.all(), LENGTH, SEQUENCES);
      case MASKED, NEXT_SENTENCE ->
          new MaskedSource(
              shards.all(),
              tokenizer,
              new Masking(tokenizer, 0.15),
              LENGTH,
              SEQUENCES,
              kind == Source.NEXT_SENTENCE,
              true,
              1);
      case CLASSIFICATION -> {
        int[] labels = new int[texts.size()];
        for (int i = 0; i < labels.length; i++) {
          labels[i] = i % 2;
        }
        yield new ClassificationSource(texts, labels, SEQUENCES, true, 1);
      }
    };
  }

  private static BatchSource causal(CausalSource.Packing packing, CausalSource.Sampling sampling) {
    return new CausalSource(shards.all(), LENGTH, SEQUENCES, packing, sampling, 1);
  }

  private static Network network(Source kind) {
    int vocabulary = tokenizer.vocabSize();
    ModelConfig config =
        kind.task == Task.CAUSAL_LM
            ? Gpt2Config.of(vocabulary, LENGTH, 16, 1, 2)
            : BertConfig.of(vocabulary, LENGTH, 16, 1, 2, 32)
                .withLabels(kind == Source.CLASSIFICATION ? List.of("a", "b") : List.of());
    return Network.create(device, config, kind.task, DType.FLOAT32, 1);
  }

  /** Counts the bytes allocated from the beginning of one fill to the beginning of the next. */
  private record Counting(BatchSource source, long[] allocated) implements BatchSource {
    private static final com.sun.management.ThreadMXBean THREADS =
        (com.sun.management.ThreadMXBean) ManagementFactory.getThreadMXBean();

    @Override
    public void fill(long index, Batch batch) {
      allocated[(int) index] = THREADS.getCurrentThreadAllocatedBytes();
      source.fill(index, batch);
    }

    @Override
    public long batchesPerEpoch() {
      return source.batchesPerEpoch();
    }

    @Override
    public Batch newBatch() {
      return source.newBatch();
    }

    @Override
    public String fingerprint() {
      return source.fingerprint();
    }
  }

  @ParameterizedTest
  @EnumSource
  void stepAndFill_allocateNothing(Source kind) {
    long[] allocated = new long[STEPS];
    BatchSource source = source(kind);
    TrainingOptions options =
        TrainingOptions.finetuning().steps(STEPS).logEvery(10 * STEPS).warmupSteps(0).build();
    try (Network network = network(kind)) {
      new Trainer(network, new Counting(source, allocated), options).run();
    }
    int allocating = 0;
    long bytes = 0;
    for (int i = STEADY + 1; i < STEPS; i++) {
      long step = allocated[i] - allocated[i - 1];
      allocating += step > 0 ? 1 : 0;
      bytes += step;
    }
    // What a step allocates it allocates each time. An epoch begins with a new order, one object;
    // and the compiler, when it throws a method's code away, moves objects it had kept in registers
    // to the heap, a few times in a run.
    long epochs = (STEPS - STEADY) / source.batchesPerEpoch() + 1;
    assertThat(allocating)
        .as("steps that allocate, %d bytes in all", bytes)
        .isLessThan(10 + (int) epochs);
    assertThat(allocated[1] - allocated[0]).as("the first step, which records").isPositive();
  }
}
