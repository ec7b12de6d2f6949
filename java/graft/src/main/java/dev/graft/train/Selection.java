package dev.graft.train;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import java.nio.file.Path;
import java.util.Objects;

/**
 * Which weights a run ends with, and when it ends early. Set by the methods of {@link
 * TrainingOptions.Builder} of the same names; without an evaluator nothing of it acts.
 *
 * @param loadBest whether the run ends with the weights of its best evaluation instead of the last;
 *     of evaluations with the same metric the one of the lower loss is best, then the earlier one
 * @param metric what is judged by; empty: the evaluator's main metric. Less is better of one that
 *     is a loss or a perplexity
 * @param patience evaluations in a row without a gain after which training stops; 0: never
 * @param minDelta what counts as a gain over the best so far: more than this
 */
public record Selection(boolean loadBest, String metric, int patience, double minDelta) {
  /** The last weights; every step is made. */
  public static final Selection NONE = new Selection(false, "", 0, 0);

  public Selection {
    Objects.requireNonNull(metric, "metric");
    Tuning.require(patience >= 0, "patience", "at least 0", patience);
    Tuning.require(
        minDelta >= 0 && minDelta < Double.MAX_VALUE, "minDelta", "at least 0", minDelta);
  }

  Selection withLoadBest(boolean value) {
    return new Selection(value, metric, patience, minDelta);
  }

  Selection withMetric(String value) {
    return new Selection(loadBest, value, patience, minDelta);
  }

  Selection withPatience(int value) {
    return new Selection(loadBest, metric, value, minDelta);
  }

  Selection withMinDelta(double value) {
    return new Selection(loadBest, metric, patience, value);
  }

  ObjectNode toJson() {
    return Json.object()
        .put("loadBest", loadBest)
        .put("metric", metric)
        .put("patience", patience)
        .put("minDelta", minDelta);
  }

  /**
   * The reverse of {@link #toJson}.
   *
   * @throws InvalidInputException naming the option that is missing or wrong
   */
  static Selection fromJson(Path file, JsonNode json) {
    if (!json.path("loadBest").isBoolean()
        || !json.path("metric").isTextual()
        || !json.path("patience").isInt()
        || !json.path("minDelta").isNumber()) {
      throw InvalidInputException.of(file, "options: selection: cannot be " + json);
    }
    try {
      return new Selection(
          json.get("loadBest").asBoolean(),
          json.get("metric").asText(),
          json.get("patience").asInt(),
          json.get("minDelta").asDouble());
    } catch (IllegalArgumentException e) {
      throw InvalidInputException.of(file, e.getMessage());
    }
  }
}
