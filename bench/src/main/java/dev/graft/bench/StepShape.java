package dev.graft.bench;

import dev.graft.io.InvalidInputException;
import dev.graft.model.BertConfig;
import dev.graft.model.ModelConfig;
import dev.graft.model.Presets;
import dev.graft.model.Task;
import dev.graft.runtime.DType;
import java.util.Arrays;
import java.util.List;
import picocli.CommandLine.Option;

/** Options that say which training step is timed. */
final class StepShape {
  private static final int GPT2_VOCABULARY = 50257;
  private static final int BERT_VOCABULARY = 30522;

  @Option(
      names = "--model",
      description = "gpt2-SIZE or bert-SIZE, as pretrain knows them (default: ${DEFAULT-VALUE}).",
      defaultValue = "gpt2-small")
  String model;

  @Option(
      names = "--tokens",
      description = "Tokens of a sequence (default: the model's positions).",
      defaultValue = "0")
  int tokens;

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

  @Option(names = "--dtype", description = "fp32 or bf16.", defaultValue = "bf16")
  String dtype;

  /** gpt2-SIZE or bert-SIZE with the vocabulary of the published models. */
  static ModelConfig config(String model) {
    int dash = model.indexOf('-');
    String family = dash < 0 ? model : model.substring(0, dash);
    if (dash < 0 || !(family.equals("gpt2") || family.equals("bert"))) {
      throw new InvalidInputException(
          "--model: expected gpt2-SIZE or bert-SIZE, got '" + model + "'");
    }
    return Presets.of(family, model.substring(dash + 1))
        .withVocabSize(family.equals("gpt2") ? GPT2_VOCABULARY : BERT_VOCABULARY);
  }

  /** The model's; with two labels where the task is to classify. */
  ModelConfig config() {
    ModelConfig config = config(model);
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

  DType type() {
    return DType.parse(dtype);
  }

  /** Tokens of each sequence. */
  int[] lengths() {
    int positions = config().maxPositions();
    int[] all = lengths;
    if (all == null) {
      all = new int[Math.max(0, batch)];
      Arrays.fill(all, tokens == 0 ? positions : tokens);
    }
    if (all.length == 0 || !Arrays.stream(all).allMatch(n -> n >= 2 && n <= positions)) {
      throw new InvalidInputException(
          String.format(
              "expected at least one sequence of 2 to %d tokens, got %s",
              positions, Arrays.toString(all)));
    }
    return all;
  }
}
