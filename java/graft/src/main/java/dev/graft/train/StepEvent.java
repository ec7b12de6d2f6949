package dev.graft.train;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.Json;
import dev.graft.metrics.MetricsJson;

/**
 * What a run reports every {@link TrainingOptions#logEvery} steps.
 *
 * @param step steps done
 * @param totalSteps steps of the run
 * @param epoch passes over the data done, with fraction
 * @param loss mean loss a label since the last report; of BERT's pretraining the sum of both means.
 *     NaN if a step in between had no finite loss
 * @param gradNorm norm of the last gradient before clipping
 * @param learningRate rate of the last step
 * @param tokens tokens trained on so far
 * @param tokensPerSecond since the last report
 * @param elapsedSeconds of this run, time before a resume included
 * @param secondsLeft estimate
 * @param skippedSteps steps skipped so far because their gradient was not finite
 */
public record StepEvent(
    long step,
    long totalSteps,
    double epoch,
    double loss,
    double gradNorm,
    double learningRate,
    long tokens,
    double tokensPerSecond,
    double elapsedSeconds,
    double secondsLeft,
    long skippedSteps) {

  /** The line of metrics.jsonl; a loss or norm that is not finite is null. */
  public ObjectNode toJson() {
    ObjectNode line = Json.object();
    line.put("type", "train").put("step", step).put("epoch", rounded(epoch));
    MetricsJson.put(line, "loss", loss);
    MetricsJson.put(line, "grad_norm", gradNorm);
    line.put("learning_rate", learningRate);
    line.put("tokens", tokens);
    MetricsJson.put(line, "tokens_per_second", Math.rint(tokensPerSecond));
    MetricsJson.put(line, "elapsed_seconds", rounded(elapsedSeconds));
    line.put("skipped_steps", skippedSteps);
    return line;
  }

  private static double rounded(double value) {
    return Math.rint(value * 1000) / 1000;
  }
}
