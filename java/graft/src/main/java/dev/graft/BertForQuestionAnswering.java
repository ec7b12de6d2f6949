package dev.graft;

import dev.graft.apply.FoundAnswer;
import dev.graft.apply.QuestionAnswerer;
import dev.graft.data.AnswerWindow;
import dev.graft.data.AnswerWindows;
import dev.graft.data.Question;
import dev.graft.io.InvalidInputException;
import dev.graft.model.Task;
import dev.graft.train.AnswerEvaluator;
import dev.graft.train.Evaluator;
import dev.graft.train.TrainingOptions;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/**
 * BERT that finds the answer to a question in a text.
 *
 * <pre>
 *   try (var model = BertForQuestionAnswering.fromPretrained("my-bert")) {
 *     model.fit(QuestionData.read("train.json"), QuestionData.read("valid.json"));
 *     System.out.println(model.answer("Where did she live?", "Ada lived in London.").text());
 *     model.savePretrained("my-reader");
 *   }
 * </pre>
 *
 * <p>Texts longer than the model takes are read in windows that overlap. Questions longer than 64
 * tokens lose their end; {@link FitResult#truncated} and the metric {@code truncated} count them.
 */
public final class BertForQuestionAnswering extends TaskModel {
  private final Worker<QuestionAnswerer> worker;

  private BertForQuestionAnswering(Parts parts) {
    super(parts, Task.QUESTION_ANSWERING);
    worker =
        new Worker<>(
            this,
            "BertForQuestionAnswering",
            options().threads(),
            network -> new QuestionAnswerer(network, tokenizer(), maxLength(), BATCH_SIZE));
  }

  /** Reads a model directory, or a name on a hub. */
  public static BertForQuestionAnswering fromPretrained(String directory) {
    return fromPretrained(Path.of(directory), ModelOptions.defaults());
  }

  /**
   * Reads a model directory. Of a model without a head for answers the encoder is taken.
   *
   * @throws InvalidInputException in one line if a file is missing or broken
   */
  public static BertForQuestionAnswering fromPretrained(Path directory, ModelOptions options) {
    return new BertForQuestionAnswering(parts(directory, Task.QUESTION_ANSWERING, options));
  }

  /** Takes the encoder of a model directory under a new head. */
  public static BertForQuestionAnswering fromEncoder(Path directory, ModelOptions options) {
    return new BertForQuestionAnswering(parts(directory, null, options));
  }

  /** Trains by {@link TrainingOptions#finetuning()}, which suits model and data. */
  public FitResult fit(List<Question> train, List<Question> validation) {
    return fit(train, validation, TrainingOptions.finetuning().build());
  }

  /**
   * Trains on questions with answers, as {@link BertForSequenceClassification#fit} does on texts.
   *
   * @param validation judged by the F1 of answers; may be null
   * @throws InvalidInputException if the answer to a question is not known
   */
  public FitResult fit(List<Question> train, List<Question> validation, TrainingOptions options) {
    try (Gate.Use use = gate().write("fit")) {
      AnswerWindows cutter = new AnswerWindows(tokenizer(), maxLength());
      List<AnswerWindow> windows = windows(cutter, train);
      Evaluator evaluator = validation == null ? null : evaluator(cutter, validation);
      return train(config().withLabels(List.of()), windows, evaluator, options, cutter.truncated());
    }
  }

  private static List<AnswerWindow> windows(AnswerWindows cutter, List<Question> questions) {
    requireAny(questions);
    for (Question question : questions) {
      if (question.answers() == null) {
        throw new InvalidInputException(
            (question.source().isEmpty() ? "" : question.source() + ": ")
                + "the answer to a question is not known: "
                + question.question());
      }
    }
    return cutter.of(questions);
  }

  private static Evaluator evaluator(AnswerWindows cutter, List<Question> questions) {
    return new AnswerEvaluator(
        questions, windows(cutter, questions), QuestionAnswerer.LONGEST_ANSWER, BATCH_SIZE);
  }

  /** Answers on questions with known answers; see {@link AnswerEvaluator}. */
  public Map<String, Double> evaluate(List<Question> questions) {
    try (Gate.Use use = gate().read("evaluate")) {
      requireHead();
      AnswerWindows cutter = new AnswerWindows(tokenizer(), maxLength());
      Evaluator evaluator = evaluator(cutter, questions);
      return judge(evaluator, cutter.truncated());
    }
  }

  /** The best answer that stands in the text. */
  public FoundAnswer answer(String question, String context) {
    return answer(List.of(new Question(question, context)), 1, false).get(0).get(0);
  }

  /**
   * The best answers to each question, most probable first. Threads take turns.
   *
   * @param k answers a question
   * @param allowNone whether a question may have no answer, as in SQuAD 2.0: the empty text
   */
  public synchronized List<List<FoundAnswer>> answer(
      List<Question> questions, int k, boolean allowNone) {
    return worker.call(
        "answer",
        answerer -> {
          requireHead();
          return answerer.answer(questions, k, allowNone);
        });
  }
}
