package dev.graft.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.BertForMaskedLM;
import dev.graft.BertForMultipleChoice;
import dev.graft.BertForPreTraining;
import dev.graft.BertForQuestionAnswering;
import dev.graft.BertForSequenceClassification;
import dev.graft.BertForTokenClassification;
import dev.graft.Dataset;
import dev.graft.GPT2LMHeadModel;
import dev.graft.LanguageModel;
import dev.graft.ModelOptions;
import dev.graft.data.ChoiceData;
import dev.graft.data.ChoiceQuestion;
import dev.graft.data.DocumentMode;
import dev.graft.data.LabelledSource;
import dev.graft.data.PromptData;
import dev.graft.data.Question;
import dev.graft.data.QuestionData;
import dev.graft.data.TaggedData;
import dev.graft.data.TaggedSentence;
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
        "Judges a model on data of its task: classes, labels or numbers of texts, tagged sentences,"
            + " questions, choices; a language model on plain text (loss, perplexity), a GPT-2 also on"
            + " prompts with completions (.jsonl, .csv, .tsv, .parquet; and rouge).",
    footer = {
      "Examples:",
      "  graft evaluate --model runs/intents --data test.csv --json",
      "  graft evaluate --model runs/reader --data dev-v2.0.json",
      "  graft evaluate --model runs/gpt --data held-out.txt"
    })
final class EvaluateCommand extends GraftCommand {
  @Option(
      names = "--model",
      paramLabel = "DIR",
      required = true,
      order = 1,
      description = "Model directory, or a run's, or a name on a hub.")
  Path model;

  @Option(
      names = "--data",
      paramLabel = "FILE",
      arity = "1..*",
      order = 2,
      description =
          "A file as finetune's --train takes for the task; for a language model text files.")
  List<Path> data;

  @Option(
      names = "--data-sql",
      paramLabel = "SELECT",
      order = 3,
      description = "Instead, for a classifier: one SELECT statement, run by DuckDB.")
  String dataSql;

  @Mixin QueryFlags query;

  @Mixin ColumnFlags columns;

  @Option(
      names = "--max-length",
      paramLabel = "N",
      order = 14,
      description = "Longest text in tokens, longer ones are cut (default: the model's length).",
      defaultValue = "0")
  int maxLength;

  @Option(
      names = "--label-separator",
      paramLabel = "TEXT",
      order = 16,
      description =
          "What stands between several labels or numbers of a text (default: ${DEFAULT-VALUE}).",
      defaultValue = ",")
  String labelSeparator;

  @Mixin CorpusFlags text;

  @Mixin ComputeOptions compute;

  @Option(names = "--json", order = 950, description = "Print the metrics by name as a JSON line.")
  boolean json;

  @Override
  public Integer call() {
    if (data == null && dataSql == null) {
      throw new InvalidInputException("--data: the data to judge by are missing");
    }
    if (labelSeparator.isEmpty()) {
      throw new InvalidInputException("--label-separator: expected a text");
    }
    query.require(dataSql);
    Task task = Models.task(model);
    ModelOptions options = Models.options(compute).withMaxLength(maxLength);
    Map<String, Double> metrics =
        switch (task) {
          case SEQUENCE_CLASSIFICATION -> classifier(options);
          case TOKEN_CLASSIFICATION -> {
            List<TaggedSentence> sentences = TaggedData.read(file());
            try (var tagger = BertForTokenClassification.fromPretrained(model, options)) {
              yield tagger.evaluate(sentences);
            }
          }
          case QUESTION_ANSWERING -> {
            List<Question> questions = QuestionData.read(file());
            try (var reader = BertForQuestionAnswering.fromPretrained(model, options)) {
              yield reader.evaluate(questions);
            }
          }
          case MULTIPLE_CHOICE -> {
            List<ChoiceQuestion> questions = ChoiceData.read(file());
            try (var chooser = BertForMultipleChoice.fromPretrained(model, options)) {
              yield chooser.evaluate(questions);
            }
          }
          default -> language(task, options);
        };
    if (json) {
      ObjectNode line = Json.object();
      MetricsJson.put(line, metrics);
      json(line);
    } else {
      metrics.forEach((name, value) -> out().println(ProgressDisplay.metric(name, value)));
    }
    return ExitCode.DONE;
  }

  private Path file() {
    if (columns.given()) {
      throw new InvalidInputException("this task's files have no columns to name");
    }
    LabelledSource source = query.source("--data", data, dataSql);
    if (source.file() == null) {
      throw new InvalidInputException("--data-sql: this task is judged on files");
    }
    return source.file();
  }

  private Map<String, Double> classifier(ModelOptions options) {
    Dataset set =
        Dataset.streamed(query.source("--data", data, dataSql), columns.columns())
            .withLabelSeparator(labelSeparator);
    try (BertForSequenceClassification loaded =
        BertForSequenceClassification.fromPretrained(model, options)) {
      return loaded.evaluate(set);
    }
  }

  private Map<String, Double> language(Task task, ModelOptions options) {
    if (dataSql != null) {
      throw new InvalidInputException("--data-sql: a language model is judged on text files");
    }
    try (LanguageModel loaded = load(task, options)) {
      if (loaded instanceof GPT2LMHeadModel gpt2
          && data.size() == 1
          && text.documents == DocumentMode.FILE
          && PromptData.isReadable(data.get(0))) {
        return gpt2.evaluate(PromptData.read(data.get(0)));
      }
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
