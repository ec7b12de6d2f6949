package dev.graft.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.BertForMultipleChoice;
import dev.graft.BertForSequenceClassification;
import dev.graft.BertForTokenClassification;
import dev.graft.Dataset;
import dev.graft.ModelOptions;
import dev.graft.apply.Choice;
import dev.graft.apply.Prediction;
import dev.graft.data.ChoiceData;
import dev.graft.data.ChoiceQuestion;
import dev.graft.data.LabelledExample;
import dev.graft.data.LabelledSource;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import dev.graft.model.ProblemType;
import dev.graft.model.Task;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code graft predict}. */
@Command(
    name = "predict",
    description =
        "Prints what a model says of each text: its class with its probability, its labels, its"
            + " number, or the named things in it; for a model of choices the right one of each"
            + " question.",
    footer = {
      "Examples:",
      "  graft predict --model runs/intents 'Where is my card?'",
      "  graft predict --model runs/intents --input texts.txt --top-k 3 --json",
      "  graft predict --model runs/pairs --input pairs.tsv --text-column q1 \\",
      "      --second-text-column q2",
      "  graft predict --model runs/names 'Ada Lovelace lived in London.'",
      "  cat texts.txt | graft predict --model runs/intents --input -"
    })
final class PredictCommand extends GraftCommand {
  private static final int BATCH = 32;

  @Option(
      names = "--model",
      paramLabel = "DIR",
      required = true,
      order = 1,
      description = "Directory of a model, or of the run it came from, or a name on a hub.")
  Path model;

  @Parameters(paramLabel = "TEXT", arity = "0..*", description = "Texts to classify.")
  List<String> texts = List.of();

  @Option(
      names = "--input",
      paramLabel = "FILE",
      order = 2,
      description =
          "Texts of a .csv, .tsv, .jsonl or .parquet file; of any other a text a line; - is standard"
              + " input. For choices: a .jsonl file.")
  Path input;

