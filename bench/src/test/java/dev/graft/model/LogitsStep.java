package dev.graft.model;

import dev.graft.data.Batch;
import dev.graft.runtime.Tensor;
import java.util.stream.IntStream;

/**
 * A training's forward pass, dropout included, that leaves its logits to read: a recorded training
 * step overwrites them with their gradient.
 */
public final class LogitsStep implements AutoCloseable {
  private final Network network;
  private final Steps steps;
  private Outputs outputs;

  /** Over batches within {@code limits}; {@code dropout} as in {@link TrainStep}. */
  public LogitsStep(Network network, Limits limits, boolean dropout) {
    this.network = network;
    this.steps = new Steps(network, limits, "logits", true, false, dropout, false, true);
  }

  /** Runs forward with the masks of (seed, rngStep). */
  public void run(Batch batch, long seed, long rngStep) {
    Steps.Step step = steps.of(batch);
    steps.inputs().upload(batch);
    network.device().stepBegin(seed, rngStep, 0, batch.sequences, 1, 1);
    step.program.run();
    outputs = step.outputs;
  }

  /** Logits of some rows of the vocabulary head, one after the other; null if there is none. */
  public double[] vocabulary(int[] rows) {
    return read(outputs.logits, network.config().vocabSize(), rows);
  }

  /** Logits of some tokens; null if no head reads tokens. */
  public double[] tokens(int[] rows) {
    return outputs.tokenLogits == null
        ? null
        : read(outputs.tokenLogits, (int) outputs.tokenLogits.size(1), rows);
  }

  /** Logits of some sequences; null if no head reads sequences. */
  public double[] sequences(int[] rows) {
    return outputs.sequenceLogits == null
        ? null
        : read(outputs.sequenceLogits, (int) outputs.sequenceLogits.size(1), rows);
  }

  private static double[] read(Tensor logits, int columns, int[] rows) {
    if (logits == null) {
      return null;
    }
    return IntStream.of(rows)
        .mapToObj(row -> logits.floats(row * logits.size(1), columns))
        .flatMapToDouble(values -> IntStream.range(0, values.length).mapToDouble(i -> values[i]))
        .toArray();
  }

  @Override
  public void close() {
    steps.close();
  }
}
