package dev.graft.data;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.Json;
import java.util.List;
import java.util.stream.Stream;

/**
 * Which columns (or JSON fields) of a labelled set hold what; a null is looked for by its usual
 * names.
 *
 * @param text name, or number from 0 for files without a header
 * @param secondText name or number; null for none
 * @param label name or number; several with a comma between where each label has a column of 0 and
 *     1, or each number one (see {@link LabelCells}), unless there is a column of just this name
 * @param header whether a CSV or TSV file begins with the names of its columns
 */
public record Columns(String text, String secondText, String label, boolean header) {
  private static final String SEPARATOR = ",";

  /** Looked for by the usual names. */
  public static Columns detect() {
    return new Columns(null, null, null, true);
  }

  public static Columns of(String text, String label) {
    return new Columns(text, null, label, true);
  }

  /**
   * Several columns of labels or numbers, in the order of the model's outputs.
   *
   * @param labels at least two names without a comma in them
   */
  public static Columns ofLabels(String text, List<String> labels) {
    for (String label : labels) {
      if (label.isBlank() || label.contains(SEPARATOR)) {
        throw new IllegalArgumentException(
            "label columns: expected names without a comma, got '" + label + "'");
      }
    }
    if (labels.size() < 2) {
      throw new IllegalArgumentException("label columns: expected several, got " + labels);
    }
    return of(text, String.join(SEPARATOR, labels));
  }

  /** The columns its label names where no column has just this name; one is no several. */
  List<String> labels() {
    return label == null || !label.contains(SEPARATOR)
        ? List.of()
        : Stream.of(label.split(SEPARATOR, -1)).map(String::strip).toList();
  }

  /** Its form in settings files. */
  public ObjectNode toJson() {
    return Json.object()
        .put("text", text)
        .put("second_text", secondText)
        .put("label", label)
        .put("header", header);
  }

  /** Reads {@link #toJson} back. */
  public static Columns fromJson(JsonNode json) {
    return new Columns(
        json.path("text").textValue(),
        json.path("second_text").textValue(),
        json.path("label").textValue(),
        json.path("header").asBoolean(true));
  }
}
