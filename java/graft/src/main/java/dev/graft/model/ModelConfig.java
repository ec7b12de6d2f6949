package dev.graft.model;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.InvalidInputException;
import dev.graft.program.Ops;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** A network's shape, read from and written to the published {@code config.json}. */
public sealed interface ModelConfig permits Gpt2Config, BertConfig {
  /** {@code "gpt2"}, {@code "bert"}, {@code "roberta"} or {@code "distilbert"}. */
  String modelType();

  int vocabSize();

  /** Width of the hidden states, C. */
  int channels();

  int layers();

  int heads();

  /** Longest text in tokens. */
  int maxPositions();

  /** Names of the classes, by id; empty if the model has none. */
  List<String> labels();

  ModelConfig withLabels(List<String> labels);

  /** The same shape for another vocabulary. */
  ModelConfig withVocabSize(int size);

  /** The same shape with other dropout probabilities. */
  ModelConfig withDropout(double hidden, double attention, double classifier);

  /** The object of config.json, {@code architectures} as {@code task} asks. */
  ObjectNode toJson(Task task);

  default int headDim() {
    return channels() / heads();
  }

  /** Reads a config.json; {@code file} is named in messages. */
  static ModelConfig fromJson(Path file, ObjectNode json) {
    String type = json.path("model_type").asText("");
    if (type.equals("gpt2")) {
      return Gpt2Config.fromJson(file, json);
    }
    for (EncoderFamily family : EncoderFamily.values()) {
      if (family.modelType().equals(type)) {
        return BertConfig.fromJson(file, json, family);
      }
    }
    throw InvalidInputException.of(
        file,
        (type.isEmpty() ? "there is no model_type" : "model_type '" + type + "' is not known here")
            + "; expected gpt2, bert, roberta or distilbert");
  }

  /** The task the checkpoint was written for, by its {@code architectures}. */
  static Task taskOf(Path file, ObjectNode json) {
    String type = json.path("model_type").asText("");
    String architecture = json.path("architectures").path(0).asText("");
    if (architecture.isEmpty()) {
      return type.equals("gpt2") ? Task.CAUSAL_LM : Task.BASE;
    }
    Task task = architectures(type).get(architecture);
    if (task == null) {
      throw InvalidInputException.of(
          file, "architecture '" + architecture + "' is not known here for a " + type);
    }
    return task;
  }

  private static Map<String, Task> architectures(String modelType) {
    if (modelType.equals("gpt2")) {
      return Map.of("GPT2LMHeadModel", Task.CAUSAL_LM, "GPT2Model", Task.BASE);
    }
    Map<String, Task> tasks = new HashMap<>();
    for (EncoderFamily family : EncoderFamily.values()) {
      if (family.modelType().equals(modelType)) {
        for (Task task : Task.values()) {
          if (family.does(task)) {
            tasks.put(family.architecture(task), task);
          }
        }
      }
    }
    return tasks;
  }

  /** Fields of a config.json with checks that name the field. */
  final class Fields {
    private final Path file;
    private final ObjectNode json;

    Fields(Path file, ObjectNode json) {
      this.file = file;
      this.json = json;
    }

    InvalidInputException error(String what) {
      return InvalidInputException.of(file, what);
    }

    int positive(String name) {
      JsonNode node = json.get(name);
      if (node == null || !node.isIntegralNumber() || !node.canConvertToInt() || node.asInt() < 1) {
        throw InvalidInputException.of(
            file, name + ": expected a positive whole number, got " + node);
      }
      return node.asInt();
    }

    int positive(String name, int otherwise) {
      return json.hasNonNull(name) ? positive(name) : otherwise;
    }

    double probability(String name, double otherwise) {
      if (!json.hasNonNull(name)) {
        return otherwise;
      }
      JsonNode node = json.get(name);
      if (!node.isNumber() || !(node.asDouble() >= 0 && node.asDouble() < 1)) {
        throw InvalidInputException.of(file, name + ": expected a number in [0, 1), got " + node);
      }
      return node.asDouble();
    }

    double number(String name, double otherwise) {
      if (!json.hasNonNull(name)) {
        return otherwise;
      }
      JsonNode node = json.get(name);
      if (!node.isNumber() || !(node.asDouble() > 0)) {
        throw InvalidInputException.of(file, name + ": expected a positive number, got " + node);
      }
      return node.asDouble();
    }

    boolean flag(String name, boolean otherwise) {
      return json.path(name).asBoolean(otherwise);
    }

    void refuse(String name, boolean wanted) {
      if (flag(name, wanted) != wanted) {
        throw InvalidInputException.of(file, name + ": " + !wanted + " is not supported");
      }
    }

    String activation(String name, String otherwise) {
      String activation = json.path(name).asText(otherwise);
      if (ACTIVATIONS.get(activation) == null) {
        throw InvalidInputException.of(
            file, name + ": '" + activation + "' is not supported; one of " + ACTIVATIONS.keySet());
      }
      return activation;
    }

    void heads(int channels, int heads) {
      if (channels % heads != 0 || channels / heads > 256) {
        throw InvalidInputException.of(
            file,
            "a width of "
                + channels
                + " does not divide into "
                + heads
                + " heads of at most 256 channels");
      }
    }

    List<String> labels() {
      JsonNode map = json.path("id2label");
      List<String> ids = new ArrayList<>();
      map.fieldNames().forEachRemaining(ids::add);
      List<String> labels = new ArrayList<>();
      try {
        ids.sort(Comparator.comparingInt(Integer::parseInt));
      } catch (NumberFormatException e) {
        throw InvalidInputException.of(file, "id2label: expected whole numbers as keys");
      }
      for (int i = 0; i < ids.size(); i++) {
        if (Integer.parseInt(ids.get(i)) != i) {
          throw InvalidInputException.of(file, "id2label: expected the keys 0, 1, 2 ...");
        }
        labels.add(map.get(ids.get(i)).asText());
      }
      return List.copyOf(labels);
    }
  }

  /** Published names of activations. */
  Map<String, Ops.Activation> ACTIVATIONS =
      Map.of(
          "gelu", Ops.Activation.GELU_ERF,
          "gelu_new", Ops.Activation.GELU_TANH,
          "gelu_pytorch_tanh", Ops.Activation.GELU_TANH,
          "relu", Ops.Activation.RELU);

  /** Adds id2label and label2id. */
  static void putLabels(ObjectNode json, List<String> labels) {
    if (!labels.isEmpty()) {
      ObjectNode names = json.putObject("id2label");
      ObjectNode ids = json.putObject("label2id");
      for (int i = 0; i < labels.size(); i++) {
        names.put(Integer.toString(i), labels.get(i));
        ids.put(labels.get(i), i);
      }
    }
  }
}
