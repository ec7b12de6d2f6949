package dev.graft.text;

import com.fasterxml.jackson.databind.JsonNode;
import dev.graft.io.InputLimits;
import dev.graft.io.InvalidInputException;
import java.nio.file.Path;
import java.util.BitSet;
import java.util.HashMap;
import java.util.Map;

/** Tokens, their ids and which of them are special, as a tokenizer.json names them. */
final class Vocabulary {
  private final Path file;
  private final Map<String, Integer> ids = new HashMap<>();
  private final String[] tokens;
  private final BitSet special = new BitSet();
  private int largest = -1;

  Vocabulary(Path file, JsonNode definition) {
    this.file = file;
    JsonNode vocabulary = definition.path("model").path("vocab");
    if (vocabulary.isArray()) { // Unigram: [[token, score], ...]
      for (int id = 0; id < vocabulary.size(); id++) {
        put(vocabulary.get(id).path(0).asText(), id);
      }
    } else {
      vocabulary.properties().forEach(e -> put(e.getKey(), id(e.getKey(), e.getValue())));
    }
    for (JsonNode added : definition.path("added_tokens")) {
      String token = added.path("content").asText();
      int id = id(token, added.path("id"));
      put(token, id);
      special.set(id, added.path("special").asBoolean(false));
    }
    if (ids.isEmpty()) {
      throw InvalidInputException.of(file, "the vocabulary is empty");
    }
    tokens = new String[largest + 1];
    ids.forEach(this::name);
  }

  private int id(String token, JsonNode id) {
    if (!id.isInt() || id.asInt() < 0 || id.asInt() >= InputLimits.TOKEN_ID) {
      throw InvalidInputException.of(file, "token '" + token + "' has the id " + id);
    }
    return id.asInt();
  }

  private void put(String token, int id) {
    Integer before = ids.put(token, id);
    if (before != null && before != id) {
      throw InvalidInputException.of(
          file, "token '" + token + "' has the ids " + before + " and " + id);
    }
    largest = Math.max(largest, id);
  }

  private void name(String token, int id) {
    if (tokens[id] != null) {
      throw InvalidInputException.of(
          file, "tokens '" + tokens[id] + "' and '" + token + "' both have the id " + id);
    }
    tokens[id] = token;
  }

  int size() {
    return tokens.length;
  }

  /** −1 if there is none. */
  int id(String token) {
    return ids.getOrDefault(token, -1);
  }

  /** null if there is none. */
  String token(int id) {
    return id >= 0 && id < tokens.length ? tokens[id] : null;
  }

  boolean isSpecial(int id) {
    return id >= 0 && special.get(id);
  }

  /** The id of the first of some names that a special token has, −1 if none has. */
  int special(String... names) {
    for (String name : names) {
      int id = id(name);
      if (isSpecial(id)) {
        return id;
      }
    }
    return -1;
  }

  /** Whether a line a token says it all: no id is left out and no token holds a line end. */
  boolean fitsLines() {
    for (String token : tokens) {
      if (token == null || token.indexOf('\n') >= 0 || token.indexOf('\r') >= 0) {
        return false;
      }
    }
    return true;
  }

  String lines() {
    return String.join("\n", tokens) + "\n";
  }
}
