package dev.graft.model;

import dev.graft.io.WeightSource;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * The names under which checkpoints hold a tensor: with or without the body's prefix, LayerNorm's
 * weight and bias as {@code gamma} and {@code beta}, the vocabulary's projection under the one or
 * the other of its tied names, all of them behind {@code module.} where a model was trained in
 * parallel.
 */
final class PublishedNames {
  /** Tied tensors: a checkpoint may hold either name, or both. */
  private static final Map<String, String> TIED =
      Map.of(
          "cls.predictions.bias", "cls.predictions.decoder.bias",
          "lm_head.bias", "lm_head.decoder.bias",
          "bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight",
          "roberta.embeddings.word_embeddings.weight", "lm_head.decoder.weight",
          "distilbert.embeddings.word_embeddings.weight", "vocab_projector.weight",
          "transformer.wte.weight", "lm_head.weight");

  private PublishedNames() {}

  /** Every name of a tensor, the published one first. */
  static Set<String> of(String name) {
    Set<String> names = new LinkedHashSet<>(spellings(name));
    TIED.forEach(
        (one, other) -> {
          if (one.equals(name)) {
            names.addAll(spellings(other));
          } else if (other.equals(name) && name.endsWith(".bias")) {
            names.addAll(spellings(one));
          }
        });
    return names;
  }

  /**
   * The names a tensor is written under. Where a projection is not tied it has a bias of its own,
   * and other readers look for the tied one all the same.
   */
  static List<String> written(String name) {
    for (Map.Entry<String, String> tied : TIED.entrySet()) {
      if (tied.getValue().equals(name) && name.endsWith(".bias")) {
        return List.of(name, tied.getKey());
      }
    }
    return List.of(name);
  }

  private static List<String> spellings(String name) {
    String bare = name.replaceFirst("^(bert|roberta|distilbert|transformer)\\.", "");
    List<String> names = new ArrayList<>();
    for (String one : List.of(name, bare)) {
      names.add(one);
      names.add(
          one.replace("LayerNorm.weight", "LayerNorm.gamma")
              .replace("LayerNorm.bias", "LayerNorm.beta"));
    }
    List.copyOf(names).forEach(one -> names.add("module." + one));
    return names;
  }

  /** The key of a tensor in a checkpoint, or null. */
  static String find(WeightSource file, String name) {
    return first(file, of(name));
  }

  /** The same, not looking at names of tensors it may be tied to. */
  static String findUntied(WeightSource file, String name) {
    return first(file, spellings(name));
  }

  private static String first(WeightSource file, Collection<String> names) {
    return names.stream().filter(file::contains).findFirst().orElse(null);
  }
}
