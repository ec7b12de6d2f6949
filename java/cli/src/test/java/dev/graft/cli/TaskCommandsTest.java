package dev.graft.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import dev.graft.cli.Cli.Result;
import dev.graft.io.Json;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The tasks of docs/guides/tasks.md, by commands on its data, with a model far too small. */
class TaskCommandsTest {
  private static final Path EXAMPLES = Path.of("../../docs/examples");
  private static final List<String> ONE_THREAD = List.of("--threads", "1", "--dtype", "fp32");

  @TempDir static Path folder;
  private static Path bert;

  @BeforeAll
  static void pretrain() {
    bert = folder.resolve("bert");
    Cli.run(
            Cli.line(
                List.of("pretrain", "--type", "bert", "--train", EXAMPLES.resolve("texts.txt")),
                List.of("--out", bert, "--steps", 2, "--vocab-size", 600),
                Cli.SMALL))
        .done();
  }

  private static Result run(String command, Object... more) {
    return Cli.run(Cli.line(List.of(command), ONE_THREAD, Arrays.asList(more)));
  }

  private static Path fit(String task, String set, Object... more) {
    Path out = folder.resolve(task);
    if (!Files.exists(out)) {
      Result result =
          Cli.run(
              Cli.line(
                  List.of("finetune", "--task", task, "--model", bert, "--out", out),
                  List.of("--train", EXAMPLES.resolve(set.replace("*", "train"))),
                  List.of("--valid", EXAMPLES.resolve(set.replace("*", "valid"))),
                  List.of("--epochs", 3, "--lr", "3e-3"),
                  ONE_THREAD,
                  Arrays.asList(more)));
      result.done();
    }
    return out;
  }

  @ParameterizedTest
  @CsvSource({
    "ner, names-*.conll, f1, BertForTokenClassification",
    "qa, questions-*.jsonl, exact_match, BertForQuestionAnswering",
    "multiple-choice, choices-*.jsonl, accuracy, BertForMultipleChoice",
    "multi-label, aspects-*.csv, f1_micro, BertForSequenceClassification"
  })
  void finetuneAndEvaluate(String task, String set, String metric, String architecture) {
    Path model = fit(task, set);
    assertThat(Json.readObject(model.resolve("model/config.json")).at("/architectures/0").asText())
        .isEqualTo(architecture);
    String data = EXAMPLES.resolve(set.replace("*", "valid")).toString();
    JsonNode metrics = run("evaluate", "--model", model, "--data", data, "--json").json().get(0);
    assertThat(metrics.path(metric).isNumber()).isTrue();
    assertThat(metrics.path("examples").asInt()).isEqualTo(24);
    // The head says what the model is for, and a finished run goes on to its end at once.
    Result more =
        run("finetune", "--model", model, "--train", data, "--steps", 1, "--out", model + "-more");
    more.done();
    Cli.run("finetune", "--out", model, "--resume").done();
  }

  @Test
  void regression() {
    Path model = fit("regression", "warmth-*.csv", "--label-column", "score");
    JsonNode line = run("predict", "--model", model, "--json", "It was hot .").json().get(0);
    assertThat(line.path("values")).hasSize(1);
    assertThat(line.at("/values/0").isNumber()).isTrue();
    assertThat(run("predict", "--model", model, "It was hot .").done().out())
        .matches("-?\\d\\.\\d{4}\\tIt was hot \\.\\R");
    run(
            "finetune",
            "--task",
            "multi-label",
            "--model",
            model,
            "--train",
            EXAMPLES.resolve("aspects-train.csv"),
            "--out",
            folder.resolve("x"))
        .refused("regression", "multi_label_classification", "new head");
  }

