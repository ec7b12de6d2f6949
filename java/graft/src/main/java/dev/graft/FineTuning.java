package dev.graft;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.data.Columns;
import dev.graft.data.LabelledSource;
import dev.graft.io.Hub;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import dev.graft.io.ModelDirectory;
import dev.graft.train.CancellationToken;
import dev.graft.train.OptionsJson;
import dev.graft.train.RunSettings;
import dev.graft.train.TrainingListener;
import dev.graft.train.TrainingOptions;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;

/**
 * A run from a model directory and labelled files to a classifier in a run directory, kept there as
 * {@code settings.json} so that {@link #resume} needs nothing but the directory.
 *
 * @param model the directory of a BERT, or its name on a hub
 * @param newHead whether a classifier's own head is left behind and begun anew with the classes of
 *     the data
 * @param train labelled file or query
 * @param validation labelled file or query; null: {@code validationShare}
 * @param validationShare part of each class of the training file that is held back for validation
 *     when there is no set for it; 0: none
 * @param columns of both
 * @param maxLength longest text in tokens; 0: as many as the model has positions
 * @param training its run directory is where everything goes, and must be given
 * @param threads CPU threads; 0 for all
 */
public record FineTuning(
    Path model,
    boolean newHead,
    LabelledSource train,
    LabelledSource validation,
    double validationShare,
    Columns columns,
    int maxLength,
    TrainingOptions training,
    int threads) {
  private static final int FORMAT = 1;

  public FineTuning {
    Objects.requireNonNull(model, "model");
    Objects.requireNonNull(train, "train");
    Objects.requireNonNull(columns, "columns");
    if (training.runDirectory() == null) {
      throw new IllegalArgumentException("fine-tuning: training: expected a runDirectory");
    }
    if (training.exchange().size() > 1) {
      throw new IllegalArgumentException(
          "fine-tuning: training: expected one process; fit() trains in several");
    }
    if (!(validationShare >= 0 && validationShare < 1)) {
      throw new IllegalArgumentException(
          "fine-tuning: validationShare: expected [0, 1), got " + validationShare);
    }
  }

  /** With a validation file, or without validation. */
  public FineTuning(
      Path model,
      boolean newHead,
      Path train,
      Path validation,
      Columns columns,
      int maxLength,
      TrainingOptions training,
      int threads) {
    this(
        model,
        newHead,
        LabelledSource.of(train),
        validation == null ? null : LabelledSource.of(validation),
        0,
        columns,
        maxLength,
        training,
        threads);
  }

  public FineTuning withTraining(TrainingOptions value) {
    return new FineTuning(
        model, newHead, train, validation, validationShare, columns, maxLength, value, threads);
  }

  /** The same from another model. */
  public FineTuning withModel(Path value) {
    return new FineTuning(
        value, newHead, train, validation, validationShare, columns, maxLength, training, threads);
  }

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
    Dataset.Split data = data();
    try (BertForSequenceClassification classifier = load()) {
      return RunSettings.begin(
          directory, toJson(), () -> classifier.fit(data.train(), data.validation(), training));
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
    FineTuning settings = read(RunSettings.file(directory), others);
    Dataset.Split data = settings.data();
    try (BertForSequenceClassification classifier = settings.load()) {
      return classifier.fit(data.train(), data.validation(), settings.training);
    }
  }

  /** The sets; what is held back is a function of the seed. */
  private Dataset.Split data() {
    Dataset all = Dataset.from(train, columns);
    if (validation != null) {
      return new Dataset.Split(all, Dataset.from(validation, columns));
    }
    return validationShare == 0
        ? new Dataset.Split(all, null)
        : all.split(validationShare, training.seed());
  }

  private BertForSequenceClassification load() {
    ModelOptions options = ModelOptions.of(training, threads, maxLength);
    return newHead
        ? BertForSequenceClassification.fromEncoder(model, List.of(), options)
        : BertForSequenceClassification.fromPretrained(model, options);
  }

  private ObjectNode toJson() {
    ObjectNode json = Json.object();
    json.put("format", FORMAT)
        .put("task", "sequence_classification")
        .put("model", ModelDirectory.lasting(model, Hub.Part.MODEL).toString())
        .put("new_head", newHead)
        .set("train", train.toJson());
    if (validation != null) {
      json.set("validation", validation.toJson());
    }
    json.put("validation_share", validationShare);
    json.set("columns", columns.toJson());
    json.put("max_length", maxLength).put("threads", threads);
    OptionsJson.write(training, json.putObject("training"));
    return json;
  }

  private static FineTuning read(Path file, TrainingOptions others) {
    ObjectNode json = Json.readObject(file);
    if (json.path("format").asInt(-1) != FORMAT
        || !json.path("task").asText().equals("sequence_classification")) {
      throw InvalidInputException.of(file, "is not that of a fine-tuning run");
    }
    return new FineTuning(
        Path.of(Json.text(file, json, "model")),
        json.path("new_head").asBoolean(),
        LabelledSource.fromJson(file, "train", json.path("train")),
        json.has("validation")
            ? LabelledSource.fromJson(file, "validation", json.path("validation"))
            : null,
        json.path("validation_share").asDouble(),
        Columns.fromJson(json.path("columns")),
        json.path("max_length").asInt(),
        OptionsJson.read(file, json.path("training"), others),
        json.path("threads").asInt());
  }
}
