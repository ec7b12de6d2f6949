package dev.graft.model;

import dev.graft.data.Batch;
import dev.graft.runtime.Device;
import dev.graft.runtime.Tensor;

/** Forward passes without dropout: losses, class logits, masked-word logits, hidden states. */
public final class EvalStep implements AutoCloseable {
  private final Device device;
  private final Network network;
  private final Limits limits;
  private Steps losses;
  private Steps outputs;
  private Steps logits;
  private Steps judged;

  public EvalStep(Network network, Limits limits) {
    this.network = network;
    this.device = network.device();
    this.limits = limits;
  }

  /** Adds the batch's losses and labels to the device's slots. */
  public void loss(Batch batch) {
    if (losses == null) {
      losses = new Steps(network, limits, "evaluation", true, false, false, false, false);
    }
    run(losses, batch);
  }

  /**
   * Adds the batch's losses and labels to the device's slots, and hands out the head's logits.
   *
   * @return those of {@link #classify}, or of {@link #classifyTokens} for a head on every token
   */
  public float[][] judge(Batch batch) {
    if (judged == null) {
      judged = new Steps(network, limits, "judgement", true, false, false, false, true);
    }
    Outputs out = run(judged, batch);
    return out.tokenLogits != null
        ? rows(out.tokenLogits, batch.liveTokens)
        : rows(out.sequenceLogits, batch.liveSequences);
  }

  private Outputs run(Steps steps, Batch batch) {
    Steps.Step step = steps.of(batch);
    steps.inputs().upload(batch);
    device.stepBegin(0, 0, 0, batch.sequences, 1, 1);
    step.program.run();
    return step.outputs;
  }

  private Outputs outputs(Batch batch) {
    if (outputs == null) {
      outputs = new Steps(network, limits, "inference", false, false, false, false, false);
    }
    return run(outputs, batch);
  }

  /**
   * Class logits of a batch's sequences, the numbers of a regression, or the scores of choices.
   *
   * @return [live sequences][outputs]
   */
  public float[][] classify(Batch batch) {
    return rows(outputs(batch).sequenceLogits, batch.liveSequences);
  }

  /**
   * Class logits of a batch's tokens, or how much an answer begins and ends with each.
   *
   * @return [live tokens][outputs]
   */
  public float[][] classifyTokens(Batch batch) {
    return rows(outputs(batch).tokenLogits, batch.liveTokens);
  }

  private float[][] rows(Tensor logits, int count) {
    if (logits == null) {
      throw new IllegalStateException("this network was made for " + network.task());
    }
    int columns = Math.toIntExact(logits.size(1));
    float[][] rows = new float[count][];
    for (int r = 0; r < count; r++) {
      rows[r] = logits.floats((long) r * columns, columns);
    }
    return rows;
  }

  /**
   * Logits of the vocabulary at some rows of a batch.
   *
   * @param rows rows of the batch
   * @return [rows][V]
   */
  public float[][] vocabularyLogits(Batch batch, int... rows) {
    if (logits == null) {
      logits = new Steps(network, limits, "logits", false, false, false, false, true);
    }
    Tensor all = run(logits, batch).logits;
    if (all == null) {
      throw new IllegalStateException(
          "a network for " + network.task() + " has no vocabulary head");
    }
    float[][] out = new float[rows.length][];
    for (int i = 0; i < rows.length; i++) {
      out[i] = all.floats(rows[i] * all.size(1), network.config().vocabSize());
    }
    return out;
  }

  /**
   * The last hidden states.
   *
   * @return [live tokens × C], row after row
   */
  public float[] hidden(Batch batch) {
    Tensor last = outputs(batch).last;
    return last.floats(0, Math.multiplyExact(batch.liveTokens, network.config().channels()));
  }

  @Override
  public void close() {
    for (Steps steps : new Steps[] {losses, outputs, logits, judged}) {
      if (steps != null) {
        steps.close();
      }
    }
  }
}
