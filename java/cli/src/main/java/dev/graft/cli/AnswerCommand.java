package dev.graft.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.BertForQuestionAnswering;
import dev.graft.apply.FoundAnswer;
import dev.graft.data.Question;
import dev.graft.data.QuestionData;
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

/** {@code graft answer}. */
@Command(
    name = "answer",
    description = "Finds the answers to questions in a text, as they stand there.",
    footer = {
      "Examples:",
      "  graft answer --model runs/reader --context manual.txt 'How is it switched off?'",
      "  graft answer --model runs/reader --text 'Ada lived in London.' 'Where did she live?'",
      "  graft answer --model runs/reader --input questions.jsonl --allow-none --json"
    })
final class AnswerCommand extends GraftCommand {
  private static final int BATCH = 16;

  @Option(
      names = "--model",
      paramLabel = "DIR",
      required = true,
      order = 1,
      description = "Directory of a model, or of the run it came from, or a name on a hub.")
  Path model;

  @Parameters(paramLabel = "QUESTION", arity = "0..*", description = "Questions to the text.")
  List<String> questions = List.of();

  @Option(
      names = "--context",
      paramLabel = "FILE",
      order = 2,
      description = "The text, a file of any length; - is standard input.")
  Path context;

  @Option(names = "--text", paramLabel = "TEXT", order = 3, description = "The text itself.")
  String text;

  @Option(
      names = "--input",
      paramLabel = "FILE",
      order = 4,
      description = "Instead: questions with their texts, SQuAD's .json or .jsonl.")
  Path input;

  @Option(
      names = "--allow-none",
      order = 5,
      description = "A text may not answer a question (as in SQuAD 2.0): the answer is then empty.")
  boolean allowNone;

  @Option(
      names = "--top-k",
      paramLabel = "K",
      order = 6,
      description = "Answers to show, most probable first (default: ${DEFAULT-VALUE}).",
      defaultValue = "1")
  int topK;

  @Option(
      names = "--max-length",
      paramLabel = "N",
      order = 14,
      description =
          "Longest window in tokens, the question included (default: the model's length).",
      defaultValue = "0")
  int maxLength;

  @Mixin ComputeOptions compute;

  @Option(
      names = "--json",
      order = 950,
      description = "A JSON line a question: answer, begin, end, probability, answers.")
  boolean json;

  @Override
  public Integer call() {
    if (topK < 1) {
      throw new InvalidInputException("--top-k: expected at least 1, got " + topK);
    }
    List<Question> asked = asked();
    Models.require(
        model,
        "answer",
        "model for question answering",
        Models.task(model) == Task.QUESTION_ANSWERING);
    try (var reader =
        BertForQuestionAnswering.fromPretrained(
            model, Models.options(compute).withMaxLength(maxLength))) {
      for (int from = 0; from < asked.size(); from += BATCH) {
        List<Question> part = asked.subList(from, Math.min(from + BATCH, asked.size()));
        List<List<FoundAnswer>> found = reader.answer(part, topK, allowNone);
        for (int i = 0; i < part.size(); i++) {
          print(part.get(i), found.get(i));
        }
      }
    }
    out().flush();
    return ExitCode.DONE;
  }

  private List<Question> asked() {
    int given = (context == null ? 0 : 1) + (text == null ? 0 : 1) + (input == null ? 0 : 1);
    if (given != 1 || (input == null) == questions.isEmpty()) {
      throw new InvalidInputException(
          "give questions and their text by --context or --text, or both by --input");
    }
    if (input != null) {
      return QuestionData.read(input);
    }
    String all = text != null ? text : read();
    return questions.stream().map(question -> new Question(question, all)).toList();
  }

  private String read() {
    List<String> all = new ArrayList<>();
    try (LineReader lines = Inputs.lines(context)) {
      for (String line = lines.next(); line != null; line = lines.next()) {
        all.add(line);
      }
    }
    return String.join("\n", all);
  }

  private void print(Question question, List<FoundAnswer> found) {
    if (json) {
      ObjectNode line = Json.object();
      if (!question.id().isEmpty()) {
        line.put("id", question.id());
      }
      line.put("question", question.question());
      fill(line, "answer", found.get(0));
      ArrayNode all = line.putArray("answers");
      found.forEach(answer -> fill(all.addObject(), "text", answer));
      out().append(Json.line(line)).append('\n');
      return;
    }
    for (FoundAnswer answer : found) {
      String shown = answer.text().isEmpty() ? "(no answer)" : answer.text().replace('\n', ' ');
      out()
          .append(String.format("%s %.4f\t%s%n", shown, answer.probability(), question.question()));
    }
  }

  private static void fill(ObjectNode line, String name, FoundAnswer answer) {
    line.put(name, answer.text())
        .put("begin", answer.begin())
        .put("end", answer.end())
        .put("probability", answer.probability());
  }
}
