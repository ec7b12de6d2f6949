package dev.graft.data;

import dev.graft.io.InvalidInputException;
import java.nio.file.Path;
import java.util.List;

/**
 * Where a table holds what.
 *
 * @param second −1 for none, as {@code label}
 * @param width fields every row has
 */
record TableColumns(int text, int second, int label, int width) {
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
    return new TableColumns(
        text,
        find(file, header, columns.secondText(), SECOND_NAMES),
        find(file, header, columns.label(), LABEL_NAMES),
        header.size());
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
    TableColumns at =
        new TableColumns(
            number(file, columns.text(), 0),
            columns.secondText() == null ? -1 : number(file, columns.secondText(), -1),
            number(file, columns.label(), first.size() > 1 ? 1 : -1),
            first.size());
    int needed = Math.max(at.text, Math.max(at.second, at.label)) + 1;
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
    return new LabelledExample(
        row.get(text),
        second < 0 ? null : row.get(second),
        label < 0 || row.get(label) == null ? null : row.get(label).strip(),
        line);
  }
}
