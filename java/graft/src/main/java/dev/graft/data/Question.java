package dev.graft.data;

import java.util.List;

/**
 * A question to a text.
 *
 * @param id to tell it from others, for example in files of predictions
 * @param question the question
 * @param context the text that may hold the answer
 * @param answers true answers, each where it stands in the context; empty if the text does not
 *     answer it, null if they are not known
 * @param source where it came from, for messages: file and line or id, or empty
 */
public record Question(
    String id, String question, String context, List<Answer> answers, String source) {
  /**
   * A true answer.
   *
   * @param text as it stands in the context
   * @param begin index of its first character
   */
  public record Answer(String text, int begin) {
    /** Index behind its last character. */
    public int end() {
      return begin + text.length();
    }
  }

  public Question {
    answers = answers == null ? null : List.copyOf(answers);
    if (answers != null) {
      for (Answer answer : answers) {
        if (!context.startsWith(answer.text(), answer.begin())) {
          throw new IllegalArgumentException(
              "the answer '" + answer.text() + "' does not stand at " + answer.begin());
        }
      }
    }
  }

  /** A question without known answers. */
  public Question(String question, String context) {
    this("", question, context, null, "");
  }

  /** A question whose answer stands in the context. */
  public static Question of(String question, String context, String answer) {
    int at = context.indexOf(answer);
    if (at < 0) {
      throw new IllegalArgumentException("the answer '" + answer + "' is not in the context");
    }
    return new Question("", question, context, List.of(new Answer(answer, at)), "");
  }

  /** Whether it is known that the context does not answer it. */
  public boolean unanswerable() {
    return answers != null && answers.isEmpty();
  }
}
