package dev.graft.verify;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.data.Batch;
import dev.graft.io.Json;
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

/**
 * One training step of a whole network on random weights and tokens: forward, backward, clipping by
 * the global norm and AdamW, without dropout.
 */
public final class StepRun implements AutoCloseable {
  public static final float LEARNING_RATE = 1e-4f;
  public static final double CLIP = 1;
  public static final double WEIGHT_DECAY = 0.01;
  private static final long SEED = 1;

  /** BERT's share of masked tokens. */
  private static final double MASKED = 0.15;

  private final Network network;
  private final Batch batch;
  private final TrainStep step;
  private final float scale0;
  private final float scale1;
  private long steps;

  /**
   * Builds network and batch.
   *
   * @param lengths tokens of each sequence
   */
  public StepRun(Device device, ModelConfig config, Task task, DType dtype, int[] lengths) {
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

  /** Enqueues one step; on a CPU it is done then. */
  public void run() {
    step.forwardBackward(batch, SEED, steps++, scale0, scale1);
    step.update(LEARNING_RATE);
  }

  public Network network() {
    return network;
  }

  public Batch batch() {
    return batch;
  }

  /** Tokens a step learns from. */
  public int tokens() {
    return batch.liveTokens;
  }

  /** Floating-point operations of a step, see {@link StepFlops}. */
  public double flops() {
    return StepFlops.of(network.config(), network.task(), batch);
  }

  public long activationBytes() {
    return step.activationBytes();
  }

  /** Native calls one step makes. */
  public int calls() {
    return step.calls();
  }

  /**
   * The same step as a case of bench/peers/torch_peers.py, or null if it has none.
   *
   * @param mode eager or compile
   */
  public static ObjectNode pytorch(
      ModelConfig config, Task task, DType dtype, int[] lengths, String mode) {
    String model =
        switch (task) {
          case CAUSAL_LM -> "gpt2";
          case MASKED_LM -> "bert-mlm";
          case SEQUENCE_CLASSIFICATION -> "bert-classifier";
          default -> null;
        };
    if (model == null) {
      return null;
    }
    ObjectNode peer =
        Json.object()
            .put("op", "step")
            .put("model", model)
            .put("dtype", SpeedCase.name(dtype))
            .put("mode", mode)
            .put("layers", config.layers())
            .put("heads", config.heads())
            .put("channels", config.channels())
            .put("vocabulary", config.vocabSize())
            .put("positions", config.maxPositions())
            .put("labels", 2);
    ArrayNode counts = peer.putArray("lengths");
    Arrays.stream(lengths).forEach(counts::add);
    return peer;
  }

  /** {@code 8x128}, or of uneven lengths {@code 8 of 12 to 128}. */
  public static String label(int[] lengths) {
    int shortest = Arrays.stream(lengths).min().orElseThrow();
    int longest = Arrays.stream(lengths).max().orElseThrow();
    return shortest == longest
        ? lengths.length + "x" + longest
        : lengths.length + " of " + shortest + " to " + longest;
  }

  @Override
  public void close() {
    step.close();
    network.close();
  }
}
