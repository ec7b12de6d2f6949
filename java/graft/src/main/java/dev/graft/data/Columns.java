package dev.graft.data;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.Json;

/**
 * Which columns (or JSON fields) of a labelled set hold what; a null is looked for by its usual
 * names.
 *
 * @param text name, or number from 0 for files without a header
 * @param secondText name or number; null for none
 * @param label name or number
 * @param header whether a CSV or TSV file begins with the names of its columns
 */
public record Columns(String text, String secondText, String label, boolean header) {
  /** Looked for by the usual names. */
  public static Columns detect() {
    return new Columns(null, null, null, true);
  }

  public static Columns of(String text, String label) {
    return new Columns(text, null, label, true);
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
