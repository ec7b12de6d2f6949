package dev.graft;

import dev.graft.train.TrainingResult;
import java.util.List;
import java.util.Map;

/**
 * How a fit ended.
 *
 * @param training steps, losses, checkpoints
 * @param truncated texts that were longer than the model takes and were cut, of both sets
 * @param labels names of the classes by id; empty for a language model
 */
public record FitResult(TrainingResult training, long truncated, List<String> labels) {
  public FitResult {
    labels = List.copyOf(labels);
  }

  /** Metrics of the model on the validation set; empty without one. */
  public Map<String, Double> validation() {
    return training.lastEvaluation();
  }

  /** Loss of the last report. */
  public double loss() {
    return training.finalLoss();
  }

  public boolean cancelled() {
    return training.cancelled();
  }

  /** One line for people. */
  public String summary() {
    return training.summary() + (truncated == 0 ? "" : ", " + truncated + " texts were cut");
  }
}
