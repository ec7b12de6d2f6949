package dev.graft.metrics;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Exact match and F1 of answers to questions, as SQuAD and CMRC report them, in [0, 1]. */
public final class AnswerMetrics {
  private final AnswerRules rules;
  private long answerable;
  private long answerableExact;
  private double answerableF1;
  private long unanswerable;
  private long unanswerableRight;

  public AnswerMetrics(AnswerRules rules) {
    this.rules = rules;
  }

  /**
   * One question. Of several true answers the best counts, for each score apart.
   *
   * @param truths the true answers; none, or only empty ones, if the text does not answer it
   * @param answer the answer given, empty for "no answer"
   */
  public void add(List<String> truths, String answer) {
    // SQuAD 2.0 leaves out true answers of which nothing remains.
    List<String> real =
        rules == AnswerRules.SQUAD_V2
            ? truths.stream().filter(t -> !AnswerRules.normalize(t).isEmpty()).toList()
            : truths;
    boolean exact = false;
    double f1 = 0;
    for (String truth : real.isEmpty() ? List.of("") : real) {
      exact |= rules.equal(truth, answer);
      f1 = Math.max(f1, rules.f1(truth, answer));
    }
    if (real.isEmpty()) {
      unanswerable++;
      unanswerableRight += exact ? 1 : 0;
    } else {
      answerable++;
      answerableExact += exact ? 1 : 0;
      answerableF1 += f1;
    }
  }

  public long count() {
    return answerable + unanswerable;
  }

  /** Share of answers that equal a true one; NaN without questions. */
  public double exactMatch() {
    return (double) (answerableExact + unanswerableRight) / count();
  }

  /** Mean F1; NaN without questions. */
  public double f1() {
    return (answerableF1 + unanswerableRight) / count();
  }

  /** Both by name; where some questions have no answer, also of both kinds apart. */
  public Map<String, Double> toMap() {
    Map<String, Double> metrics = new LinkedHashMap<>();
    metrics.put("exact_match", exactMatch());
    metrics.put("f1", f1());
    if (unanswerable > 0) {
      metrics.put("no_answer_accuracy", (double) unanswerableRight / unanswerable);
      if (answerable > 0) {
        metrics.put("has_answer_exact_match", (double) answerableExact / answerable);
        metrics.put("has_answer_f1", answerableF1 / answerable);
      }
    }
    return metrics;
  }
}
