package dev.graft.data;

import com.fasterxml.jackson.databind.JsonNode;
import dev.graft.io.InvalidInputException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * Questions with choices from JSON Lines: {@code question}, {@code choices} (or {@code endings}, an
 * array of texts), {@code label} (or {@code answer}: the number of the right one from 0, or its
 * text) and, if there is one, {@code context}.
 */
public final class ChoiceData {
  private static final List<String> CONTEXT = List.of("context", "passage");
  private static final List<String> QUESTION = List.of("question", "text", "sentence");
  private static final List<String> CHOICES = List.of("choices", "endings", "options");
  private static final List<String> LABEL = List.of("label", "answer");

  private ChoiceData() {}

  /**
   * Reads a file.
   *
   * @throws InvalidInputException naming file, line and cause
   */
  public static List<ChoiceQuestion> read(Path file) {
    String name = file.getFileName().toString().toLowerCase(Locale.ROOT);
    if (!name.endsWith(".jsonl") && !name.endsWith(".ndjson")) {
      throw InvalidInputException.of(file, "expected a .jsonl file");
    }
    List<ChoiceQuestion> questions = new ArrayList<>();
    JsonLines.forEach(file, (line, object) -> questions.add(question(file, line, object)));
    if (questions.isEmpty()) {
      throw InvalidInputException.of(file, "there are no questions in it");
    }
    return questions;
  }

  /** See {@link #read(Path)}. */
  public static List<ChoiceQuestion> read(String file) {
    return read(Path.of(file));
  }

  private static ChoiceQuestion question(Path file, long line, JsonNode object) {
    JsonNode context = JsonLines.find(object, CONTEXT);
    String question = JsonLines.text(file, line, object, QUESTION);
    JsonNode array = JsonLines.field(file, line, object, CHOICES);
    List<String> choices = new ArrayList<>();
    for (JsonNode choice : array) {
      if (!choice.isTextual()) {
        throw InvalidInputException.ofLine(file, line, "choices: expected texts, got " + choice);
      }
      choices.add(choice.asText());
    }
    if (!array.isArray() || choices.size() < 2) {
      throw InvalidInputException.ofLine(
          file, line, "choices: expected an array of at least two texts");
    }
    return new ChoiceQuestion(
        context == null ? null : context.asText(),
        question,
        choices,
        label(file, line, JsonLines.find(object, LABEL), choices),
        file + ": line " + line);
  }

  private static int label(Path file, long line, JsonNode label, List<String> choices) {
    if (label == null) {
      return -1;
    }
    boolean number = label.isIntegralNumber() && label.canConvertToInt();
    int index = number ? label.asInt() : choices.indexOf(label.asText());
    if (index < 0 && label.isTextual() && label.asText().matches("\\d{1,3}")) {
      index = Integer.parseInt(label.asText());
    }
    if (index < 0 || index >= choices.size()) {
      throw InvalidInputException.ofLine(
          file,
          line,
          "label: expected 0 to " + (choices.size() - 1) + " or one of the choices, got " + label);
    }
    return index;
  }
}
