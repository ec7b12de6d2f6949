package dev.graft.train;

import dev.graft.model.Network;
import java.util.Map;

/**
 * Judges a network, during training and after. It may use the device's loss sums; it leaves them at
 * zero. Closing it frees the programs it recorded.
 */
public interface Evaluator extends AutoCloseable {
  /** Metrics by name, the main one among them. */
  Map<String, Double> evaluate(Network network);

  /** Name of the metric a best model is chosen by. */
  String mainMetric();

  /** Whether more of it is better. */
  boolean higherIsBetter();

  @Override
  default void close() {}
}