  @Test
  void labelsAndNumbersInColumnsOfTheirOwn() {
    Path train =
        Cli.write(
            folder.resolve("columns.csv"),
            "text,room,price",
            "The room was dark.,1,0",
            "It cost too much.,0,1",
            "A dear and dark room.,1,1",
            "It rained all week.,0,0");
    for (String task : List.of("multi-label", "regression")) {
      Path out = folder.resolve("columns-" + task);
      inColumns(task, train, out).done();
      JsonNode labels = Json.readObject(out.resolve("model/config.json")).get("id2label");
      assertThat(labels.toString()).isEqualTo("{\"0\":\"room\",\"1\":\"price\"}");
      run("evaluate", "--model", out, "--data", train, "--json", "--label-column", "price,room")
          .done();
      run("evaluate", "--model", out, "--data", train, "--label-column", "price,text")
          .refused("columns.csv", "the model's outputs are [room, price]");
      Cli.run("finetune", "--out", out, "--resume").done();
    }
    Path bad = Cli.write(folder.resolve("bad.csv"), "text,room,price", "a,1,0", "b,1,maybe");
    Path no = folder.resolve("no");
    inColumns("multi-label", bad, no)
        .refused("bad.csv: line 3: column 'price': expected 0 or 1, got 'maybe'");
    inColumns("classification", train, no)
        .refused("columns.csv", "several columns are multi-label classification or regression");
    assertThat(no).doesNotExist();
  }

  private static Result inColumns(String task, Path data, Path out) {
    return Cli.run(
        Cli.line(
            List.of("finetune", "--task", task, "--model", bert, "--out", out),
            List.of("--train", data, "--valid", data, "--label-column", "room,price"),
            List.of("--steps", 2, "--lr", "1e-3"),
            ONE_THREAD));
  }

  @Test
  void predictEntities() {
    Path model = fit("ner", "names-*.conll");
    String text = "Marie Curie moved to Paris.";
    JsonNode line = run("predict", "--model", model, "--json", text).json().get(0);
    assertThat(line.path("text").asText()).isEqualTo(text);
    for (JsonNode entity : line.path("entities")) {
      assertThat(entity.path("text").asText())
          .isEqualTo(text.substring(entity.path("begin").asInt(), entity.path("end").asInt()));
    }
    run("answer", "--model", model, "--text", text, "Who?")
        .refused("question answering", "BertForTokenClassification");
  }

  @Test
  void answer() {
    Path model = fit("qa", "questions-*.jsonl");
    String text = "The clock in Oslo is made of oak.";
    JsonNode line =
        run("answer", "--model", model, "--json", "--top-k", 3, "--text", text, "Where?")
            .json()
            .get(0);
    assertThat(line.path("answers")).hasSize(3);
    assertThat(line.path("answer").asText())
        .isEqualTo(text.substring(line.path("begin").asInt(), line.path("end").asInt()));
    Path questions = EXAMPLES.resolve("questions-valid.jsonl");
    assertThat(run("answer", "--model", model, "--input", questions, "--allow-none").done().lines())
        .hasSize(24);
    run("answer", "--model", model, "Where?").refused("--context", "--text", "--input");
    run("predict", "--model", model, "Where?").refused("graft answer");
  }

  @Test
  void predictChoicesAndLabels() {
    Path chooser = fit("multiple-choice", "choices-*.jsonl");
    Path choices = EXAMPLES.resolve("choices-valid.jsonl");
    assertThat(run("predict", "--model", chooser, "--input", choices).done().lines()).hasSize(24);
    run("predict", "--model", chooser, "a text").refused("--input", ".jsonl");
    Path aspects = fit("multi-label", "aspects-*.csv");
    JsonNode line =
        run("predict", "--model", aspects, "--top-k", 0, "--json", "Soup.").json().get(0);
    assertThat(line.path("labels").isArray()).isTrue();
    assertThat(line.path("classes")).hasSize(4);
  }

  @Test
  void badData() {
    Path names = EXAMPLES.resolve("names-train.conll");
    Path out = folder.resolve("bad");
    run("finetune", "--task", "qa", "--model", bert, "--train", names, "--out", out)
        .refused("names-train.conll", ".jsonl");
    Path csv = EXAMPLES.resolve("aspects-train.csv");
    run("finetune", "--task", "regression", "--model", bert, "--train", csv, "--out", out)
        .refused("aspects-train.csv", "line", "expected a number");
    Result unknown =
        run("finetune", "--task", "poetry", "--model", bert, "--train", csv, "--out", out);
    assertThat(unknown.code()).isEqualTo(2);
    assertThat(unknown.err()).contains("--task", "poetry", "multiple-choice");
    assertThat(out).doesNotExist();
  }
}
