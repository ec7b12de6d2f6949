package dev.graft.model;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.AtomicFiles;
import dev.graft.io.HubName;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import dev.graft.io.ModelDirectory;
import dev.graft.io.Safetensors;
import dev.graft.io.SafetensorsWriter;
import dev.graft.runtime.Tensor;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.stream.IntStream;

/** An adapter as PEFT keeps it: {@code adapter_config.json}, {@code adapter_model.safetensors}. */
public final class AdapterFiles {
  public static final String CONFIG = "adapter_config.json";
  public static final String WEIGHTS = "adapter_model.safetensors";
  private static final int CHUNK = 1 << 20;

  /** Before every key: PEFT's wrapper, and its wrapper's model. */
  static final String PREFIX = "base_model.model.";

  /** Settings of adapters that are not plain LoRA. */
  private static final List<String> OTHER_METHODS =
      List.of(
          "use_dora",
          "lora_bias",
          "use_qalora",
          "use_bdlora",
          "rank_pattern",
          "alpha_pattern",
          "trainable_token_indices",
          "target_parameters",
          "layer_replication",
          "alora_invocation_tokens",
          "arrow_config",
          "megatron_config");

  private AdapterFiles() {}

  /** Whether a directory holds an adapter. */
  public static boolean isAdapter(Path directory) {
    return Files.isRegularFile(directory.resolve(CONFIG));
  }

  /**
   * The model an adapter was made for, as its file names it.
   *
   * @throws InvalidInputException if it names none
   */
  public static String base(Path directory) {
    Path file = directory.resolve(CONFIG);
    JsonNode base = Json.readObject(file).path("base_model_name_or_path");
    if (!base.isTextual() || base.asText().isBlank()) {
      throw InvalidInputException.of(
          file, "base_model_name_or_path: expected the model it was made for, got " + base);
    }
    return base.asText();
  }

  /**
   * The directory of that model: beside the adapter if the name is a path from there, otherwise
   * where {@link ModelDirectory#resolve(String)} finds it, at the revision the file names.
   */
  public static ModelDirectory baseDirectory(Path directory) {
    String name = base(directory);
    try {
      Path beside = directory.resolve(name).normalize();
      if (Files.isDirectory(beside)) {
        return ModelDirectory.resolve(beside);
      }
      String revision = Json.readObject(directory.resolve(CONFIG)).path("revision").asText("");
      boolean atRevision = !revision.isEmpty() && !Files.isDirectory(Path.of(name));
      return ModelDirectory.resolve(atRevision ? name + "@" + revision : name);
    } catch (InvalidInputException | InvalidPathException e) {
      throw InvalidInputException.of(
          directory.resolve(CONFIG),
          "base_model_name_or_path: the model this adapter belongs to is not there: "
              + e.getMessage());
    }
  }

  /** Where configuration and tokenizer of an adapted model are: beside the adapter, or its base. */
  public static Path described(Path directory) {
    boolean whole = Files.isRegularFile(directory.resolve(ModelDirectory.CONFIG));
    return whole || !isAdapter(directory) ? directory : baseDirectory(directory).path();
  }

  /** What an adapter was trained for; its base's task if it does not say. */
  static Task taskOf(Path directory) {
    return switch (Json.readObject(directory.resolve(CONFIG)).path("task_type").asText("")) {
      case "SEQ_CLS" -> Task.SEQUENCE_CLASSIFICATION;
      case "TOKEN_CLS" -> Task.TOKEN_CLASSIFICATION;
      case "QUESTION_ANS" -> Task.QUESTION_ANSWERING;
      case "CAUSAL_LM" -> Task.CAUSAL_LM;
      default -> Network.taskOf(baseDirectory(directory));
    };
  }

  /**
   * Names of the classes of an adapted classifier: as config.json beside it has them, or its base's
   * if they are as many as its head, otherwise LABEL_0 and so on, as transformers calls them.
   */
  static List<String> labels(Path directory, List<String> ofBase) {
    Path config = directory.resolve(ModelDirectory.CONFIG);
    if (Files.isRegularFile(config)) {
      return ModelConfig.fromJson(config, Json.readObject(config)).labels();
    }
    try (Safetensors weights = Safetensors.open(directory.resolve(WEIGHTS))) {
      for (String key : weights.names()) {
        if (key.matches(".*\\b(classifier|out_proj|score)\\.weight")
            && weights.info(key).shape()[0] != ofBase.size()) {
          return IntStream.range(0, Math.toIntExact(weights.info(key).shape()[0]))
              .mapToObj(i -> "LABEL_" + i)
              .toList();
        }
      }
    }
    return ofBase;
  }

  /** Writes the network's adapter; {@code base} names the model under it, or is null. */
  static void save(Network network, Path directory, String base) {
    Lora lora = network.requireLora();
    SafetensorsWriter writer = new SafetensorsWriter();
    network.adapterTensors().forEach(writer::floats);
    writer.write(directory.resolve(WEIGHTS));
    ObjectNode json = Json.object();
    json.put("peft_type", "LORA").put("task_type", taskType(network.task()));
    HubName hub = base == null ? null : HubName.ofSnapshot(Path.of(base));
    json.put("base_model_name_or_path", hub == null ? base : hub.repository());
    if (hub != null) {
      json.put("revision", hub.revision());
    }
    json.put("r", lora.rank());
    if (lora.alpha() == Math.rint(lora.alpha())) {
      json.put("lora_alpha", (int) lora.alpha());
    } else {
      json.put("lora_alpha", lora.alpha());
    }
    json.put("lora_dropout", lora.dropout());
    json.put("use_rslora", lora.rankStabilised());
    json.put("fan_in_fan_out", network.config() instanceof Gpt2Config);
    json.put("bias", "none").put("inference_mode", true).put("init_lora_weights", true);
    texts(json.putArray("target_modules"), new LoraTargets(network).forPeft(lora));
    if (lora.modulesToSave().isEmpty()) {
      json.putNull("modules_to_save");
    } else {
      texts(json.putArray("modules_to_save"), lora.modulesToSave());
    }
    AtomicFiles.write(directory.resolve(CONFIG), Json.pretty(json));
  }

