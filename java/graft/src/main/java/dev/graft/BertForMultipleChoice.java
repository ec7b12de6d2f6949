package dev.graft;

import dev.graft.apply.Choice;
import dev.graft.apply.ChoicePicker;
import dev.graft.data.ChoiceQuestion;
import dev.graft.data.EncodedChoices;
import dev.graft.io.InvalidInputException;
import dev.graft.model.Task;
import dev.graft.train.ChoiceEvaluator;
import dev.graft.train.Evaluator;
import dev.graft.train.TrainingOptions;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * BERT that picks the right one of several choices.
 *
 * <pre>
 *   try (var model = BertForMultipleChoice.fromPretrained("my-bert")) {
 *     model.fit(ChoiceData.read("train.jsonl"), ChoiceData.read("valid.jsonl"));
 *     System.out.println(model.predict("A fish lives in", List.of("water", "trees")).text());
 *     model.savePretrained("my-chooser");
 *   }
 * </pre>
 *
 * <p>Texts longer than the model takes lose the end of their longer part; {@link
 * FitResult#truncated}, {@link Choice#truncated} and the metric {@code truncated} say so.
 */
public final class BertForMultipleChoice extends TaskModel {
  private final Worker<ChoicePicker> worker;

  private BertForMultipleChoice(Parts parts) {
    super(parts, Task.MULTIPLE_CHOICE);
    worker =
        new Worker<>(
            this,
            "BertForMultipleChoice",
            options().threads(),
            network -> new ChoicePicker(network, tokenizer(), maxLength()));
  }

  /** Reads a model directory, or a name on a hub. */
  public static BertForMultipleChoice fromPretrained(String directory) {
    return fromPretrained(Path.of(directory), ModelOptions.defaults());
  }

  /**
   * Reads a model directory. Of a model without a head for choices the encoder is taken.
   *
   * @throws InvalidInputException in one line if a file is missing or broken
   */
  public static BertForMultipleChoice fromPretrained(Path directory, ModelOptions options) {
    return new BertForMultipleChoice(parts(directory, Task.MULTIPLE_CHOICE, options));
  }

  /** Takes the encoder of a model directory under a new head. */
  public static BertForMultipleChoice fromEncoder(Path directory, ModelOptions options) {
    return new BertForMultipleChoice(parts(directory, null, options));
  }

  /** Trains by {@link TrainingOptions#finetuning()}, which suits model and data. */
  public FitResult fit(List<ChoiceQuestion> train, List<ChoiceQuestion> validation) {
    return fit(train, validation, TrainingOptions.finetuning().build());
  }

  /**
   * Trains on questions whose right choice is known, as {@link BertForSequenceClassification#fit}
   * does on texts.
   *
   * @param validation judged by accuracy; may be null
   * @throws InvalidInputException if the right choice of a question is not known
   */
  public FitResult fit(
      List<ChoiceQuestion> train, List<ChoiceQuestion> validation, TrainingOptions options) {
    try (Gate.Use use = gate().write("fit")) {
      List<EncodedChoices> trained = encode(train);
      List<EncodedChoices> judged = validation == null ? List.of() : encode(validation);
      Evaluator evaluator = validation == null ? null : new ChoiceEvaluator(judged, BATCH_SIZE);
      return train(
          config().withLabels(List.of()),
          trained,
          evaluator,
          options,
          truncated(trained) + truncated(judged));
    }
  }

  private List<EncodedChoices> encode(List<ChoiceQuestion> questions) {
    requireAny(questions);
    List<EncodedChoices> encoded = new ArrayList<>();
    for (ChoiceQuestion question : questions) {
      if (question.label() < 0) {
        throw new InvalidInputException(
            (question.source().isEmpty() ? "" : question.source() + ": ")
                + "the right choice of a question is not known: "
                + question.question());
      }
      encoded.add(EncodedChoices.of(tokenizer(), question, maxLength()));
    }
    return encoded;
  }

  private static long truncated(List<EncodedChoices> questions) {
    return questions.stream().filter(EncodedChoices::truncated).count();
  }

  /** Answers on questions whose right choice is known: {@code loss}, {@code accuracy}. */
  public Map<String, Double> evaluate(List<ChoiceQuestion> questions) {
    try (Gate.Use use = gate().read("evaluate")) {
      requireHead();
      List<EncodedChoices> encoded = encode(questions);
      return judge(new ChoiceEvaluator(encoded, BATCH_SIZE), truncated(encoded));
    }
  }

  /** The right choice of a question without a context. */
  public Choice predict(String question, List<String> choices) {
    return predict(List.of(new ChoiceQuestion(null, question, choices))).get(0);
  }

  /** The right choice of each question; labels are not looked at. Threads take turns. */
  public synchronized List<Choice> predict(List<ChoiceQuestion> questions) {
    return worker.call(
        "predict",
        picker -> {
          requireHead();
          return picker.pick(questions);
        });
  }
}
