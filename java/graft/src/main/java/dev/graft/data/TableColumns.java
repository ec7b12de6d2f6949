package dev.graft.data;

import dev.graft.io.InvalidInputException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Where a table holds what.
 *
 * @param second −1 for none, as {@code label}
 * @param labels columns by name where each label has its own, otherwise empty
 * @param width fields every row has
 */
record TableColumns(int text, int second, int label, Map<String, Integer> labels, int width) {
  static final List<String> TEXT_NAMES =
      List.of("text", "sentence", "text_a", "sentence1", "question", "title", "content");
  static final List<String> SECOND_NAMES = List.of("text_b", "sentence2", "second_text");
  static final List<String> LABEL_NAMES = List.of("label", "category", "class", "intent", "target");

  /** Finds columns by the names in the first row. */
  static TableColumns named(Path file, List<String> header, Columns columns) {
    int text = find(file, header, columns.text(), TEXT_NAMES);
    if (text < 0) {
      throw InvalidInputException.of(
          file, "no column is named " + TEXT_NAMES + "; name the text column: there are " + header);
    }
    int second = find(file, header, columns.secondText(), SECOND_NAMES);
    if (columns.labels().isEmpty() || header.contains(columns.label())) {
      int label = find(file, header, columns.label(), LABEL_NAMES);
      return new TableColumns(text, second, label, Map.of(), header.size());
    }
    Map<String, Integer> labels = new LinkedHashMap<>();
    for (String name : columns.labels()) {
      put(file, labels, name, find(file, header, name, List.of()));
    }
    return new TableColumns(text, second, -1, labels, header.size());
  }

  private static void put(Path file, Map<String, Integer> labels, String name, int at) {
    if (labels.put(name, at) != null) {
      throw InvalidInputException.of(file, "the label column '" + name + "' is named twice");
    }
  }

  private static int find(Path file, List<String> header, String asked, List<String> usual) {
    if (asked != null) {
      int at = header.indexOf(asked);
      if (at < 0) {
        throw InvalidInputException.of(
            file, "there is no column '" + asked + "'; the columns are " + header);
      }
      return single(file, header, at);
    }
    return usual(file, header, usual);
  }

  /** The column of the first of some names that is there, in whatever case; −1 for none. */
  static int usual(Path file, List<String> header, List<String> usual) {
    for (String name : usual) {
      for (int i = 0; i < header.size(); i++) {
        if (header.get(i).equalsIgnoreCase(name)) {
          return single(file, header, i);
        }
      }
    }
    return -1;
  }

  private static int single(Path file, List<String> header, int at) {
    if (header.lastIndexOf(header.get(at)) != at) {
      throw InvalidInputException.of(
          file, "two columns are named '" + header.get(at) + "': " + header);
    }
    return at;
  }

  /** Takes columns by number; {@code first} is the first row. */
  static TableColumns numbered(Path file, List<String> first, Columns columns) {
    int text = number(file, columns.text(), 0);
    int second = columns.secondText() == null ? -1 : number(file, columns.secondText(), -1);
    Map<String, Integer> labels = new LinkedHashMap<>();
    for (String name : columns.labels()) {
      put(file, labels, name, number(file, name, -1));
    }
    int label = labels.isEmpty() ? number(file, columns.label(), first.size() > 1 ? 1 : -1) : -1;
    TableColumns at = new TableColumns(text, second, label, labels, first.size());
    int last = labels.values().stream().mapToInt(i -> i).max().orElse(label);
    int needed = Math.max(text, Math.max(second, last)) + 1;
    if (needed > at.width) {
      throw InvalidInputException.ofLine(
          file, 1, "expected at least " + needed + " fields, got " + at.width);
    }
    return at;
  }

  private static int number(Path file, String column, int otherwise) {
    if (column == null) {
      return otherwise;
    }
    if (!column.matches("\\d{1,6}")) {
      throw InvalidInputException.of(
          file, "without a header columns are numbers from 0, not '" + column + "'");
    }
    return Integer.parseInt(column);
  }

  LabelledExample example(Path file, long line, List<String> row) {
    if (row.size() != width) {
      throw InvalidInputException.ofLine(
          file, line, "expected " + width + " fields, got " + row.size());
    }
    Map<String, String> cells = new LinkedHashMap<>();
    labels.forEach((name, at) -> cells.put(name, stripped(row.get(at))));
    return new LabelledExample(
        row.get(text),
        second < 0 ? null : row.get(second),
        label < 0 ? null : stripped(row.get(label)),
        cells,
        line);
  }

  private static String stripped(String cell) {
    return cell == null ? null : cell.strip();
  }
}
