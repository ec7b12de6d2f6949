package dev.graft.train;

import dev.graft.data.Batch;
import dev.graft.data.BatchSource;
import dev.graft.io.InvalidInputException;
import dev.graft.model.ClassLoss;
import dev.graft.model.Network;
import java.util.Arrays;
import java.util.List;

/** The weights an {@link Objective} gives a network's classes. */
final class ClassWeights {
  private ClassWeights() {}

  /**
   * By class id; null if all weigh the same.
   *
   * @param data counted once, for balanced classes
   * @throws InvalidInputException if a class is not there, or has no example to be balanced by
   */
  static float[] of(Objective objective, Network network, BatchSource data) {
    List<String> names = network.config().labels();
    if (!objective.weighted()) {
      return null;
    }
    if (names.isEmpty()) {
      throw new InvalidInputException("class weights: this network has no classes");
    }
    return objective.balanced() ? balanced(names, network, data) : given(objective, names);
  }

  private static float[] given(Objective objective, List<String> names) {
    float[] weights = new float[names.size()];
    Arrays.fill(weights, 1);
    objective
        .classWeights()
        .forEach(
            (name, weight) -> {
              int id = names.indexOf(name);
              if (id < 0) {
                throw new InvalidInputException(
                    "class weights: no class is called " + name + "; there are " + names);
              }
              weights[id] = weight.floatValue();
            });
    return weights;
  }

  private static float[] balanced(List<String> names, Network network, BatchSource data) {
    long[] counts = new long[names.size()];
    Batch batch = data.newBatch();
    for (long i = 0; i < data.batchesPerEpoch(); i++) {
      data.fill(i, batch);
      ClassLoss.count(network, batch, counts);
    }
    long all = Arrays.stream(counts).sum();
    float[] weights = new float[counts.length];
    for (int c = 0; c < counts.length; c++) {
      if (counts[c] == 0) {
        throw new InvalidInputException(
            "class weights: " + names.get(c) + " has no example to be balanced by");
      }
      weights[c] = (float) ((double) all / (counts.length * counts[c]));
    }
    return weights;
  }
}