  private static void texts(ArrayNode to, List<String> values) {
    values.forEach(to::add);
  }

  private static String taskType(Task task) {
    return switch (task) {
      case SEQUENCE_CLASSIFICATION -> "SEQ_CLS";
      case TOKEN_CLASSIFICATION -> "TOKEN_CLS";
      case QUESTION_ANSWERING -> "QUESTION_ANS";
      case CAUSAL_LM -> "CAUSAL_LM";
      case BASE -> "FEATURE_EXTRACTION";
      default -> null;
    };
  }

  /**
   * Attaches an adapter of a directory to a network without one.
   *
   * @throws InvalidInputException if it is not one of LoRA, or does not fit the network
   */
  static void load(Network network, Path directory) {
    Path file = directory.resolve(WEIGHTS);
    if (!Files.isRegularFile(file)) {
      throw InvalidInputException.of(directory, "expected an adapter: there is no " + WEIGHTS);
    }
    try (Safetensors weights = Safetensors.open(file)) {
      network.attach(settings(network, directory.resolve(CONFIG), weights), 0);
      Map<String, Tensor> tensors = network.adapterTensors();
      try {
        requireSame(weights, tensors);
      } catch (InvalidInputException e) {
        network.detach();
        throw e;
      }
      tensors.forEach(
          (name, tensor) -> {
            for (long first = 0; first < tensor.count(); first += CHUNK) {
              int length = (int) Math.min(CHUNK, tensor.count() - first);
              tensor.put(first, weights.floats(name, first, length));
            }
          });
      network.parameters.syncCompute();
    }
  }

  private static void requireSame(Safetensors weights, Map<String, Tensor> tensors) {
    TreeSet<String> missing = new TreeSet<>(tensors.keySet());
    missing.removeAll(weights.names());
    TreeSet<String> surplus = new TreeSet<>(weights.names());
    surplus.removeAll(tensors.keySet());
    if (!missing.isEmpty() || !surplus.isEmpty()) {
      throw InvalidInputException.of(
          weights.file(), "does not fit the model: missing " + missing + ", unexpected " + surplus);
    }
    tensors.forEach(
        (name, tensor) -> {
          if (!Arrays.equals(weights.info(name).shape(), tensor.shape())) {
            throw InvalidInputException.of(
                weights.file(),
                "tensor "
                    + name
                    + ": expected shape "
                    + Arrays.toString(tensor.shape())
                    + ", got "
                    + Arrays.toString(weights.info(name).shape()));
          }
        });
  }

  private static Lora settings(Network network, Path file, Safetensors weights) {
    ObjectNode json = Json.readObject(file);
    expect(file, json, "peft_type", "LORA", json.path("peft_type").asText().equals("LORA"));
    String bias = json.path("bias").asText("none");
    expect(file, json, "bias", "none", bias.equals("none"));
    for (String name : OTHER_METHODS) {
      JsonNode value = json.path(name);
      boolean unused = value.isNull() || value.isMissingNode() || value.isEmpty();
      expect(file, json, name, "nothing", value.isBoolean() ? !value.asBoolean() : unused);
    }
    expect(file, json, "r", "a rank", json.path("r").isIntegralNumber());
    expect(file, json, "lora_alpha", "a number", json.path("lora_alpha").isNumber());
    LoraTargets known = new LoraTargets(network);
    try {
      Lora lora =
          new Lora(
              json.path("r").asInt(),
              json.path("lora_alpha").asDouble(),
              json.path("lora_dropout").asDouble(0),
              json.path("use_rslora").asBoolean(false),
              modules(weights),
              // PEFT names heads of every family.
              texts(json.path("modules_to_save")).stream().filter(known::contains).toList());
      Lora named = lora.targets(texts(json.path("target_modules")).toArray(new String[0]));
      return known.sameLayers(lora, named) ? named : lora;
    } catch (IllegalArgumentException e) {
      throw InvalidInputException.of(file, e.getMessage());
    }
  }

  /** The layers an adapter's file holds matrices for. */
  private static List<String> modules(Safetensors weights) {
    String end = ".lora_A.weight";
    List<String> modules = new ArrayList<>();
    for (String key : weights.names()) {
      if (key.startsWith(PREFIX) && key.endsWith(end)) {
        modules.add(key.substring(PREFIX.length(), key.length() - end.length()));
      }
    }
    if (modules.isEmpty()) {
      throw InvalidInputException.of(weights.file(), "holds no adapter of a linear layer");
    }
    return modules;
  }

  private static List<String> texts(JsonNode array) {
    List<String> texts = new ArrayList<>();
    array.forEach(item -> texts.add(item.asText()));
    return texts;
  }

  private static void expect(
      Path file, ObjectNode json, String name, String expected, boolean right) {
    if (!right) {
      throw InvalidInputException.of(
          file, name + ": expected " + expected + ", got " + json.path(name));
    }
  }
}
