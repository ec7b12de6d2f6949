package dev.graft.train;

import java.util.Map;

/**
 * The outcome of an evaluation during training.
 *
 * @param step steps done
 * @param metrics by name
 * @param mainMetric the one that is judged by
 * @param best whether it is the best so far
 */
public record EvalEvent(long step, Map<String, Double> metrics, String mainMetric, boolean best) {}
