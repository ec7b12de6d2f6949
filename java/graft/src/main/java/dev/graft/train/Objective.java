package dev.graft.train;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.TreeMap;

/**
 * How the loss of classes is shaped while training; evaluations take the plain loss. Set by the
 * methods of {@link TrainingOptions.Builder} of the same names.
 *
 * @param balanced whether each class weighs as much as any other, however many examples it has: w_c
 *     = N / (K n_c) with N labels in all, K classes, n_c labels of class c
 * @param classWeights weight of classes by name; those not named weigh 1. The loss is the weighted
 *     mean, as PyTorch's CrossEntropyLoss has it
 * @param labelSmoothing the part of a target's probability that is spread over all classes (Szegedy
 *     et al., arXiv:1512.00567, section 7)
 */
public record Objective(boolean balanced, Map<String, Double> classWeights, double labelSmoothing) {
  /** The plain loss. */
  public static final Objective PLAIN = new Objective(false, Map.of(), 0);

  public Objective {
    classWeights = new TreeMap<>(classWeights);
    for (Map.Entry<String, Double> entry : classWeights.entrySet()) {
      double weight = entry.getValue();
      Tuning.require(
          weight >= 0 && weight < 1e9, "classWeights", "at least 0", entry.getKey() + "=" + weight);
    }
    Tuning.require(
        !balanced || classWeights.isEmpty(), "classWeights", "either balanced or given", "both");
    Tuning.require(
        labelSmoothing >= 0 && labelSmoothing < 1, "labelSmoothing", "[0, 1)", labelSmoothing);
  }

  boolean weighted() {
    return balanced || !classWeights.isEmpty();
  }

  Objective withBalanced(boolean value) {
    return new Objective(value, classWeights, labelSmoothing);
  }

  Objective withClassWeights(Map<String, Double> value) {
    return new Objective(balanced, value, labelSmoothing);
  }

  Objective withLabelSmoothing(double value) {
    return new Objective(balanced, classWeights, value);
  }

  ObjectNode toJson() {
    ObjectNode json = Json.object();
    json.put("balanced", balanced).put("labelSmoothing", labelSmoothing);
    classWeights.forEach(json.putObject("classWeights")::put);
    return json;
  }

  /**
   * The reverse of {@link #toJson}.
   *
   * @throws InvalidInputException naming the option that is missing or wrong
   */
  static Objective fromJson(Path file, JsonNode json) {
    if (!json.path("balanced").isBoolean()
        || !json.path("labelSmoothing").isNumber()
        || !json.path("classWeights").isObject()) {
      throw InvalidInputException.of(file, "options: objective: cannot be " + json);
    }
    Map<String, Double> weights = new LinkedHashMap<>();
    json.get("classWeights")
        .fields()
        .forEachRemaining(field -> weights.put(field.getKey(), field.getValue().asDouble()));
    try {
      return new Objective(
          json.get("balanced").asBoolean(), weights, json.get("labelSmoothing").asDouble());
    } catch (IllegalArgumentException e) {
      throw InvalidInputException.of(file, e.getMessage());
    }
  }
}
