package dev.graft.io;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.function.Predicate;

/**
 * What a model's repository holds at a commit, and which of it Graft needs.
 *
 * @param commit 40 hexadecimal digits
 * @param files relative paths
 */
record HubListing(String commit, SortedSet<String> files) {
  private static final List<String> TOKENIZER =
      List.of(
          "tokenizer.json",
          "tokenizer_config.json",
          "vocab.txt",
          "vocab.json",
          "merges.txt",
          "special_tokens_map.json",
          "added_tokens.json");

  private static final List<String> MODEL =
      List.of(
          "generation_config.json",
          "modules.json",
          "sentence_bert_config.json",
          "1_Pooling/config.json");

  private static final String INDEX = ".index.json";

  /** Of a repository with this an adapter is taken; the model it belongs to has its own. */
  private static final String ADAPTER = "adapter_config.json";

  private static final List<String> ADAPTER_WEIGHTS = List.of("adapter_model.safetensors");

  /**
   * Reads the hub's answer.
   *
   * @param where names the answer in messages
   */
  static HubListing of(Path where, ObjectNode json) {
    String commit = json.path("sha").asText("");
    if (!HubName.isCommit(commit)) {
      throw InvalidInputException.of(where, "sha: expected a commit, got " + json.path("sha"));
    }
    JsonNode siblings = json.path("siblings");
    if (!siblings.isArray()) {
      throw InvalidInputException.of(where, "siblings: expected a list of files");
    }
    SortedSet<String> files = new TreeSet<>();
    for (JsonNode sibling : siblings) {
      if (!sibling.path("rfilename").isTextual()) {
        throw InvalidInputException.of(where, "rfilename: expected a file's name, got " + sibling);
      }
      String name = sibling.get("rfilename").asText();
      String forgery = SafePath.forgery(name);
      if (forgery != null) {
        throw InvalidInputException.of(where, "names the file '" + name + "': " + forgery);
      }
      files.add(name);
    }
    return new HubListing(commit, files);
  }

  /** The files to have before any weights. */
  List<String> small(Hub.Part part) {
    List<String> wanted = new ArrayList<>(List.of(ModelDirectory.CONFIG, ADAPTER));
    if (part != Hub.Part.CONFIG) {
      wanted.addAll(TOKENIZER);
    }
    if (part == Hub.Part.MODEL) {
      wanted.addAll(MODEL);
    }
    wanted.removeIf(name -> !files.contains(name));
    return wanted;
  }

  /**
   * The file of weights, or the index that names them.
   *
   * @throws InvalidInputException if there is none, or no config.json
   */
  String weights(HubName name) {
    boolean adapter = files.contains(ADAPTER);
    if (!adapter && !files.contains(ModelDirectory.CONFIG)) {
      throw new InvalidInputException(name + ": there is no config.json in it, so it is no model");
    }
    List<String> known = adapter ? ADAPTER_WEIGHTS : WeightSource.FILES;
    for (String file : known) {
      if (files.contains(file)) {
        return file;
      }
    }
    List<String> others =
        files.stream()
            .filter(file -> file.matches(".*\\.(h5|msgpack|onnx|gguf|ot|safetensors|bin)"))
            .limit(5)
            .toList();
    throw new InvalidInputException(
        name
            + ": there are no weights in it that Graft reads ("
            + String.join(", ", known)
            + ")"
            + (others.isEmpty() ? "" : "; it has " + String.join(", ", others)));
  }

  static boolean isIndex(String file) {
    return file.endsWith(INDEX);
  }

  /** The files that an index names, each of them beside it. */
  static SortedSet<String> shards(Path index) {
    JsonNode map = Json.readObject(index).path("weight_map");
    if (!map.isObject() || map.isEmpty()) {
      throw InvalidInputException.of(index, "weight_map: expected tensors and their files");
    }
    SortedSet<String> shards = new TreeSet<>();
    for (JsonNode file : map) {
      if (shards.size() > InputLimits.SHARDS) {
        throw InvalidInputException.of(index, "more than " + InputLimits.SHARDS + " files");
      }
      if (!file.isTextual()) {
        throw InvalidInputException.of(index, "weight_map: expected a file's name, got " + file);
      }
      shards.add(file.asText());
    }
    for (String shard : shards) {
      String problem = SafePath.problem(shard);
      if (problem == null && shard.contains("/")) {
        problem = "it is not beside the index";
      }
      if (problem != null) {
        throw InvalidInputException.of(index, "names the file '" + shard + "': " + problem);
      }
    }
    return shards;
  }

  /**
   * What a snapshot lacks for a part, as far as can be told without a listing; null if nothing.
   *
   * @param snapshot directory of a commit
   */
  static String lacks(Path snapshot, Hub.Part part) {
    Predicate<String> has = name -> Files.isRegularFile(snapshot.resolve(name));
    if (part == Hub.Part.TOKENIZER) {
      boolean tokenizer = has.test("tokenizer.json") || has.test("vocab.txt");
      tokenizer |= has.test("vocab.json") && has.test("merges.txt");
      return tokenizer ? null : "a tokenizer (tokenizer.json, vocab.txt)";
    }
    boolean adapter = has.test(ADAPTER);
    if (!adapter && !has.test(ModelDirectory.CONFIG)) {
      return ModelDirectory.CONFIG;
    }
    if (part == Hub.Part.CONFIG) {
      return null;
    }
    List<String> known = adapter ? ADAPTER_WEIGHTS : WeightSource.FILES;
    String weights = known.stream().filter(has).findFirst().orElse(null);
    if (weights == null) {
      return known.get(0);
    }
    return isIndex(weights)
        ? shards(snapshot.resolve(weights)).stream().filter(has.negate()).findFirst().orElse(null)
        : null;
  }
}
