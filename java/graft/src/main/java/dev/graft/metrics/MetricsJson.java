package dev.graft.metrics;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Map;
import java.util.Set;

/** Metrics as JSON numbers: counts are whole, and what is not finite, which JSON lacks, is null. */
public final class MetricsJson {
  private static final Set<String> COUNTS = Set.of("examples", "tokens", "truncated");

  private MetricsJson() {}

  /** Puts every metric under its name. */
  public static void put(ObjectNode to, Map<String, Double> metrics) {
    metrics.forEach((name, value) -> put(to, name, value));
  }

  /** Puts one. */
  public static void put(ObjectNode to, String name, double value) {
    if (!Double.isFinite(value)) {
      to.putNull(name);
    } else if (COUNTS.contains(name)) {
      to.put(name, (long) value);
    } else {
      to.put(name, value);
    }
  }
}
