package dev.graft.cli;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.Json;
import dev.graft.quickstart.Job;
import dev.graft.quickstart.QuickstartListener;
import dev.graft.quickstart.QuickstartPlan;
import dev.graft.quickstart.QuickstartResult.Gpt;
import dev.graft.train.StepEvent;
import java.util.Map;
import java.util.function.Consumer;

/** A quickstart's course in JSON lines. */
final class QuickstartLines implements QuickstartListener {
  private final Consumer<JsonNode> lines;

  QuickstartLines(Consumer<JsonNode> lines) {
    this.lines = lines;
  }

  private static ObjectNode line(String event) {
    return Json.object().put("event", event);
  }

  @Override
  public void onPrepared(QuickstartPlan plan) {
    lines.accept(
        line("prepared")
            .put("directory", plan.directory().toString())
            .put("seed", plan.seed())
            .put("threads", plan.threads())
            .put("dtype", plan.dtype()));
  }

  @Override
  public void onStep(Job job, StepEvent event) {
    lines.accept(
        line("step")
            .put("job", job.label())
            .put("step", event.step())
            .put("total_steps", event.totalSteps())
            .put("loss", event.loss())
            .put("learning_rate", event.learningRate())
            .put("tokens_per_second", event.tokensPerSecond())
            .put("seconds", event.elapsedSeconds())
            .put("seconds_left", event.secondsLeft()));
  }

  @Override
  public void onValidation(long step, double loss) {
    lines.accept(
        line("validation").put("job", Job.GPT.label()).put("step", step).put("loss", loss));
  }

  @Override
  public void onTrial(Job arm, double learningRate, double validationAccuracy) {
    lines.accept(
        line("trial")
            .put("job", arm.label())
            .put("learning_rate", learningRate)
            .put("validation_accuracy", validationAccuracy));
  }

  @Override
  public void onGpt(Gpt gpt) {
    lines.accept(
        line("written")
            .put("validation_loss", gpt.validationLoss())
            .put("prompt", gpt.prompt())
            .put("text", gpt.text()));
  }

  @Override
  public void onPretrained(double loss, String question, Map<String, Double> words) {
    ObjectNode line = line("pretrained").put("loss", loss).put("question", question);
    ObjectNode guesses = line.putObject("words");
    words.forEach(guesses::put);
    lines.accept(line);
  }
}
