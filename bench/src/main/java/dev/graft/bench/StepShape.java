package dev.graft.bench;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.InvalidInputException;
import dev.graft.model.BertConfig;
import dev.graft.model.ModelConfig;
import dev.graft.model.Task;
import dev.graft.runtime.Device;
import dev.graft.verify.StepRun;
import java.util.Arrays;
import java.util.List;
import picocli.CommandLine.Option;

/** Options that say which training step is timed. */
final class StepShape extends ModelShape {
  @Option(
      names = "--batch",
      description = "Sequences of a step (default: ${DEFAULT-VALUE}).",
      defaultValue = "1")
  int batch;

  @Option(
      names = "--lengths",
      paramLabel = "N",
      split = ",",
      description =
          "Instead of --tokens and --batch: tokens of each sequence of the step, as a data set has"
              + " them. Peers pad to the longest.")
  int[] lengths;

  @Option(
      names = "--task",
      description =
          "bert: mlm (masked words), pretraining (with next sentences; the default) or classifier"
              + " (two labels).",
      defaultValue = "pretraining")
  String task;

  /** The model's; with two labels where the task is to classify. */
  @Override
  ModelConfig config() {
    ModelConfig config = super.config();
    return task() == Task.SEQUENCE_CLASSIFICATION
        ? ((BertConfig) config).withLabels(List.of("no", "yes"))
        : config;
  }

  Task task() {
    if (model.startsWith("gpt2")) {
      return Task.CAUSAL_LM;
    }
    return switch (task) {
      case "mlm" -> Task.MASKED_LM;
      case "pretraining" -> Task.PRETRAINING;
      case "classifier" -> Task.SEQUENCE_CLASSIFICATION;
      default ->
          throw new InvalidInputException(
              "--task: expected mlm, pretraining or classifier, got '" + task + "'");
    };
  }

  /** Tokens of each sequence. */
  int[] lengths() {
    int positions = config().maxPositions();
    int[] all = lengths;
    if (all == null) {
      all = new int[Math.max(0, batch)];
      Arrays.fill(all, length());
    }
    if (all.length == 0 || !Arrays.stream(all).allMatch(n -> n >= 2 && n <= positions)) {
      throw new InvalidInputException(
          String.format(
              "expected at least one sequence of 2 to %d tokens, got %s",
              positions, Arrays.toString(all)));
    }
    return all;
  }

  /** {@code 8x128}, see {@link StepRun#label}. */
  String label() {
    return StepRun.label(lengths());
  }

  StepRun run(Device device) {
    return new StepRun(device, config(), task(), type(), lengths());
  }

  /** The same step as a case of bench/peers/torch_peers.py. */
  ObjectNode pytorch(String mode) {
    ObjectNode peer = StepRun.pytorch(config(), task(), type(), lengths(), mode);
    if (peer == null) {
      throw new InvalidInputException(
          "--pytorch: transformers' step is there for --task mlm or classifier, not pretraining");
    }
    return peer;
  }
}
