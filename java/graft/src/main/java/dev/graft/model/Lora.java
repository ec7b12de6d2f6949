package dev.graft.model;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * Low-rank adaptation (Hu et al., arXiv:2106.09685): the weights stay as they are, and a linear
 * layer y = W x + b becomes y = W x + b + s B A dropout(x) with A [rank, in] and B [out, rank],
 * which alone are trained; s = alpha / rank. B begins at 0, so training begins with the model as it
 * was.
 *
 * <pre>
 *   TrainingOptions.finetuning().lora(Lora.rank(8).targets("query", "value"))
 * </pre>
 *
 * @param rank of the added matrices
 * @param alpha see above; {@link #rank(int)} takes twice the rank
 * @param dropout on what A reads
 * @param rankStabilised s = alpha / √rank instead (Kalajdzievski, arXiv:2312.03732)
 * @param targets the linear layers: names as they end, such as {@code query} or {@code
 *     attention.output.dense}, or {@code all-linear} for all but the heads; none: {@code query} and
 *     {@code value}, in GPT-2 {@code c_attn}
 * @param modulesToSave what else is trained, as a whole: names of modules; null: the heads of a
 *     network that answers questions about texts (its pooler among them), and nothing of a language
 *     model
 */
public record Lora(
    int rank,
    double alpha,
    double dropout,
    boolean rankStabilised,
    List<String> targets,
    List<String> modulesToSave) {
  /** {@link #targets}: every linear layer but those of the heads. */
  public static final String ALL_LINEAR = "all-linear";

  public Lora {
    targets = List.copyOf(targets);
    modulesToSave = modulesToSave == null ? null : List.copyOf(modulesToSave);
    require(rank >= 1 && rank <= 65_536, "rank", "1 to 65,536", rank);
    require(alpha > 0 && alpha < 1e6, "alpha", "above 0", alpha);
    require(dropout >= 0 && dropout < 1, "dropout", "[0, 1)", dropout);
    require(
        targets.stream().noneMatch(String::isBlank), "targets", "names of linear layers", targets);
    require(
        !targets.contains(ALL_LINEAR) || targets.size() == 1,
        "targets",
        ALL_LINEAR + " alone",
        targets);
    require(
        modulesToSave == null || modulesToSave.stream().noneMatch(String::isBlank),
        "modulesToSave",
        "names of modules",
        modulesToSave);
  }

  private static void require(boolean right, String name, String expected, Object got) {
    if (!right) {
      throw new IllegalArgumentException(
          "lora: " + name + ": expected " + expected + ", got " + got);
    }
  }

  /** Of this rank, alpha twice as much, no dropout, on the usual layers. */
  public static Lora rank(int rank) {
    return new Lora(rank, 2.0 * rank, 0, false, List.of(), null);
  }

  public Lora alpha(double value) {
    return new Lora(rank, value, dropout, rankStabilised, targets, modulesToSave);
  }

  public Lora dropout(double value) {
    return new Lora(rank, alpha, value, rankStabilised, targets, modulesToSave);
  }

  public Lora rankStabilised(boolean value) {
    return new Lora(rank, alpha, dropout, value, targets, modulesToSave);
  }

  public Lora targets(String... value) {
    return new Lora(rank, alpha, dropout, rankStabilised, List.of(value), modulesToSave);
  }

  public Lora modulesToSave(String... value) {
    return new Lora(rank, alpha, dropout, rankStabilised, targets, List.of(value));
  }

  /** s. */
  public double scale() {
    return alpha / (rankStabilised ? Math.sqrt(rank) : rank);
  }

  /** As a run's files keep it. */
  public ObjectNode toJson() {
    ObjectNode json = Json.object();
    json.put("rank", rank).put("alpha", alpha).put("dropout", dropout);
    json.put("rankStabilised", rankStabilised);
    targets.forEach(json.putArray("targets")::add);
    if (modulesToSave != null) {
      modulesToSave.forEach(json.putArray("modulesToSave")::add);
    }
    return json;
  }

  /**
   * The reverse of {@link #toJson}.
   *
   * @param file named in messages
   * @throws IllegalArgumentException naming the value that is wrong
   */
  public static Lora fromJson(Path file, JsonNode json) {
    if (!json.path("rank").isInt()
        || !json.path("alpha").isNumber()
        || !json.path("dropout").isNumber()
        || !json.path("targets").isArray()) {
      throw InvalidInputException.of(file, "lora: cannot be " + json);
    }
    return new Lora(
        json.get("rank").asInt(),
        json.get("alpha").asDouble(),
        json.get("dropout").asDouble(),
        json.path("rankStabilised").asBoolean(),
        texts(json.get("targets")),
        json.has("modulesToSave") ? texts(json.get("modulesToSave")) : null);
  }

  private static List<String> texts(JsonNode array) {
    List<String> texts = new ArrayList<>();
    array.forEach(item -> texts.add(item.asText()));
    return texts;
  }
}
