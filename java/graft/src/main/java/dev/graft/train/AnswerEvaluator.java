package dev.graft.train;

import dev.graft.data.AnswerSearch;
import dev.graft.data.AnswerWindow;
import dev.graft.data.Batch;
import dev.graft.data.ExampleSource;
import dev.graft.data.Question;
import dev.graft.data.Question.Answer;
import dev.graft.metrics.AnswerMetrics;
import dev.graft.metrics.AnswerRules;
import dev.graft.model.Network;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/**
 * Answers found in texts: {@code loss} and those of {@link AnswerMetrics}, by the rules of SQuAD
 * 1.1, of 2.0 where some questions have no answer, or of CMRC where the true answers are Chinese.
 * Judged by {@code f1}.
 */
public final class AnswerEvaluator extends HeadEvaluator {
  private final List<Question> questions;
  private final List<AnswerWindow> windows;
  private final int longestAnswer;
  private final boolean allowNone;
  private final AnswerRules rules;
  private AnswerSearch[] searches;

  /**
   * For a set.
   *
   * @param windows all those of the questions, in order
   * @param longestAnswer in tokens
   * @param batchSize windows computed together
   */
  public AnswerEvaluator(
      List<Question> questions, List<AnswerWindow> windows, int longestAnswer, int batchSize) {
    super(new ExampleSource("answers", windows, batchSize, 0, false, 0));
    this.questions = List.copyOf(questions);
    this.windows = List.copyOf(windows);
    this.longestAnswer = longestAnswer;
    this.allowNone = questions.stream().anyMatch(Question::unanswerable);
    this.rules =
        chinese(questions)
            ? AnswerRules.CMRC
            : allowNone ? AnswerRules.SQUAD_V2 : AnswerRules.SQUAD;
  }

  private static boolean chinese(List<Question> questions) {
    Stream<Answer> answers = questions.stream().flatMap(question -> question.answers().stream());
    long[] counts = new long[2];
    answers
        .flatMapToInt(answer -> answer.text().codePoints())
        .forEach(
            c -> counts[Character.UnicodeScript.of(c) == Character.UnicodeScript.HAN ? 1 : 0]++);
    return counts[1] > counts[0];
  }

  @Override
  void begin(Network evaluated) {
    searches = new AnswerSearch[questions.size()];
    for (int q = 0; q < searches.length; q++) {
      searches[q] = new AnswerSearch(longestAnswer);
    }
  }

  @Override
  void add(Batch judged, int first, float[][] logits) {
    for (int w = 0; w < judged.liveSequences; w++) {
      AnswerWindow window = windows.get(first + w);
      searches[window.question()].add(window, logits, judged.cuSeqlens[w]);
    }
  }

  @Override
  Map<String, Double> metrics() {
    AnswerMetrics metrics = new AnswerMetrics(rules);
    for (int q = 0; q < searches.length; q++) {
      Question question = questions.get(q);
      AnswerSearch.Span best = searches[q].spans(allowNone).get(0);
      metrics.add(
          question.answers().stream().map(Answer::text).toList(),
          question.context().substring(best.begin(), best.end()));
    }
    return metrics.toMap();
  }

  @Override
  long examples() {
    return questions.size();
  }

  @Override
  public String mainMetric() {
    return "f1";
  }
}
