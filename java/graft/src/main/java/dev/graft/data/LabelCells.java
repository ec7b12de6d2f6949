package dev.graft.data;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Pattern;

/**
 * Reads the several labels, or numbers, of one example: a JSON array, or texts with a separator
 * between; an empty cell has none. Or a column each: 1 (true) where the text has the label and 0
 * (false) where not, or the number.
 *
 * @param separator between two labels, for example {@code ","}
 */
public record LabelCells(String separator) {
  /** A comma between two labels. */
  public static final LabelCells COMMA = new LabelCells(",");

  public LabelCells {
    if (separator.isEmpty()) {
      throw new IllegalArgumentException("the separator of labels is empty");
    }
  }

  /**
   * The labels of an example, maybe none.
   *
   * @param source what messages call its set
   */
  public List<String> labels(LabelledExample example, String source) {
    if (!example.cells().isEmpty()) {
      return example.cells().keySet().stream()
          .filter(column -> isSet(example, source, column))
          .toList();
    }
    String cell = example.label();
    if (cell == null) {
      throw error(example, source, "an example has no label field");
    }
    List<String> labels = new ArrayList<>();
    if (cell.startsWith("[")) {
      for (JsonNode one : array(example, source)) {
        if (one.isContainerNode() || one.isNull() || one.asText().isBlank()) {
          throw error(example, source, "expected an array of labels, got " + cell);
        }
        labels.add(one.asText().strip());
      }
      return labels;
    }
    for (String label : cell.split(Pattern.quote(separator))) {
      if (!label.isBlank()) {
        labels.add(label.strip());
      }
    }
    return labels;
  }

  private static boolean isSet(LabelledExample example, String source, String column) {
    String cell = example.cells().get(column);
    return switch (cell == null ? "" : cell.toLowerCase(Locale.ROOT)) {
      case "1", "1.0", "true" -> true;
      case "0", "0.0", "false" -> false;
      default ->
          throw error(
              example, source, "column '" + column + "': expected 0 or 1, got " + shown(cell));
    };
  }

  private static String shown(String cell) {
    return cell == null || cell.isEmpty() ? "an empty cell" : "'" + cell + "'";
  }

  private static JsonNode array(LabelledExample example, String source) {
    try {
      return Json.MAPPER.readTree(example.label());
    } catch (JsonProcessingException e) {
      throw error(example, source, "the label " + example.label() + " is not a JSON array");
    }
  }

  /** The numbers of an example, at least one. */
  public float[] numbers(LabelledExample example, String source) {
    if (!example.cells().isEmpty()) {
      float[] numbers = new float[example.cells().size()];
      int at = 0;
      for (Map.Entry<String, String> cell : example.cells().entrySet()) {
        String where = "column '" + cell.getKey() + "': ";
        numbers[at++] = number(example, source, where, cell.getValue());
      }
      return numbers;
    }
    List<String> texts = labels(example, source);
    float[] numbers = new float[texts.size()];
    for (int i = 0; i < numbers.length; i++) {
      numbers[i] = number(example, source, "", texts.get(i));
    }
    if (numbers.length == 0) {
      throw error(example, source, "an example has no number");
    }
    return numbers;
  }

  private static float number(LabelledExample example, String source, String where, String text) {
    float number;
    try {
      number = Float.parseFloat(text == null ? "" : text);
    } catch (NumberFormatException e) {
      throw error(example, source, where + "expected a number, got " + shown(text));
    }
    if (!Float.isFinite(number) || number == Batch.IGNORED) {
      throw error(
          example,
          source,
          where + "expected a finite number, and not " + Batch.IGNORED + ", got '" + text + "'");
    }
    return number;
  }

  private static InvalidInputException error(LabelledExample example, String source, String what) {
    String line = example.line() > 0 ? ": line " + example.line() : "";
    return new InvalidInputException(source + line + ": " + what);
  }
}
