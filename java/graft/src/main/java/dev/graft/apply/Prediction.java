package dev.graft.apply;

import java.util.List;

/**
 * Classes or labels of a text, most probable first, or the numbers a regression gives it.
 *
 * @param classes as many as were asked for. Of classes, of which one is right, the probabilities of
 *     all sum to 1; of labels each has a probability of its own. Empty for a regression
 * @param values of a regression, one an output; otherwise empty
 * @param truncated whether the text was longer than the model takes and was cut
 */
public record Prediction(List<Scored> classes, List<Double> values, boolean truncated) {
  public Prediction {
    classes = List.copyOf(classes);
    values = List.copyOf(values);
  }

  /** Without numbers. */
  public Prediction(List<Scored> classes, boolean truncated) {
    this(classes, List.of(), truncated);
  }

  /** A class or word and its probability. */
  public record Scored(String name, double probability) {}

  /** The labels that are more probable than not, most probable first. */
  public List<String> labels() {
    return classes.stream().filter(c -> c.probability() > 0.5).map(Scored::name).toList();
  }

  /** The number a regression of one output gives the text. */
  public double value() {
    return values.get(0);
  }

  /** The most probable class. */
  public String label() {
    return classes.get(0).name();
  }

  public double probability() {
    return classes.get(0).probability();
  }
}
