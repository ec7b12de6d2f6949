package dev.graft.data;

import com.fasterxml.jackson.databind.JsonNode;
import dev.graft.io.InvalidInputException;
import dev.graft.text.LineReader;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * Prompts and completions from JSON Lines, CSV, TSV or Parquet (module graft-duckdb), by the file's
 * ending. A record has {@code prompt} and {@code completion}, or {@code instruction}, {@code
 * output} and perhaps {@code input}, or {@code document} and {@code summary}; in a table these are
 * the names of its columns. Others are not looked at.
 */
public final class PromptData {
  private static final String PROMPT = "prompt";
  private static final List<String> TEXTS = List.of(PROMPT, "instruction", "document");
  private static final List<String> INPUTS = List.of("input");
  private static final List<String> COMPLETIONS = List.of("completion", "output", "summary");

  private PromptData() {}

  /** Whether a file's ending is one that is read. */
  public static boolean isReadable(Path file) {
    boolean text = file.getFileName().toString().toLowerCase(Locale.ROOT).endsWith(".txt");
    return LabelledData.isJsonLines(file) || Tables.isTable(file) && !text;
  }

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
    requireReadable(file);
    List<PromptExample> examples =
        Tables.isTable(file) ? new Table(file).read() : readJsonLines(file);
    if (examples.isEmpty()) {
      throw InvalidInputException.of(file, "there are no examples in it");
    }
    return examples;
  }

  private static void requireReadable(Path file) {
    if (!isReadable(file)) {
      throw InvalidInputException.of(
          file, "prompts come as a .jsonl, .csv, .tsv or .parquet file, not as this one");
    }
  }

  private static List<PromptExample> readJsonLines(Path file) {
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
          String input = first(file, lines.number(), json, INPUTS);
          String completion = first(file, lines.number(), json, COMPLETIONS);
          examples.add(new PromptExample(text, unlessBlank(input), completion, lines.number()));
        }
      }
    }
    return examples;
  }

  private static String unlessBlank(String input) {
    return input == null || input.isBlank() ? null : input;
  }

  /**
   * The template for a set of instructions: {@link PromptTemplate#PLAIN} if its first record or its
   * table has a {@code prompt}, else {@link PromptTemplate#INSTRUCT}.
   */
  public static PromptTemplate templateOf(Path file) {
    return firstHasPrompt(file) ? PromptTemplate.PLAIN : PromptTemplate.INSTRUCT;
  }

  private static boolean firstHasPrompt(Path file) {
    requireReadable(file);
    if (Tables.isTable(file)) {
      Table table = new Table(file);
      table.read();
      return table.textName.equals(PROMPT);
    }
    try (LineReader lines = LineReader.open(file)) {
      for (String line = lines.next(); line != null; line = lines.next()) {
        if (!line.isBlank()) {
          return LabelledJson.object(file, lines.number(), line).has(PROMPT);
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

  /** A table of prompts. */
  private static final class Table implements Tables.Rows {
    private final Path file;
    private final List<PromptExample> examples = new ArrayList<>();
    private String textName = "";
    private int text;
    private int input;
    private int completion;
    private int width;

    Table(Path file) {
      this.file = file;
    }

    List<PromptExample> read() {
      Tables.forEach(LabelledSource.of(file), true, this);
      return examples;
    }

    @Override
    public void first(List<String> header) {
      width = header.size();
      text = TableColumns.usual(file, header, TEXTS);
      input = TableColumns.usual(file, header, INPUTS);
      completion = TableColumns.usual(file, header, COMPLETIONS);
      if (text < 0) {
        throw InvalidInputException.of(
            file, "no column is named " + TEXTS + "; there are " + header);
      }
      textName = header.get(text).toLowerCase(Locale.ROOT);
    }

    @Override
    public void row(long line, List<String> row) {
      if (row.size() != width) {
        throw InvalidInputException.ofLine(
            file, line, "expected " + width + " fields, got " + row.size());
      }
      if (row.get(text) == null || row.get(text).isBlank()) {
        throw InvalidInputException.ofLine(file, line, "column '" + textName + "' is empty");
      }
      examples.add(
          new PromptExample(
              row.get(text),
              input < 0 ? null : unlessBlank(row.get(input)),
              completion < 0 ? null : row.get(completion),
              line));
    }
  }
}
