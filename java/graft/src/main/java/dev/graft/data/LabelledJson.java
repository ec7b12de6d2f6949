package dev.graft.data;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import dev.graft.text.LineReader;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;

/**
 * Labelled sets of JSON objects, one a line. A record may lack its second text or label; a field
 * that was asked for by name must be in one record at least.
 */
final class LabelledJson {
  private final Path file;
  private String text;
  private String second;
  private String label;
  private final List<String> severalLabels;
  private boolean secondSeen;
  private boolean labelSeen;

  private LabelledJson(Path file, Columns columns) {
    this.file = file;
    text = columns.text();
    second = columns.secondText();
    label = columns.label();
    severalLabels = columns.labels();
    secondSeen = second == null;
    labelSeen = label == null;
  }

  static void forEach(Path file, Columns columns, Consumer<LabelledExample> sink) {
    LabelledJson json = new LabelledJson(file, columns);
    JsonNode last = null;
    try (LineReader lines = LineReader.open(file)) {
      for (String line = lines.next(); line != null; line = lines.next()) {
        if (!line.isBlank()) {
          last = object(file, lines.number(), line);
          sink.accept(json.example(lines.number(), last));
        }
      }
    }
    if (last != null && !(json.secondSeen && json.labelSeen)) {
      throw InvalidInputException.of(
          file,
          "no record has a field '"
              + (json.labelSeen ? json.second : json.label)
              + "'; the last one has "
              + names(last));
    }
  }

  /** A line's object; its number is told if it is none. */
  static JsonNode object(Path file, long number, String line) {
    try {
      JsonNode node = Json.MAPPER.readTree(line);
      if (node.isObject()) {
        return node;
      }
    } catch (JsonProcessingException e) {
      throw InvalidInputException.ofLine(file, number, "not valid JSON: " + e.getOriginalMessage());
    }
    throw InvalidInputException.ofLine(file, number, "expected a JSON object");
  }

  private static List<String> names(JsonNode node) {
    List<String> names = new ArrayList<>();
    node.fieldNames().forEachRemaining(names::add);
    return names;
  }

  private LabelledExample example(long line, JsonNode node) {
    text = text == null ? usual(node, TableColumns.TEXT_NAMES) : text;
    second = second == null ? usual(node, TableColumns.SECOND_NAMES) : second;
    label = label == null ? usual(node, TableColumns.LABEL_NAMES) : label;
    String first = text == null ? null : field(line, node, text);
    if (first == null) {
      throw InvalidInputException.ofLine(
          file,
          line,
          (text == null
                  ? "no field is named " + TableColumns.TEXT_NAMES
                  : "there is no field '" + text + "'")
              + "; there are "
              + names(node));
    }
    secondSeen |= node.has(second);
    boolean several = !severalLabels.isEmpty() && !node.has(label);
    labelSeen |= several || node.has(label);
    String name = label == null || several ? null : labels(line, node);
    return new LabelledExample(
        first,
        second == null ? null : field(line, node, second),
        name == null ? null : name.strip(),
        several ? cells(line, node) : Map.of(),
        line);
  }

  /** The fields of the several labels. */
  private Map<String, String> cells(long line, JsonNode node) {
    Map<String, String> cells = new LinkedHashMap<>();
    for (String name : severalLabels) {
      if (!node.has(name)) {
        throw InvalidInputException.ofLine(
            file, line, "there is no field '" + name + "'; there are " + names(node));
      }
      if (cells.containsKey(name)) {
        throw InvalidInputException.of(file, "the label column '" + name + "' is named twice");
      }
      String cell = field(line, node, name);
      cells.put(name, cell == null ? null : cell.strip());
    }
    return cells;
  }

  /** The label; an array of several, as JSON. */
  private String labels(long line, JsonNode node) {
    JsonNode value = node.path(label);
    return value.isArray() ? Json.line(value) : field(line, node, label);
  }

  private static String usual(JsonNode node, List<String> usual) {
    for (String wanted : usual) {
      for (String name : names(node)) {
        if (name.equalsIgnoreCase(wanted)) {
          return name;
        }
      }
    }
    return null;
  }

  private String field(long line, JsonNode node, String name) {
    JsonNode value = node.get(name);
    if (value == null || value.isNull()) {
      return null;
    }
    if (value.isContainerNode()) {
      throw InvalidInputException.ofLine(
          file, line, "field '" + name + "' is not a text or number");
    }
    return value.asText();
  }
}
