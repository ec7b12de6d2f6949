package dev.graft.io;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** JSON with limits: depth 200, strings of 64 MB, files of 512 MB, no duplicate keys. */
public final class Json {
  private static final long LARGEST_FILE = 512L << 20;

  /** Shared; thread-safe. */
  public static final ObjectMapper MAPPER =
      new ObjectMapper(
          JsonFactory.builder()
              .streamReadConstraints(
                  StreamReadConstraints.builder()
                      .maxNestingDepth(200)
                      .maxStringLength(64 << 20)
                      .maxNumberLength(400)
                      .build())
              .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
              .build());

  private Json() {}

  public static ObjectNode object() {
    return MAPPER.createObjectNode();
  }

  /** The object in a file. */
  public static ObjectNode readObject(Path file) {
    try {
      if (Files.size(file) > LARGEST_FILE) {
        throw InvalidInputException.of(file, "larger than a JSON file may be (512 MB)");
      }
      return parseObject(file, Files.readAllBytes(file));
    } catch (IOException e) {
      throw InvalidInputException.of(file, e);
    }
  }

  /** The object in some bytes that came from {@code file}. */
  public static ObjectNode parseObject(Path file, byte[] bytes) {
    try {
      JsonNode node = MAPPER.readTree(bytes);
      if (node instanceof ObjectNode object) {
        return object;
      }
      throw InvalidInputException.of(file, "expected a JSON object");
    } catch (JsonProcessingException e) {
      long offset = e.getLocation() == null ? 0 : Math.max(0, e.getLocation().getByteOffset());
      throw InvalidInputException.of(file, offset, "not valid JSON: " + e.getOriginalMessage());
    } catch (IOException e) {
      throw InvalidInputException.of(file, e);
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
