package dev.graft.apply;

import java.util.List;

/**
 * Classes of a text, most probable first.
 *
 * @param classes as many as were asked for, probabilities of all classes sum to 1
 * @param truncated whether the text was longer than the model takes and was cut
 */
public record Prediction(List<Scored> classes, boolean truncated) {
  /** A class or word and its probability. */
  public record Scored(String name, double probability) {}

  /** The most probable class. */
  public String label() {
    return classes.get(0).name();
  }

  public double probability() {
    return classes.get(0).probability();
  }
}
