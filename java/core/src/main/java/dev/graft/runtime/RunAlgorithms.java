package dev.graft.runtime;

import dev.graft.runtime.AlgorithmCache.Algorithm;
import dev.graft.runtime.AlgorithmCache.Entry;
import java.util.Collections;
import java.util.HashMap;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Supplier;

/**
 * The algorithms and ways of a run's products: those its checkpoint requires, else those remembered
 * of this device, else what is measured now; and a list of all that were taken, for its next
 * checkpoint.
 */
final class RunAlgorithms {
  private final AlgorithmCache cache;
  private final Map<String, Entry> required = new HashMap<>();
  private final Map<String, String> taken = new TreeMap<>();

  RunAlgorithms(AlgorithmCache cache) {
    this.cache = cache;
  }

  /**
   * @throws IllegalArgumentException if one cannot be read
   */
  void require(Map<String, String> entries) {
    entries.forEach((key, text) -> required.put(key, Entry.parse(text)));
  }

  Map<String, String> taken() {
    return Collections.unmodifiableMap(taken);
  }

  /** Null if none is required. */
  Algorithm required(String key) {
    return required.get(key) instanceof Algorithm algorithm ? algorithm : null;
  }

  /** Null if none is remembered. */
  Algorithm remembered(String key) {
    return cache.get(key);
  }

  /** One that could not be timed stays with this process; the next may be able to. */
  void remember(String key, Algorithm algorithm) {
    if (algorithm.microseconds() > 0) {
      cache.put(key, algorithm);
    } else {
      required.put(key, algorithm);
    }
  }

  void take(String key, Algorithm algorithm) {
    taken.put(key, algorithm.text());
  }

  /**
   * @param measure null if it could not
   */
  boolean choose(String key, Supplier<FusionChoice> measure) {
    FusionChoice choice =
        required.get(key) instanceof FusionChoice wanted ? wanted : cache.choice(key);
    if (choice == null) {
      choice = measure.get();
      if (choice == null) {
        // Not in the file, for the next process may be able to; this one stays with it.
        choice = new FusionChoice(false, 0, 0);
        required.put(key, choice);
      } else {
        cache.put(key, choice);
      }
    }
    taken.put(key, choice.text());
    return choice.fused();
  }
}
