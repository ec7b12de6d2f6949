package dev.graft.io;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;

/** JSON within {@link InputLimits}: no duplicate keys, nothing behind the value. */
public final class Json {
  /** Shared; thread-safe. */
  public static final ObjectMapper MAPPER =
      new ObjectMapper(
              JsonFactory.builder()
                  .streamReadConstraints(
                      StreamReadConstraints.builder()
                          .maxNestingDepth(InputLimits.JSON_DEPTH)
                          .maxStringLength(InputLimits.JSON_STRING)
                          .maxNumberLength(InputLimits.JSON_NUMBER)
                          .build())
                  .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
                  .build())
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);

  private Json() {}

  public static ObjectNode object() {
    return MAPPER.createObjectNode();
  }

  /** The object in a file. */
  public static ObjectNode readObject(Path file) {
    try {
      // Not by Files.size, which knows nothing of pipes and of files that grow.
      try (InputStream in = Files.newInputStream(file)) {
        byte[] bytes = in.readNBytes((int) InputLimits.JSON_FILE + 1);
        if (bytes.length > InputLimits.JSON_FILE) {
          throw InvalidInputException.of(
              file, "larger than a JSON file may be (" + (InputLimits.JSON_FILE >> 20) + " MiB)");
        }
        return parseObject(file, bytes);
      }
    } catch (IOException e) {
      throw InvalidInputException.of(file, e);
    }
  }

  /** The object in some bytes that came from {@code file}. */
  public static ObjectNode parseObject(Path file, byte[] bytes) {
    return parseObject(file, 0, bytes);
  }

  /** The object in some bytes that stand in {@code file} from {@code start} on. */
  public static ObjectNode parseObject(Path file, long start, byte[] bytes) {
    try {
      JsonNode node = MAPPER.readTree(bytes);
      if (node instanceof ObjectNode object) {
        return object;
      }
      throw InvalidInputException.of(file, "expected a JSON object");
    } catch (JsonProcessingException e) {
      long offset = e.getLocation() == null ? 0 : Math.max(0, e.getLocation().getByteOffset());
      throw InvalidInputException.of(
          file, start + offset, "not valid JSON: " + e.getOriginalMessage());
    } catch (IOException e) {
      throw InvalidInputException.of(file, e);
    }
  }

  /** The text an object must have under a name. */
  public static String text(Path file, ObjectNode json, String name) {
    if (!json.path(name).isTextual()) {
      throw InvalidInputException.of(file, name + ": expected a text, got " + json.path(name));
    }
    return json.get(name).asText();
  }

  /** One line in UTF-8. */
  public static byte[] bytes(JsonNode node) {
    try {
      return MAPPER.writeValueAsBytes(node);
    } catch (JsonProcessingException e) {
      throw new IllegalStateException(e);
    }
  }

  /** Indented text with a line end, as configuration files are written. */
  public static String pretty(JsonNode node) {
    try {
      return MAPPER.writerWithDefaultPrettyPrinter().writeValueAsString(node) + "\n";
    } catch (JsonProcessingException e) {
      throw new IllegalStateException(e);
    }
  }

  /** One line. */
  public static String line(JsonNode node) {
    try {
      return MAPPER.writeValueAsString(node);
    } catch (JsonProcessingException e) {
      throw new IllegalStateException(e);
    }
  }
}
