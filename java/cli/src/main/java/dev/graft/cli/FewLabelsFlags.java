package dev.graft.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.FewLabels;
import dev.graft.FewLabelsResult;
import dev.graft.io.AtomicFiles;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import dev.graft.train.CancellationToken;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import picocli.CommandLine.Option;

/** Few-label mode of {@code finetune}; see {@link FewLabels}. */
final class FewLabelsFlags {
  @Option(
      names = "--few-labels",
      paramLabel = "K",
      split = ",",
      order = 160,
      description =
          "Measure what pretraining is worth: fine-tune on K examples of each class of --train, such"
              + " as 16,64,256, beside the same network from fresh weights, several draws each;"
              + " accuracy on --valid, which chooses nothing. Writes few-labels.json to --out.")
  Integer[] perClass;

  @Option(
      names = "--seeds",
      paramLabel = "N",
      order = 161,
      description = "--few-labels: draws of each (default: 5).")
  Integer seeds;

  @Option(
      names = "--learning-rates",
      paramLabel = "RATES",
      split = ",",
      order = 162,
      description =
          "--few-labels: to choose from by other examples of --train (default: half, once and twice"
              + " the usual rate).")
  Double[] learningRates;

  boolean given() {
    if (perClass == null && (seeds != null || learningRates != null)) {
      throw new InvalidInputException("--seeds and --learning-rates are for --few-labels");
    }
    return perClass != null;
  }

  /** The measurement with what was given. */
  FewLabels over(FewLabels plan) {
    FewLabels with = plan.perClass(perClass);
    with = seeds == null ? with : with.seeds(seeds);
    return learningRates == null ? with : with.learningRates(learningRates);
  }

  /** Runs it, with a line for each fit. */
  static int run(GraftCommand command, FewLabels plan, Path out, boolean json) {
    CancellationToken token = plan.training().cancellation();
    FewLabelsResult result;
    int interrupted;
    try (Interrupts interrupts = new Interrupts(token, command.err())) {
      result = plan.run(trial -> show(command, trial, json));
      interrupted = interrupts.exitCode();
    }
    write(out, result.toJson());
    if (json) {
      command.json(result.toJson());
    } else {
      command.out().print(result.table());
    }
    if (result.cancelled()) {
      command.err().println("graft: stopped; the rows that are whole are in " + out);
      return interrupted;
    }
    return ExitCode.DONE;
  }

  private static void show(GraftCommand command, FewLabels.Trial trial, boolean json) {
    String beginning = trial.beginning().name().toLowerCase(Locale.ROOT);
    if (json) {
      command.json(
          Json.object()
              .put("type", "trial")
              .put("labels_per_class", trial.perClass())
              .put("seed", trial.seed())
              .put("beginning", beginning)
              .put("learning_rate", trial.learningRate())
              .put("validation_accuracy", trial.accuracy()));
    }
    command
        .err()
        .printf(
            "%,d a class, seed %d, %s weights, rate %.2g: accuracy %.3f on validation%n",
            trial.perClass(), trial.seed(), beginning, trial.learningRate(), trial.accuracy());
    command.err().flush();
  }

  private static void write(Path out, ObjectNode json) {
    try {
      Files.createDirectories(out);
    } catch (IOException e) {
      throw InvalidInputException.of(out, e);
    }
    AtomicFiles.write(out.resolve("few-labels.json"), Json.pretty(json));
  }
}
