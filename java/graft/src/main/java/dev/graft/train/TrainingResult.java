package dev.graft.train;

import java.nio.file.Path;
import java.util.Map;

/**
 * How a run ended.
 *
 * @param steps steps done in all
 * @param totalSteps steps asked for
 * @param finalLoss loss of the last report; NaN if no step was run
 * @param lastEvaluation metrics of the weights the network ended with, empty if they were not
 *     judged
 * @param bestMetric best value of the evaluator's main metric; NaN without one
 * @param bestStep steps done when it was reached; −1 without one
 * @param weightsStep steps done when the network had the weights it ended with: {@code bestStep} if
 *     the best were taken, otherwise {@code steps}
 * @param stoppedEarly whether it ended for want of gains
 * @param trainedParameters numbers that were trained
 * @param skippedSteps steps skipped because their gradient was not finite
 * @param tokens tokens trained on
 * @param seconds time of training, before a resume included
 * @param cancelled whether it was stopped by its token
 * @param lastCheckpoint newest checkpoint, or null without a run directory
 * @param modelDirectory where the final model lies; null without a run directory or if cancelled
 */
public record TrainingResult(
    long steps,
    long totalSteps,
    double finalLoss,
    Map<String, Double> lastEvaluation,
    double bestMetric,
    long bestStep,
    long weightsStep,
    boolean stoppedEarly,
    long trainedParameters,
    long skippedSteps,
    long tokens,
    double seconds,
    boolean cancelled,
    Path lastCheckpoint,
    Path modelDirectory) {

  /** One line for people: where it stands and, if cancelled, how to go on. */
  public String summary() {
    if (!cancelled) {
      return String.format(
          "%,d steps%s, loss %.4f%s%s",
          steps,
          stoppedEarly ? " (stopped early, no gain)" : "",
          finalLoss,
          weightsStep == steps ? "" : String.format(", best weights of step %,d", weightsStep),
          modelDirectory == null ? "" : ", model in " + modelDirectory);
    }
    return lastCheckpoint == null
        ? String.format(
            "cancelled after %,d of %,d steps; nothing was saved (no run directory)",
            steps, totalSteps)
        : String.format(
            "cancelled after %,d of %,d steps; saved in %s; to go on, run the same command with"
                + " --resume",
            steps, totalSteps, lastCheckpoint);
  }
}
