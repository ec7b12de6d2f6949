package dev.graft.apply;

import com.fasterxml.jackson.databind.JsonNode;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * How a text becomes one vector.
 *
 * @param pooling of the last hidden states
 * @param normalized whether vectors get the length 1, so that their product is their cosine
 * @param maxLength longest text in tokens; 0: the model's
 */
public record EmbeddingOptions(Pooling pooling, boolean normalized, int maxLength) {
  /** What is taken of a text's hidden states. */
  public enum Pooling {
    /** Their mean, special tokens included. */
    MEAN,
    /** The first token's, [CLS]. */
    CLS
  }

  private static final String MODULES = "modules.json";

  public EmbeddingOptions {
    if (maxLength < 0) {
      throw new IllegalArgumentException("maxLength: expected at least 0, got " + maxLength);
    }
  }

  /** The mean as it is. */
  public static EmbeddingOptions defaults() {
    return new EmbeddingOptions(Pooling.MEAN, false, 0);
  }

  public EmbeddingOptions withPooling(Pooling value) {
    return new EmbeddingOptions(value, normalized, maxLength);
  }

  public EmbeddingOptions withNormalized(boolean value) {
    return new EmbeddingOptions(pooling, value, maxLength);
  }

  public EmbeddingOptions withMaxLength(int value) {
    return new EmbeddingOptions(pooling, normalized, value);
  }

  /**
   * What a model directory says in the files of sentence-transformers ({@code modules.json}, the
   * pooling's {@code config.json}, {@code sentence_bert_config.json}); the defaults without them.
   *
   * @throws InvalidInputException if it asks for what is not supported, naming it
   */
  public static EmbeddingOptions of(Path model) {
    Path file = model.resolve(MODULES);
    if (!Files.isRegularFile(file)) {
      return defaults();
    }
    EmbeddingOptions options = defaults();
    for (JsonNode module : modules(file)) {
      String type = module.path("type").asText();
      String kind = type.substring(type.lastIndexOf('.') + 1);
      switch (kind) {
        case "Transformer" -> {
          Path config = model.resolve("sentence_bert_config.json");
          if (Files.isRegularFile(config)) {
            int length = Json.readObject(config).path("max_seq_length").asInt(0);
            options = options.withMaxLength(Math.max(0, length));
          }
        }
        case "Pooling" -> options = options.withPooling(pooling(file, module));
        case "Normalize" -> options = options.withNormalized(true);
        default ->
            throw InvalidInputException.of(
                file, "the module " + (type.isEmpty() ? module : type) + " is not supported");
      }
    }
    return options;
  }

  private static List<JsonNode> modules(Path file) {
    List<JsonNode> modules = new ArrayList<>();
    try {
      JsonNode list = Json.MAPPER.readTree(Files.readAllBytes(file));
      if (list.isArray()) {
        list.forEach(modules::add);
        return modules;
      }
    } catch (IOException e) {
      throw InvalidInputException.of(file, "not valid JSON: " + firstLine(e));
    }
    throw InvalidInputException.of(file, "expected a list of modules");
  }

  private static String firstLine(IOException e) {
    return String.valueOf(e.getMessage()).lines().findFirst().orElse("unknown cause");
  }

  private static Pooling pooling(Path file, JsonNode module) {
    String folder = module.path("path").asText();
    if (!folder.matches("[A-Za-z0-9_]*")) {
      throw InvalidInputException.of(file, "the pooling's path is no plain name: " + folder);
    }
    Path config = file.resolveSibling(folder).resolve("config.json");
    JsonNode json = Json.readObject(config);
    List<String> modes = new ArrayList<>();
    if (json.path("pooling_mode").isTextual()) {
      modes.add(json.get("pooling_mode").asText());
    }
    json.fields()
        .forEachRemaining(
            field -> {
              if (field.getKey().startsWith("pooling_mode_") && field.getValue().asBoolean()) {
                modes.add(field.getKey().substring("pooling_mode_".length()));
              }
            });
    if (modes.size() == 1) {
      switch (modes.get(0)) {
        case "mean", "mean_tokens" -> {
          return Pooling.MEAN;
        }
        case "cls", "cls_token" -> {
          return Pooling.CLS;
        }
        default -> {}
      }
    }
    throw InvalidInputException.of(
        config, "expected the pooling of mean or cls, got " + (modes.isEmpty() ? "none" : modes));
  }
}
