package dev.graft.verify;

import dev.graft.data.Batch;
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
import java.util.Arrays;

/** Tokens a second of whole training steps on random tokens, as long as each other. */
public final class StepSpeed {
  private static final double MASKED = 0.15;

  /** What is measured on a card: the shapes people compare. */
  public enum Workload {
    GPT2_124M_T1024(Gpt2Config.of(50257, 1024, 768, 12, 12), Task.CAUSAL_LM, 16, 1024),
    BERT_BASE_MLM_T128(BertConfig.of(30522, 512, 768, 12, 12, 3072), Task.MASKED_LM, 128, 128),
    BERT_BASE_MLM_T512(BertConfig.of(30522, 512, 768, 12, 12, 3072), Task.MASKED_LM, 32, 512);

    private final ModelConfig config;
    private final Task task;
    private final int sequences;
    private final int length;

    Workload(ModelConfig config, Task task, int sequences, int length) {
      this.config = config;
      this.task = task;
      this.sequences = sequences;
      this.length = length;
    }
  }

  private StepSpeed() {}

  /** Measures in bf16, with the configuration's dropout; the median of {@code steps}. */
  public static double tokensPerSecond(Device device, Workload what, int steps) {
    return tokensPerSecond(
        device, what.config, what.task, what.sequences, what.length, DType.BFLOAT16, steps);
  }

  static double tokensPerSecond(
      Device device,
      ModelConfig config,
      Task task,
      int sequences,
      int length,
      DType dtype,
      int steps) {
    device.activate();
    Batch batch = new Batch(sequences * length, sequences, length);
    fill(batch, task, config.vocabSize(), sequences, length);
    OptimizerOptions options =
        new OptimizerOptions(0.9f, 0.95f, 1e-8f, 0.1f, OptimizerOptions.Decay.MATRICES, 1);
    try (Network network = Network.create(device, config, task, dtype, 1);
        TrainStep step = new TrainStep(network, Limits.of(batch), options)) {
      double[] seconds = new double[steps];
      // The first step times products, the second captures.
      for (int s = -3; s < steps; s++) {
        long begin = System.nanoTime();
        step.forwardBackward(batch, 1, s + 3, 1f / batch.liveTokens, 0);
        step.update(1e-4f);
        device.synchronize();
        if (s >= 0) {
          seconds[s] = (System.nanoTime() - begin) / 1e9;
        }
      }
      Arrays.sort(seconds);
      return batch.liveTokens / seconds[steps / 2];
    }
  }

  private static void fill(Batch batch, Task task, int vocabulary, int sequences, int length) {
    Philox random = new Philox(9);
    batch.begin();
    for (int i = 0; i < sequences; i++) {
      batch.beginSequence(Batch.IGNORED);
      for (int t = 0; t < length; t++) {
        boolean counts = task == Task.CAUSAL_LM ? t + 1 < length : random.nextDouble() < MASKED;
        batch.addToken(
            random.nextInt(vocabulary), t, 0, counts ? random.nextInt(vocabulary) : Batch.IGNORED);
      }
    }
    batch.finish();
  }
}