  @Option(
      names = "--input-sql",
      paramLabel = "SELECT",
      order = 3,
      description = "Instead: one SELECT statement, run by DuckDB.")
  String inputSql;

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
      names = "--top-k",
      paramLabel = "K",
      order = 15,
      description =
          "Classes to show, most probable first; 0 for all (default: 1, of labels all that are more"
              + " probable than not).")
  Integer topK;

  @Mixin ComputeOptions compute;

  @Option(
      names = "--json",
      order = 950,
      description = "A JSON line a text: label, probability, classes, truncated.")
  boolean json;

  private long count;
  private long truncated;

  @Override
  public Integer call() {
    query.require(inputSql);
    LabelledSource source =
        query.source("--input", input == null ? null : List.of(input), inputSql);
    if ((source == null) == texts.isEmpty()) {
      throw new InvalidInputException("give texts to classify, or --input, and not both");
    }
    if (topK != null && topK < 0) {
      throw new InvalidInputException("--top-k: expected at least 0, got " + topK);
    }
    Task task = Models.task(model);
    ModelOptions options = Models.options(compute).withMaxLength(maxLength);
    if (task == Task.MULTIPLE_CHOICE) {
      return choices(options, source);
    }
    if (task == Task.TOKEN_CLASSIFICATION) {
      return entities(options, source);
    }
    Models.require(
        model,
        "predict",
        task == Task.QUESTION_ANSWERING ? "classifier (graft answer reads texts)" : "classifier",
        task == Task.SEQUENCE_CLASSIFICATION);
    try (BertForSequenceClassification classifier =
        BertForSequenceClassification.fromPretrained(model, options)) {
      read(source, examples -> answer(classifier, examples));
    }
    out().flush();
    if (truncated > 0) {
      err()
          .printf(
              "graft: %,d of %,d texts are longer than the model takes and were cut%n",
              truncated, count);
    }
    return ExitCode.DONE;
  }

  private void read(LabelledSource source, Consumer<List<LabelledExample>> sink) {
    if (source == null) {
      sink.accept(unlabelled(texts));
    } else if (isTable()) {
      table(source, sink);
    } else {
      Inputs.batches(
          input,
          BATCH,
          lines -> {
            sink.accept(unlabelled(lines));
            out().flush();
          });
    }
  }

  private static List<LabelledExample> unlabelled(List<String> texts) {
    return texts.stream().map(text -> new LabelledExample(text, null)).toList();
  }

  private int entities(ModelOptions options, LabelledSource source) {
    try (var tagger = BertForTokenClassification.fromPretrained(model, options)) {
      WordAnswers answers = new WordAnswers(tagger, json, out());
      read(
          source, examples -> answers.print(examples.stream().map(LabelledExample::text).toList()));
    }
    out().flush();
    return ExitCode.DONE;
  }

  private int choices(ModelOptions options, LabelledSource source) {
    if (source == null || source.file() == null) {
      throw new InvalidInputException("--input: choices are read from a .jsonl file");
    }
    List<ChoiceQuestion> questions = ChoiceData.read(source.file());
    try (var chooser = BertForMultipleChoice.fromPretrained(model, options)) {
      for (int i = 0; i < questions.size(); i++) {
        ChoiceQuestion question = questions.get(i);
        Choice choice = chooser.predict(List.of(question)).get(0);
        out()
            .append(
                json
                    ? WordAnswers.json(question, choice)
                    : String.format(
                        "%s %.4f\t%s", choice.text(), choice.probability(), question.question()))
            .append('\n');
      }
    }
    out().flush();
    return ExitCode.DONE;
  }

  private boolean isTable() {
    return columns.given()
        || inputSql != null
        || input.toString().toLowerCase().matches(".*\\.(csv|tsv|jsonl|ndjson|parquet)");
  }

  private void table(LabelledSource source, Consumer<List<LabelledExample>> sink) {
    List<LabelledExample> waiting = new ArrayList<>();
    Dataset.streamed(source, columns.columns())
        .forEach(
            example -> {
              waiting.add(example);
              if (waiting.size() == BATCH) {
                sink.accept(waiting);
                waiting.clear();
              }
            });
    sink.accept(waiting);
  }

  private void answer(BertForSequenceClassification classifier, List<LabelledExample> examples) {
    if (examples.isEmpty()) {
      return;
    }
    List<Prediction> predictions = classifier.predict(Dataset.of(examples));
    for (int i = 0; i < predictions.size(); i++) {
      Prediction prediction = predictions.get(i);
      count++;
      truncated += prediction.truncated() ? 1 : 0;
      List<Prediction.Scored> classes = shown(prediction, classifier.problemType());
      out()
          .append(
              json
                  ? line(examples.get(i), prediction, classes, classifier.problemType())
                  : text(examples.get(i), prediction, classes));
      out().append('\n');
    }
  }

  /** The k best, and of labels by default all that are more probable than not. */
  private List<Prediction.Scored> shown(Prediction prediction, ProblemType type) {
    List<Prediction.Scored> classes = prediction.classes();
    if (topK == null && type == ProblemType.MULTI_LABEL_CLASSIFICATION) {
      return classes.subList(0, prediction.labels().size());
    }
    int k = topK == null ? 1 : topK;
    return k > 0 && k < classes.size() ? classes.subList(0, k) : classes;
  }

  /** {@code label probability … TAB text}; of a regression {@code number … TAB text}. */
  private static String text(
      LabelledExample example, Prediction prediction, List<Prediction.Scored> classes) {
    StringBuilder line = new StringBuilder();
    for (double value : prediction.values()) {
      line.append(String.format("%.4f\t", value));
    }
    for (Prediction.Scored scored : classes) {
      line.append(String.format("%s %.4f\t", scored.name(), scored.probability()));
    }
    line.append(example.text());
    if (example.secondText() != null) {
      line.append('\t').append(example.secondText());
    }
    return line.toString();
  }

  private static String line(
      LabelledExample example,
      Prediction prediction,
      List<Prediction.Scored> classes,
      ProblemType type) {
    ObjectNode line = Json.object();
    line.put("text", example.text());
    if (example.secondText() != null) {
      line.put("second_text", example.secondText());
    }
    if (!prediction.values().isEmpty()) {
      ArrayNode values = line.putArray("values");
      prediction.values().forEach(values::add);
    } else {
      if (type == ProblemType.MULTI_LABEL_CLASSIFICATION) {
        ArrayNode labels = line.putArray("labels");
        prediction.labels().forEach(labels::add);
      } else {
        line.put("label", prediction.label()).put("probability", prediction.probability());
      }
      ArrayNode all = line.putArray("classes");
      for (Prediction.Scored scored : classes) {
        all.addObject().put("label", scored.name()).put("probability", scored.probability());
      }
    }
    return Json.line(line.put("truncated", prediction.truncated()));
  }
}
