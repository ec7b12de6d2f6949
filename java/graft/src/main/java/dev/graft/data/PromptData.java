package dev.graft.data;

import com.fasterxml.jackson.databind.JsonNode;
import dev.graft.io.InvalidInputException;
import dev.graft.text.LineReader;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * Prompts and completions from JSON Lines. A record has {@code prompt} and {@code completion}, or
 * {@code instruction}, {@code output} and perhaps {@code input}, or {@code document} and {@code
 * summary}; other fields are not looked at.
 */
public final class PromptData {
  private static final List<String> TEXTS = List.of("prompt", "instruction", "document");
  private static final List<String> COMPLETIONS = List.of("completion", "output", "summary");

  private PromptData() {}

  /**
   * Reads a whole set.
   *
   * @throws InvalidInputException naming file, line and cause
   */
  public static List<PromptExample> read(Path file) {
    List<PromptExample> examples = readPrompts(file);
    for (PromptExample example : examples) {
      if (example.completion() == null || example.completion().isBlank()) {
        throw InvalidInputException.ofLine(
            file, example.line(), "there is no text to learn: expected one of " + COMPLETIONS);
      }
    }
    return examples;
  }

  /** Reads what is asked; records may lack a completion. */
  public static List<PromptExample> readPrompts(Path file) {
    String name = file.getFileName().toString().toLowerCase(Locale.ROOT);
    if (!name.endsWith(".jsonl") && !name.endsWith(".ndjson")) {
      throw InvalidInputException.of(file, "prompts come as JSON Lines: expected a .jsonl file");
    }
    List<PromptExample> examples = new ArrayList<>();
    try (LineReader lines = LineReader.open(file)) {
      for (String line = lines.next(); line != null; line = lines.next()) {
        if (!line.isBlank()) {
          JsonNode json = LabelledJson.object(file, lines.number(), line);
          String text = first(file, lines.number(), json, TEXTS);
          if (text == null) {
            throw InvalidInputException.ofLine(
                file, lines.number(), "expected a field of " + TEXTS);
          }
          String input = first(file, lines.number(), json, List.of("input"));
          examples.add(
              new PromptExample(
                  text,
                  input == null || input.isBlank() ? null : input,
                  first(file, lines.number(), json, COMPLETIONS),
                  lines.number()));
        }
      }
    }
    if (examples.isEmpty()) {
      throw InvalidInputException.of(file, "there are no examples in it");
    }
    return examples;
  }

  /**
   * The template for a set of instructions: {@link PromptTemplate#PLAIN} if its first record has a
   * {@code prompt}, else {@link PromptTemplate#INSTRUCT}.
   */
  public static PromptTemplate templateOf(Path file) {
    try (LineReader lines = LineReader.open(file)) {
      for (String line = lines.next(); line != null; line = lines.next()) {
        if (!line.isBlank()) {
          return LabelledJson.object(file, lines.number(), line).has("prompt")
              ? PromptTemplate.PLAIN
              : PromptTemplate.INSTRUCT;
        }
      }
    }
    throw InvalidInputException.of(file, "there are no examples in it");
  }

  private static String first(Path file, long line, JsonNode json, List<String> names) {
    for (String name : names) {
      JsonNode value = json.path(name);
      if (value.isTextual()) {
        return value.asText();
      }
      if (!value.isMissingNode() && !value.isNull()) {
        throw InvalidInputException.ofLine(file, line, "field '" + name + "' is not a text");
      }
    }
    return null;
  }
}
