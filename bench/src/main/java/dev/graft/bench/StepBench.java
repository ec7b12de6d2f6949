package dev.graft.bench;

import dev.graft.data.Batch;
import dev.graft.model.BertConfig;
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
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.AdamW;
import org.bytedeco.pytorch.AdamWOptions;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;

/**
 * One training step of a whole network on random weights and tokens: forward, backward, clipping by
 * the global norm and AdamW; with its libtorch twin in the same process, eager, if asked for.
 */
final class StepBench implements AutoCloseable {
  private static final long SEED = 1;
  private static final float LEARNING_RATE = 1e-4f;
  private static final double CLIP = 1;
  private static final double WEIGHT_DECAY = 0.01;

  /** BERT's share of masked tokens. */
  private static final double MASKED = 0.15;

  private final Network network;
  private final Batch batch;
  private final TrainStep step;
  private final float scale0;
  private final float scale1;
  private PointerScope scope;
  private Twin twin;
  private PaddedBatch padded;
  private TensorVector leaves;
  private AdamW optimizer;
  private long steps;

  /** A sequence of each length, dropout off. */
  StepBench(Device device, ModelConfig config, Task task, DType dtype, int[] lengths) {
    network = Network.create(device, config.withDropout(0, 0, 0), task, dtype, SEED);
    batch = batch(config, task, lengths);
    OptimizerOptions options =
        new OptimizerOptions(
            0.9f, 0.999f, 1e-8f, (float) WEIGHT_DECAY, OptimizerOptions.Decay.ALL, (float) CLIP);
    step = new TrainStep(network, Limits.of(batch), options, false);
    boolean classes = task == Task.SEQUENCE_CLASSIFICATION;
    scale0 = 1f / (classes ? batch.sequenceLabelCount() : batch.labelCount());
    scale1 = task == Task.PRETRAINING ? 1f / batch.sequenceLabelCount() : 0;
  }

  private static Batch batch(ModelConfig config, Task task, int[] lengths) {
    Philox random = new Philox(SEED, 1, 0);
    int tokens = Arrays.stream(lengths).sum();
    Batch batch = new Batch(tokens, lengths.length, Arrays.stream(lengths).max().orElseThrow());
    batch.begin();
    for (int s = 0; s < lengths.length; s++) {
      int length = lengths[s];
      boolean labelled = task == Task.PRETRAINING || task == Task.SEQUENCE_CLASSIFICATION;
      batch.beginSequence(labelled ? s % 2 : Batch.IGNORED);
      for (int t = 0; t < length; t++) {
        boolean target =
            switch (task) {
              case CAUSAL_LM -> t + 1 < length;
              case MASKED_LM, PRETRAINING -> random.nextDouble() < MASKED;
              default -> false;
            };
        int type = config instanceof BertConfig ? 2 * t / length : 0;
        int id = random.nextInt(config.vocabSize());
        batch.addToken(id, t, type, target ? random.nextInt(config.vocabSize()) : Batch.IGNORED);
      }
    }
    return batch.finish();
  }

  void runGraft() {
    step.forwardBackward(batch, SEED, steps++, scale0, scale1);
    step.update(LEARNING_RATE);
  }

  /** Builds the twin from the weights as they are now. */
  void prepareTorch() {
    scope = new PointerScope();
    twin = Twin.of(network, network.dtype() == DType.BFLOAT16 ? Torch.BF16 : Torch.F32);
    padded = new PaddedBatch(batch);
    leaves = new TensorVector(twin.leaves().values().toArray(new Tensor[0]));
    AdamWOptions options = new AdamWOptions(LEARNING_RATE);
    options.weight_decay().put(WEIGHT_DECAY);
    optimizer = new AdamW(leaves, options);
  }

  void runTorch() {
    try (PointerScope intermediates = new PointerScope()) {
      optimizer.zero_grad();
      twin.loss(padded, null).backward();
      torch.clip_grad_norm_(leaves, CLIP);
      optimizer.step();
    }
  }

  /** Tokens a step learns from. */
  int tokens() {
    return batch.liveTokens;
  }

  double flops() {
    return StepFlops.of(network.config(), network.task(), batch);
  }

  long parameters() {
    return network.parameters().count();
  }

  long activationBytes() {
    return step.activationBytes();
  }

  /** Native calls one step makes. */
  int calls() {
    return step.calls();
  }

  @Override
  public void close() {
    if (scope != null) {
      scope.close();
    }
    step.close();
    network.close();
  }
}
