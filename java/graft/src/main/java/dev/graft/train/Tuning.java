package dev.graft.train;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import dev.graft.model.Lora;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * What a fine-tuning changes of a network, and how fast. Set by the methods of {@link
 * TrainingOptions.Builder} of the same names.
 *
 * @param layerDecay factor of the learning rate from each layer to the one below it: 1 at the head,
 *     d at the last block, d^(L+1) at the embeddings of L blocks (Clark et al., ELECTRA,
 *     arXiv:2003.10555, appendix A; Bao et al., BEiT, arXiv:2106.08254). 1: the same everywhere
 * @param freeze what keeps its weights: {@code embeddings}; {@code encoder}, all but the heads and
 *     the final norm; a number N, the embeddings and the first N blocks; or a published tensor's
 *     name, in which {@code *} stands for any text
 * @param unfreezeEvery gradual unfreezing (Howard and Ruder, ULMFiT, arXiv:1801.06146): training
 *     begins with the head alone, and so many steps later the layer below joins, and so on down to
 *     the embeddings. 0: all train from the start; −1: a layer each pass over the data
 * @param lora low-rank adaptation: the weights are frozen and matrices beside them train; null:
 *     none
 */
public record Tuning(double layerDecay, List<String> freeze, long unfreezeEvery, Lora lora) {
  /** Everything trains at the same rate from the start. */
  public static final Tuning NONE = new Tuning(1, List.of(), 0, null);

  public Tuning {
    freeze = List.copyOf(freeze);
    require(layerDecay > 0 && layerDecay <= 1, "layerDecay", "above 0, at most 1", layerDecay);
    require(unfreezeEvery >= -1, "unfreezeEvery", "at least 0 (or -1: each epoch)", unfreezeEvery);
    for (String item : freeze) {
      require(!item.isBlank(), "freeze", "embeddings, encoder, a number or a name", "''");
    }
  }

  static void require(boolean right, String name, String expected, Object got) {
    if (!right) {
      throw new IllegalArgumentException(
          "training options: " + name + ": expected " + expected + ", got " + got);
    }
  }

  Tuning withLayerDecay(double value) {
    return new Tuning(value, freeze, unfreezeEvery, lora);
  }

  Tuning withFreeze(List<String> value) {
    return new Tuning(layerDecay, value, unfreezeEvery, lora);
  }

  Tuning withUnfreezeEvery(long value) {
    return new Tuning(layerDecay, freeze, value, lora);
  }

  Tuning withLora(Lora value) {
    return new Tuning(layerDecay, freeze, unfreezeEvery, value);
  }

  ObjectNode toJson() {
    ObjectNode json = Json.object();
    json.put("layerDecay", layerDecay);
    ArrayNode frozen = json.putArray("freeze");
    freeze.forEach(frozen::add);
    json.put("unfreezeEvery", unfreezeEvery);
    if (lora != null) {
      json.set("lora", lora.toJson());
    }
    return json;
  }

  /**
   * The reverse of {@link #toJson}.
   *
   * @throws InvalidInputException naming the option that is missing or wrong
   */
  static Tuning fromJson(Path file, JsonNode json) {
    JsonNode decay = json.path("layerDecay");
    JsonNode every = json.path("unfreezeEvery");
    if (!decay.isNumber() || !every.isIntegralNumber() || !json.path("freeze").isArray()) {
      throw InvalidInputException.of(file, "options: tuning: cannot be " + json);
    }
    List<String> freeze = new ArrayList<>();
    json.path("freeze").forEach(item -> freeze.add(item.asText()));
    try {
      return new Tuning(
          decay.asDouble(),
          freeze,
          every.asLong(),
          json.has("lora") ? Lora.fromJson(file, json.get("lora")) : null);
    } catch (IllegalArgumentException e) {
      throw InvalidInputException.of(file, e.getMessage());
    }
  }
}
