package dev.graft.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.BertForMaskedLM;
import dev.graft.BertForPreTraining;
import dev.graft.BertForSequenceClassification;
import dev.graft.Dataset;
import dev.graft.GPT2LMHeadModel;
import dev.graft.LanguageModel;
import dev.graft.ModelOptions;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import dev.graft.metrics.MetricsJson;
import dev.graft.model.Task;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code graft evaluate}. */
@Command(
    name = "evaluate",
    description =
        "Judges a model: a classifier on labelled texts (loss, accuracy, f1, mcc), a language model"
            + " on plain text (loss, perplexity).",
    footer = {
      "Examples:",
      "  graft evaluate --model runs/intents --data test.csv --json",
      "  graft evaluate --model runs/gpt --data held-out.txt"
    })
final class EvaluateCommand extends GraftCommand {
  @Option(
      names = "--model",
      paramLabel = "DIR",
      required = true,
      order = 1,
      description = "Model directory, or a run's.")
  Path model;

  @Option(
      names = "--data",
      paramLabel = "FILE",
      required = true,
      arity = "1..*",
      order = 2,
      description = "A labelled .csv, .tsv or .jsonl file; for a language model text files.")
  List<Path> data;

  @Mixin ColumnFlags columns;

  @Option(
      names = "--max-length",
      paramLabel = "N",
      order = 14,
      description = "Longest text in tokens, longer ones are cut (default: the model's length).",
      defaultValue = "0")
  int maxLength;

  @Mixin CorpusFlags text;

  @Mixin ComputeOptions compute;

  @Option(names = "--json", order = 950, description = "Print the metrics by name as a JSON line.")
  boolean json;

  @Override
  public Integer call() {
    Task task = Models.task(model);
    ModelOptions options = Models.options(compute).withMaxLength(maxLength);
    Map<String, Double> metrics =
        task == Task.SEQUENCE_CLASSIFICATION ? classifier(options) : language(task, options);
    if (json) {
      ObjectNode line = Json.object();
      MetricsJson.put(line, metrics);
      json(line);
    } else {
      metrics.forEach((name, value) -> out().println(ProgressDisplay.metric(name, value)));
    }
    return ExitCode.DONE;
  }

  private Map<String, Double> classifier(ModelOptions options) {
    if (data.size() != 1) {
      throw new InvalidInputException("--data: a classifier takes one file, got " + data.size());
    }
    Dataset set = Dataset.streamed(data.get(0), columns.columns());
    try (BertForSequenceClassification loaded =
        BertForSequenceClassification.fromPretrained(model, options)) {
      return loaded.evaluate(set);
    }
  }

  private Map<String, Double> language(Task task, ModelOptions options) {
    try (LanguageModel loaded = load(task, options)) {
      return loaded.evaluate(text.corpus(data), text.options(0));
    }
  }

  private LanguageModel load(Task task, ModelOptions options) {
    return switch (task) {
      case CAUSAL_LM -> GPT2LMHeadModel.fromPretrained(model, options);
      case MASKED_LM -> BertForMaskedLM.fromPretrained(model, options);
      case PRETRAINING -> BertForPreTraining.fromPretrained(model, options);
      default -> {
        Models.require(model, "evaluate", "classifier or language model", false);
        throw new AssertionError(task);
      }
    };
  }
}
