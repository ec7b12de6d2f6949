package dev.graft;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.data.ChoiceData;
import dev.graft.data.ChoiceQuestion;
import dev.graft.data.Columns;
import dev.graft.data.LabelledSource;
import dev.graft.data.Question;
import dev.graft.data.QuestionData;
import dev.graft.data.TaggedData;
import dev.graft.data.TaggedSentence;
import dev.graft.io.Hub;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import dev.graft.io.ModelDirectory;
import dev.graft.model.ProblemType;
import dev.graft.train.CancellationToken;
import dev.graft.train.OptionsJson;
import dev.graft.train.RunSettings;
import dev.graft.train.TrainingListener;
import dev.graft.train.TrainingOptions;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import java.util.function.Function;

/**
 * As {@link FineTuning}, for the other tasks.
 *
 * @param task what the model learns
 * @param model the directory of an encoder, or its name on a hub
 * @param newHead whether a head of the task is left behind and begun anew
 * @param train file; for labels and numbers also a query
 * @param validation the same; null: {@code validationShare}
 * @param validationShare part of the training set that is held back at random; 0: none
 * @param columns of labels and numbers
 * @param labelSeparator between several labels or numbers of one text
 * @param maxLength longest sequence in tokens; 0: as many as the model has positions
 * @param training its run directory is where everything goes, and must be given
 * @param threads CPU threads; 0 for all
 */
