package dev.graft.io;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.regex.Pattern;

/**
 * A checkpoint in several files and an index, {@code {"weight_map": {tensor: file}}}. The files
 * stand beside the index: a name that is more than a file's name is refused.
 */
final class ShardedWeights implements WeightSource {
  private static final Pattern PLAIN = Pattern.compile("[A-Za-z0-9_][A-Za-z0-9._-]{0,200}");

  private final Path index;
  private final Map<String, WeightSource> files = new LinkedHashMap<>();
  private final Map<String, WeightSource> tensors = new LinkedHashMap<>();

  private ShardedWeights(Path index) {
    this.index = index;
  }

  static ShardedWeights open(Path index) {
    String ending = index.toString().endsWith(".safetensors.index.json") ? ".safetensors" : ".bin";
    ObjectNode json = Json.readObject(index);
    JsonNode map = json.path("weight_map");
    if (!map.isObject() || map.isEmpty()) {
      throw InvalidInputException.of(index, "there is no weight_map");
    }
    ShardedWeights weights = new ShardedWeights(index);
    try {
      for (Map.Entry<String, JsonNode> entry : map.properties()) {
        weights.add(entry.getKey(), entry.getValue(), ending);
      }
      return weights;
    } catch (RuntimeException e) {
      weights.close();
      throw e;
    }
  }

  private void add(String tensor, JsonNode value, String ending) {
    String name = value.asText("");
    if (!value.isTextual() || !PLAIN.matcher(name).matches() || !name.endsWith(ending)) {
      throw InvalidInputException.of(
          index, tensor + ": expected the name of a " + ending + " file beside it, got " + value);
    }
    WeightSource source = files.get(name);
    if (source == null) {
      if (files.size() == InputLimits.SHARDS) {
        throw InvalidInputException.of(index, "more than " + InputLimits.SHARDS + " files");
      }
      source = WeightSource.openFile(index.resolveSibling(name));
      files.put(name, source);
    }
    if (!source.contains(tensor)) {
      throw InvalidInputException.of(source.file(), "lacks " + tensor + ", which its index names");
    }
    tensors.put(tensor, source);
  }

  @Override
  public Path file() {
    return index;
  }

  @Override
  public Set<String> names() {
    return Collections.unmodifiableSet(tensors.keySet());
  }

  private WeightSource of(String name) {
    WeightSource source = tensors.get(name);
    if (source == null) {
      throw InvalidInputException.of(index, "there is no tensor " + name);
    }
    return source;
  }

  @Override
  public long[] shape(String name) {
    return of(name).shape(name);
  }

  @Override
  public long storedCount() {
    return files.values().stream().mapToLong(WeightSource::storedCount).sum();
  }

  @Override
  public float[] floats(String name, long first, int count) {
    return of(name).floats(name, first, count);
  }

  @Override
  public void close() {
    files.values().forEach(WeightSource::close);
  }
}
