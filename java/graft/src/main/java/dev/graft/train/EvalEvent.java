package dev.graft.train;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.Json;
import java.util.Map;

/**
 * The outcome of an evaluation during training.
 *
 * @param step steps done
 * @param metrics by name
 * @param mainMetric the one that is judged by
 * @param best whether it is the best so far
 */
public record EvalEvent(long step, Map<String, Double> metrics, String mainMetric, boolean best) {

  /** The line of metrics.jsonl; a metric that is not finite is null. */
  public ObjectNode toJson() {
    ObjectNode line = Json.object();
    line.put("type", "eval").put("step", step).put("best", best);
    metrics.forEach((name, value) -> number(line, name, value));
    return line;
  }

  /** JSON knows no NaN. */
  static void number(ObjectNode line, String name, double value) {
    if (Double.isFinite(value)) {
      line.put(name, value);
    } else {
      line.putNull(name);
    }
  }
}
