package dev.graft.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.Json;
import dev.graft.metrics.MetricsJson;
import dev.graft.train.CancellationToken;
import dev.graft.train.EvalEvent;
import dev.graft.train.RunSettings;
import dev.graft.train.StepEvent;
import dev.graft.train.TrainingListener;
import dev.graft.train.TrainingOptions;
import dev.graft.train.TrainingResult;
import java.nio.file.Path;
import java.util.Set;
import java.util.StringJoiner;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** A command that trains: shows its course, stops on signals, and says how it ended. */
abstract class RunCommand extends GraftCommand {
  /** Options that a resume may have beside --out without restating the run. */
  private static final Set<String> OF_ANY_RESUME =
      Set.of("--out", "--resume", "--recompute", "--json", "--verbose", "--task");

  @Mixin TrainingFlags training;

  @Mixin ComputeOptions compute;

  @Option(
      names = "--json",
      order = 950,
      description = "Print JSON lines: reports, evaluations, checkpoints and the result.")
  boolean json;

  /** The training itself. */
  interface Work {
    TrainingResult run(TrainingListener listener, CancellationToken cancellation);
  }

  /** Options with the callbacks {@link #run} gives. */
  static TrainingOptions heard(
      TrainingOptions options, TrainingListener listener, CancellationToken token) {
    return options.toBuilder().listener(listener).cancellation(token).build();
  }

  /** Whether nothing but the run to go on with was given. */
  final boolean onlyResumes() {
    return training.resume
        && spec.commandLine().getParseResult().matchedOptions().stream()
            .allMatch(option -> OF_ANY_RESUME.contains(option.longestName()));
  }

  /** The run to go on with, told what it computes again if that was given. */
  final Path resumed() {
    if (training.recompute != null) {
      RunSettings.recompute(training.out, training.recompute);
    }
    return training.out;
  }

  /** Whether what was stopped is a part before the training, which the same command takes up. */
  private boolean inFirstPart;

  /** Told by a command whose first part was stopped, before the training itself began. */
  final void stoppedInFirstPart() {
    inFirstPart = true;
  }

  /** How to go on with a run that was stopped. */
  private String resumeCommand() {
    StringJoiner command = new StringJoiner(" ");
    command.add(System.getProperty("graft.command", "graft"));
    if (inFirstPart) {
      spec.commandLine().getParseResult().originalArgs().stream()
          .map(RunCommand::quoted)
          .forEach(command::add);
    } else {
      command.add(spec.name()).add("--out").add(quoted(training.out.toString())).add("--resume");
    }
    return command.toString();
  }

  private static String quoted(String text) {
    return text.matches("[\\w@%+=:,./-]+") ? text : "'" + text.replace("'", "'\\''") + "'";
  }

  final int run(Work work) {
    CancellationToken token = new CancellationToken();
    TrainingResult result;
    int code;
    try (Interrupts interrupts = new Interrupts(token, err());
        ProgressDisplay display = new ProgressDisplay(err())) {
      result = work.run(json ? new JsonListener(display) : display, token);
      code = result.cancelled() ? interrupts.exitCode() : ExitCode.DONE;
    }
    if (json) {
      json(result(result));
    } else if (!result.cancelled()) {
      out().println(summary(result));
    }
    if (result.cancelled()) {
      err()
          .printf(
              "graft: stopped after %,d of %,d steps%s, saved in %s; to go on: %s%n",
              result.steps(),
              result.totalSteps(),
              inFirstPart ? " before the fine-tuning" : "",
              result.lastCheckpoint(),
              resumeCommand());
      err().flush();
    }
    return code;
  }

  private static String summary(TrainingResult result) {
    StringBuilder text =
        new StringBuilder(
            String.format(
                "%,d steps, %,d tokens in %s; training loss %.4f",
                result.steps(),
                result.tokens(),
                ProgressDisplay.time(result.seconds()),
                result.finalLoss()));
    if (!result.lastEvaluation().isEmpty()) {
      StringJoiner metrics = new StringJoiner(", ", "; validation: ", "");
      result
          .lastEvaluation()
          .forEach((name, value) -> metrics.add(ProgressDisplay.metric(name, value)));
      text.append(metrics);
    }
    if (result.stoppedEarly()) {
      text.append("; stopped early, it got no better");
    }
    if (result.weightsStep() != result.steps()) {
      text.append(String.format("; best weights, of step %,d", result.weightsStep()));
    }
    if (result.skippedSteps() > 0) {
      text.append(
          String.format(
              "; %,d steps were skipped for a gradient that is not finite", result.skippedSteps()));
    }
    return text.append("; model in ").append(result.modelDirectory()).toString();
  }

  private ObjectNode result(TrainingResult result) {
    ObjectNode line = Json.object();
    line.put("type", result.cancelled() ? "stopped" : "result")
        .put("steps", result.steps())
        .put("total_steps", result.totalSteps())
        .put("loss", finite(result.finalLoss()));
    MetricsJson.put(line.putObject("validation"), result.lastEvaluation());
    line.put("best_metric", finite(result.bestMetric()))
        .put("best_step", result.bestStep())
        .put("weights_step", result.weightsStep())
        .put("stopped_early", result.stoppedEarly())
        .put("trained_parameters", result.trainedParameters())
        .put("skipped_steps", result.skippedSteps())
        .put("tokens", result.tokens())
        .put("seconds", result.seconds())
        .put("checkpoint", text(result.lastCheckpoint()));
    if (result.cancelled()) {
      line.put("resume", resumeCommand());
    } else {
      line.put("model", text(result.modelDirectory()));
    }
    return line;
  }

  /** JSON knows no NaN. */
  private static Double finite(double value) {
    return Double.isFinite(value) ? value : null;
  }

  private static String text(Path path) {
    return path == null ? null : path.toString();
  }

  /** Prints events and hands them on. */
  private final class JsonListener implements TrainingListener {
    private final TrainingListener next;

    JsonListener(TrainingListener next) {
      this.next = next;
    }

    @Override
    public void onPrepare(String what) {
      next.onPrepare(what);
    }

    @Override
    public void onStep(StepEvent event) {
      json(event.toJson());
      next.onStep(event);
    }

    @Override
    public void onEvaluation(EvalEvent event) {
      json(event.toJson());
      next.onEvaluation(event);
    }

    @Override
    public void onCheckpoint(Path checkpoint) {
      json(Json.object().put("type", "checkpoint").put("path", checkpoint.toString()));
      next.onCheckpoint(checkpoint);
    }

    @Override
    public void onResume(Path checkpoint, long step) {
      json(
          Json.object().put("type", "resume").put("step", step).put("path", checkpoint.toString()));
      next.onResume(checkpoint, step);
    }
  }
}
