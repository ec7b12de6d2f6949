package dev.graft.apply;

import java.util.List;

/**
 * Which choice of a question is right.
 *
 * @param index of the most probable one, counted from 0
 * @param text the choice itself
 * @param probabilities of all, in their order; they sum to 1
 * @param truncated whether a text was longer than the model takes and was cut
 */
public record Choice(int index, String text, List<Double> probabilities, boolean truncated) {
  public Choice {
    probabilities = List.copyOf(probabilities);
  }

  /** Of the most probable one. */
  public double probability() {
    return probabilities.get(index);
  }
}
