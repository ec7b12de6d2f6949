package dev.graft.data;

import java.util.List;

/**
 * A question with choices.
 *
 * @param context a text it is about, or null
 * @param question the question, or the beginning that the choices go on with
 * @param choices at least two
 * @param label which is right, counted from 0; −1 if it is not known
 * @param source where it came from, for messages: file and line, or empty
 */
public record ChoiceQuestion(
    String context, String question, List<String> choices, int label, String source) {
  public ChoiceQuestion {
    choices = List.copyOf(choices);
    if (choices.size() < 2 || label < -1 || label >= choices.size()) {
      throw new IllegalArgumentException(
          "expected at least two choices and one of them as label, got "
              + choices.size()
              + " and "
              + label);
    }
  }

  /** A question without a known answer. */
  public ChoiceQuestion(String context, String question, List<String> choices) {
    this(context, question, choices, -1, "");
  }
}
