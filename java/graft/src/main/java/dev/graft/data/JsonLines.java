package dev.graft.data;

import com.fasterxml.jackson.databind.JsonNode;
import dev.graft.io.InvalidInputException;
import dev.graft.text.LineReader;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** Files of JSON objects, one a line. */
final class JsonLines {
  /** Takes a line's object. */
  interface Sink {
    void accept(long line, JsonNode object);
  }

  private JsonLines() {}

  static void forEach(Path file, Sink sink) {
    try (LineReader lines = LineReader.open(file)) {
      for (String line = lines.next(); line != null; line = lines.next()) {
        if (!line.isBlank()) {
          sink.accept(lines.number(), LabelledJson.object(file, lines.number(), line));
        }
      }
    }
  }

  /** The field of one of some names, or null. */
  static JsonNode find(JsonNode object, List<String> names) {
    return names.stream().filter(object::hasNonNull).findFirst().map(object::get).orElse(null);
  }

  /** The field of one of some names. */
  static JsonNode field(Path file, long line, JsonNode object, List<String> names) {
    JsonNode field = find(object, names);
    if (field == null) {
      List<String> there = new ArrayList<>();
      object.fieldNames().forEachRemaining(there::add);
      throw InvalidInputException.ofLine(
          file, line, "no field is named " + names + "; there are " + there);
    }
    return field;
  }

  /** The text of a field of one of some names. */
  static String text(Path file, long line, JsonNode object, List<String> names) {
    JsonNode field = field(file, line, object, names);
    if (!field.isTextual()) {
      throw InvalidInputException.ofLine(
          file, line, names.get(0) + ": expected a text, got " + field.getNodeType());
    }
    return field.asText();
  }
}