public record TaskFineTuning(
    TextTask task,
    Path model,
    boolean newHead,
    LabelledSource train,
    LabelledSource validation,
    double validationShare,
    Columns columns,
    String labelSeparator,
    int maxLength,
    TrainingOptions training,
    int threads) {
  private static final int FORMAT = 1;

  public TaskFineTuning {
    Objects.requireNonNull(task, "task");
    Objects.requireNonNull(model, "model");
    Objects.requireNonNull(train, "train");
    Objects.requireNonNull(columns, "columns");
    if (training.runDirectory() == null || training.exchange().size() > 1) {
      throw new IllegalArgumentException(
          "fine-tuning: training: expected a runDirectory and one process");
    }
    if (!(validationShare >= 0 && validationShare < 1)) {
      throw new IllegalArgumentException(
          "fine-tuning: validationShare: expected [0, 1), got " + validationShare);
    }
  }

  public TaskFineTuning withTraining(TrainingOptions value) {
    return new TaskFineTuning(
        task,
        model,
        newHead,
        train,
        validation,
        validationShare,
        columns,
        labelSeparator,
        maxLength,
        value,
        threads);
  }

  /** Whether the run in a directory is one of these. */
  public static boolean isIn(Path runDirectory) {
    return TextTask.named(RunSettings.task(runDirectory)) != null;
  }

  /** A model and its data, read and checked. */
  private record Prepared(PreTrainedModel model, Function<TrainingOptions, FitResult> fit)
      implements AutoCloseable {
    @Override
    public void close() {
      model.close();
    }
  }

  /** Two parts of a set; the second may be null. */
  private record Parts<T>(List<T> train, List<T> validation) {}

  /**
   * Starts the run; with {@code resume} in the options it goes on with the one that is there.
   *
   * @throws InvalidInputException in one line if a file or the run directory cannot be used
   */
  public FitResult run() {
    Path directory = training.runDirectory();
    if (training.resume()) {
      RunSettings.requireSame(directory, toJson());
      return resume(directory, training.listener(), training.cancellation());
    }
    // Read before the run directory is touched: bad input leaves nothing behind.
    try (Prepared prepared = prepare()) {
      return RunSettings.begin(directory, toJson(), () -> prepared.fit().apply(training));
    }
  }

  /**
   * Goes on with a run from its newest complete checkpoint, by the settings it began with.
   *
   * @throws InvalidInputException if there is no run, or going on would not be exact (naming why)
   */
  public static FitResult resume(
      Path directory, TrainingListener listener, CancellationToken cancellation) {
    TrainingOptions others = RunSettings.resumed(directory, listener, cancellation);
    TaskFineTuning settings = read(RunSettings.file(directory), others);
    try (Prepared prepared = settings.prepare()) {
      return prepared.fit().apply(settings.training);
    }
  }

  private Prepared prepare() {
    ModelOptions options = ModelOptions.of(training, threads, maxLength);
    switch (task) {
      case NER -> {
        Parts<TaggedSentence> data = parts(TaggedData::read);
        BertForTokenClassification tagger =
            newHead
                ? BertForTokenClassification.fromEncoder(model, options)
                : BertForTokenClassification.fromPretrained(model, options);
        return new Prepared(tagger, o -> tagger.fit(data.train(), data.validation(), o));
      }
      case QA -> {
        Parts<Question> data = parts(QuestionData::read);
        BertForQuestionAnswering reader =
            newHead
                ? BertForQuestionAnswering.fromEncoder(model, options)
                : BertForQuestionAnswering.fromPretrained(model, options);
        return new Prepared(reader, o -> reader.fit(data.train(), data.validation(), o));
      }
      case MULTIPLE_CHOICE -> {
        Parts<ChoiceQuestion> data = parts(ChoiceData::read);
        BertForMultipleChoice chooser =
            newHead
                ? BertForMultipleChoice.fromEncoder(model, options)
                : BertForMultipleChoice.fromPretrained(model, options);
        return new Prepared(chooser, o -> chooser.fit(data.train(), data.validation(), o));
      }
      default -> {
        Dataset.Split data = labelled();
        ProblemType type =
            task == TextTask.REGRESSION
                ? ProblemType.REGRESSION
                : ProblemType.MULTI_LABEL_CLASSIFICATION;
        BertForSequenceClassification classifier =
            newHead
                ? BertForSequenceClassification.fromEncoder(model, type, options)
                : BertForSequenceClassification.fromPretrained(model, type, options);
        return new Prepared(classifier, o -> classifier.fit(data.train(), data.validation(), o));
      }
    }
  }

  private Dataset.Split labelled() {
    Dataset all = Dataset.from(train, columns).withLabelSeparator(labelSeparator);
    if (validation != null) {
      return new Dataset.Split(
          all, Dataset.from(validation, columns).withLabelSeparator(labelSeparator));
    }
    return validationShare == 0
        ? new Dataset.Split(all, null)
        : all.splitAtRandom(validationShare, training.seed());
  }

  /** The sets; what is held back is a function of the seed. */
  private <T> Parts<T> parts(Function<Path, List<T>> read) {
    List<T> all = read.apply(file(train));
    if (validation != null) {
      return new Parts<>(all, read.apply(file(validation)));
    }
    if (validationShare == 0) {
      return new Parts<>(all, null);
    }
    List<T> mixed = new ArrayList<>(all);
    Collections.shuffle(mixed, new Random(training.seed()));
    int held = (int) Math.max(1, Math.round(validationShare * mixed.size()));
    if (held == mixed.size()) {
      throw InvalidInputException.of(
          file(train), "one example cannot be cut for validation; give a set for it");
    }
    return new Parts<>(mixed.subList(held, mixed.size()), mixed.subList(0, held));
  }

  private static Path file(LabelledSource source) {
    if (source.file() == null) {
      throw new InvalidInputException("this task reads files; SQL gives labelled texts only");
    }
    return source.file();
  }

  private ObjectNode toJson() {
    ObjectNode json = Json.object();
    json.put("format", FORMAT)
        .put("task", task.settingsName())
        .put("model", ModelDirectory.lasting(model, Hub.Part.MODEL).toString())
        .put("new_head", newHead)
        .set("train", train.toJson());
    if (validation != null) {
      json.set("validation", validation.toJson());
    }
    json.put("validation_share", validationShare);
    json.set("columns", columns.toJson());
    json.put("label_separator", labelSeparator)
        .put("max_length", maxLength)
        .put("threads", threads);
    OptionsJson.write(training, json.putObject("training"));
    return json;
  }

  private static TaskFineTuning read(Path file, TrainingOptions others) {
    ObjectNode json = Json.readObject(file);
    TextTask task = TextTask.named(json.path("task").asText());
    if (json.path("format").asInt(-1) != FORMAT || task == null) {
      throw InvalidInputException.of(file, "is not that of a fine-tuning run");
    }
    return new TaskFineTuning(
        task,
        Path.of(Json.text(file, json, "model")),
        json.path("new_head").asBoolean(),
        LabelledSource.fromJson(file, "train", json.path("train")),
        json.has("validation")
            ? LabelledSource.fromJson(file, "validation", json.path("validation"))
            : null,
        json.path("validation_share").asDouble(),
        Columns.fromJson(json.path("columns")),
        Json.text(file, json, "label_separator"),
        json.path("max_length").asInt(),
        OptionsJson.read(file, json.path("training"), others),
        json.path("threads").asInt());
  }
}
