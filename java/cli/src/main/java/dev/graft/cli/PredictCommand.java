package dev.graft.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.BertForSequenceClassification;
import dev.graft.Dataset;
import dev.graft.apply.Prediction;
import dev.graft.data.LabelledExample;
import dev.graft.data.LabelledSource;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import dev.graft.model.Task;
import dev.graft.text.LineReader;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code graft predict}. */
@Command(
    name = "predict",
    description = "Prints the class of each text, with its probability.",
    footer = {
      "Examples:",
      "  graft predict --model runs/intents 'Where is my card?'",
      "  graft predict --model runs/intents --input texts.txt --top-k 3 --json",
      "  graft predict --model runs/pairs --input pairs.tsv --text-column q1 \\",
      "      --second-text-column q2",
      "  cat texts.txt | graft predict --model runs/intents --input -"
    })
final class PredictCommand extends GraftCommand {
  private static final int BATCH = 32;

  @Option(
      names = "--model",
      paramLabel = "DIR",
      required = true,
      order = 1,
      description = "Directory of a classifier, or of the run it came from, or a name on a hub.")
  Path model;

  @Parameters(paramLabel = "TEXT", arity = "0..*", description = "Texts to classify.")
  List<String> texts = List.of();

  @Option(
      names = "--input",
      paramLabel = "FILE",
      order = 2,
      description =
          "Texts of a .csv, .tsv, .jsonl or .parquet file; of any other a text a line; - is standard"
              + " input.")
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
      description = "Classes to show, most probable first; 0 for all (default: ${DEFAULT-VALUE}).",
      defaultValue = "1")
  int topK;

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
    if (topK < 0) {
      throw new InvalidInputException("--top-k: expected at least 0, got " + topK);
    }
    Models.require(
        model, "predict", "classifier", Models.task(model) == Task.SEQUENCE_CLASSIFICATION);
    try (BertForSequenceClassification classifier =
        BertForSequenceClassification.fromPretrained(
            model, Models.options(compute).withMaxLength(maxLength))) {
      if (source == null) {
        answer(classifier, texts.stream().map(text -> new LabelledExample(text, null)).toList());
      } else if (isTable()) {
        table(classifier, source);
      } else {
        lines(classifier);
      }
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

  private boolean isTable() {
    return columns.given()
        || inputSql != null
        || input.toString().toLowerCase().matches(".*\\.(csv|tsv|jsonl|ndjson|parquet)");
  }

  private void table(BertForSequenceClassification classifier, LabelledSource source) {
    List<LabelledExample> waiting = new ArrayList<>();
    Dataset.streamed(source, columns.columns())
        .forEach(
            example -> {
              waiting.add(example);
              if (waiting.size() == BATCH) {
                answer(classifier, waiting);
                waiting.clear();
              }
            });
    answer(classifier, waiting);
  }

  private void lines(BertForSequenceClassification classifier) {
    try (LineReader lines = Inputs.lines(input)) {
      List<LabelledExample> waiting = new ArrayList<>();
      for (String line = lines.next(); line != null; line = lines.next()) {
        waiting.add(new LabelledExample(line, null));
        if (waiting.size() == BATCH || !lines.ready()) {
          answer(classifier, waiting);
          out().flush();
          waiting.clear();
        }
      }
      answer(classifier, waiting);
    }
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
      List<Prediction.Scored> classes = prediction.classes();
      if (topK > 0 && topK < classes.size()) {
        classes = classes.subList(0, topK);
      }
      out()
          .append(
              json ? line(examples.get(i), prediction, classes) : text(examples.get(i), classes));
      out().append('\n');
    }
  }

  /** {@code label probability … TAB text}. */
  private static String text(LabelledExample example, List<Prediction.Scored> classes) {
    StringBuilder line = new StringBuilder();
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
      LabelledExample example, Prediction prediction, List<Prediction.Scored> classes) {
    ObjectNode line = Json.object();
    line.put("text", example.text());
    if (example.secondText() != null) {
      line.put("second_text", example.secondText());
    }
    line.put("label", prediction.label()).put("probability", prediction.probability());
    ArrayNode all = line.putArray("classes");
    for (Prediction.Scored scored : classes) {
      all.addObject().put("label", scored.name()).put("probability", scored.probability());
    }
    return Json.line(line.put("truncated", prediction.truncated()));
  }
}
