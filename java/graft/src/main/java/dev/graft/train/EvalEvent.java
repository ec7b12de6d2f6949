package dev.graft.train;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.Json;
import dev.graft.metrics.MetricsJson;
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
    MetricsJson.put(line, metrics);
    return line;
  }
}
