package dev.graft.data;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectReader;
import dev.graft.data.Question.Answer;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import dev.graft.text.Utf8Reader;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * Questions from files, by their ending.
 *
 * <p>{@code .json}: SQuAD 1.1 and 2.0 (articles under {@code data}, their {@code paragraphs} with
 * {@code context} and {@code qas}). {@code .jsonl}: an object a line with {@code question}, {@code
 * context} and {@code answers}: SQuAD's list of {@code text} and {@code answer_start}, the same as
 * an object of two arrays, or {@code answer}, a text that stands in the context. No answer, or
 * {@code is_impossible}, means that the context does not answer it.
 *
 * <p>{@code answer_start} counts characters as Python does. An answer that does not stand there is
 * looked for nearby; one that is nowhere in the context is an error.
 */
public final class QuestionData {
  private static final List<String> QUESTION = List.of("question");
  private static final List<String> CONTEXT = List.of("context", "text", "passage");

  /** An article ends inside of its file. */
  private static final ObjectReader ARTICLES =
      Json.MAPPER.reader().without(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);

  private QuestionData() {}

  /**
   * Reads a file.
   *
   * @throws InvalidInputException naming file, line or id, and cause
   */
  public static List<Question> read(Path file) {
    String name = file.getFileName().toString().toLowerCase(Locale.ROOT);
    List<Question> questions = new ArrayList<>();
    if (name.endsWith(".jsonl") || name.endsWith(".ndjson")) {
      JsonLines.forEach(
          file,
          (line, object) -> {
            String source = file + ": line " + line;
            String question = JsonLines.text(file, line, object, QUESTION);
            String context = JsonLines.text(file, line, object, CONTEXT);
            questions.add(question(object, question, context, "" + line, source));
          });
    } else if (name.endsWith(".json")) {
      squad(file, questions);
    } else {
      throw InvalidInputException.of(file, "expected a .json (SQuAD) or .jsonl file");
    }
    if (questions.isEmpty()) {
      throw InvalidInputException.of(file, "there are no questions in it");
    }
    return questions;
  }

  /** See {@link #read(Path)}. */
  public static List<Question> read(String file) {
    return read(Path.of(file));
  }

  /** One article at a time, so that the text of the file need not be in memory. */
  private static void squad(Path file, List<Question> to) {
    try (Utf8Reader reader = new Utf8Reader(file);
        JsonParser parser = Json.MAPPER.createParser(reader)) {
      boolean found = false;
      if (parser.nextToken() != JsonToken.START_OBJECT) {
        throw InvalidInputException.of(file, "expected a JSON object");
      }
      while (parser.nextToken() == JsonToken.FIELD_NAME) {
        boolean data = parser.currentName().equals("data");
        JsonToken value = parser.nextToken();
        if (!data) {
          parser.skipChildren();
        } else if (value != JsonToken.START_ARRAY) {
          throw InvalidInputException.of(file, "data: expected an array of articles");
        } else {
          found = true;
          while (parser.nextToken() != JsonToken.END_ARRAY) {
            article(file, ARTICLES.readTree(parser), to);
          }
        }
      }
      if (!found) {
        throw InvalidInputException.of(file, "there is no field 'data'; is it a SQuAD file?");
      }
    } catch (JsonProcessingException e) {
      throw InvalidInputException.of(file, "not valid JSON: " + e.getOriginalMessage());
    } catch (UncheckedIOException e) {
      throw InvalidInputException.of(file, e.getCause());
    } catch (IOException e) {
      throw InvalidInputException.of(file, e);
    }
  }

  private static void article(Path file, JsonNode article, List<Question> to) {
    for (JsonNode paragraph : article.path("paragraphs")) {
      if (!paragraph.path("context").isTextual()) {
        throw InvalidInputException.of(file, "a paragraph has no context");
      }
      String context = paragraph.get("context").asText();
      for (JsonNode qa : paragraph.path("qas")) {
        String id = qa.path("id").asText("");
        String source = file + ": question '" + id + "'";
        if (!qa.path("question").isTextual()) {
          throw new InvalidInputException(source + " has no text");
        }
        to.add(question(qa, qa.get("question").asText(), context, id, source));
      }
    }
  }

  private static Question question(
      JsonNode node, String question, String context, String otherId, String source) {
    List<Answer> answers = null;
    if (node.path("is_impossible").asBoolean(false)) {
      answers = List.of();
    } else if (node.hasNonNull("answers")) {
      answers = answers(node.get("answers"), context, source);
    } else if (node.path("answer").isTextual()) {
      String text = node.get("answer").asText();
      answers = text.isEmpty() ? List.of() : List.of(place(text, 0, context, source));
    } else if (node.has("answer") || node.has("answers")) {
      answers = List.of();
    }
    return new Question(node.path("id").asText(otherId), question, context, answers, source);
  }

  private static List<Answer> answers(JsonNode node, String context, String source) {
    List<Answer> answers = new ArrayList<>();
    if (node.isObject()) {
      JsonNode starts = node.path("answer_start");
      for (int i = 0; i < node.path("text").size(); i++) {
        answers.add(answer(node.get("text").get(i), starts.path(i), context, source));
      }
    } else if (node.isArray()) {
      for (JsonNode one : node) {
        boolean bare = one.isTextual();
        answers.add(
            answer(bare ? one : one.path("text"), one.path("answer_start"), context, source));
      }
    } else {
      throw new InvalidInputException(source + ": answers: expected an array or an object");
    }
    return answers;
  }

  private static Answer answer(JsonNode text, JsonNode start, String context, String source) {
    if (!text.isTextual() || text.asText().isEmpty()) {
      throw new InvalidInputException(source + ": an answer has no text");
    }
    int codePoints = context.codePointCount(0, context.length());
    int asked = start.isIntegralNumber() ? Math.max(0, Math.min(codePoints, start.asInt())) : 0;
    return place(text.asText(), context.offsetByCodePoints(0, asked), context, source);
  }

  /** The occurrence nearest to a place. */
  private static Answer place(String text, int at, String context, String source) {
    int before = context.lastIndexOf(text, at);
    int behind = context.indexOf(text, at);
    if (before < 0 && behind < 0) {
      throw new InvalidInputException(
          source + ": the answer '" + text + "' does not stand in the context");
    }
    boolean takeBefore = behind < 0 || before >= 0 && at - before < behind - at;
    return new Answer(text, takeBefore ? before : behind);
  }
}
