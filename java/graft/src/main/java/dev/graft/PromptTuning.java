package dev.graft;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.data.PromptData;
import dev.graft.data.PromptExample;
import dev.graft.data.PromptTemplate;
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
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Objects;
import java.util.Random;

/**
 * A run from a GPT-2 and prompts with completions to a model that completes such prompts: it
 * follows instructions, or summarises. Kept in the run directory as {@code settings.json}, so that
 * {@link #resume} needs nothing but the directory.
 *
 * @param model the directory of a GPT-2, or its name on a hub
 * @param template the text around prompts
 * @param train JSON Lines or a table; see {@link PromptData}
 * @param validation JSON Lines, or null: {@code validationShare}
 * @param validationShare part of the training examples held back when there is no file; 0: none
 * @param maxLength longest sequence in tokens; 0: as many as the model has positions
 * @param training its run directory is where everything goes, and must be given
 * @param threads CPU threads; 0 for all
 */
public record PromptTuning(
    Path model,
    PromptTemplate template,
    Path train,
    Path validation,
    double validationShare,
    int maxLength,
    TrainingOptions training,
    int threads) {
  /** The task in the run's settings. */
  public static final String TASK = "prompted_lm";

  private static final int FORMAT = 1;

  public PromptTuning {
    Objects.requireNonNull(model, "model");
    Objects.requireNonNull(template, "template");
    Objects.requireNonNull(train, "train");
    if (training.runDirectory() == null || training.exchange().size() > 1) {
      throw new IllegalArgumentException(
          "prompt tuning: training: expected a runDirectory and one process");
    }
    if (!(validationShare >= 0 && validationShare < 1) || maxLength < 0) {
      throw new IllegalArgumentException(
          "prompt tuning: expected a validationShare of [0, 1) and a maxLength of 0 or more, got "
              + validationShare
              + " and "
              + maxLength);
    }
  }

  public PromptTuning withTraining(TrainingOptions value) {
    return new PromptTuning(
        model, template, train, validation, validationShare, maxLength, value, threads);
  }

  private record Split(List<PromptExample> train, List<PromptExample> validation) {}

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
    Split data = data();
    try (GPT2LMHeadModel gpt2 = load()) {
      return RunSettings.begin(
          directory, toJson(), () -> gpt2.fit(data.train(), data.validation(), template, training));
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
    PromptTuning settings = read(RunSettings.file(directory), others);
    Split data = settings.data();
    try (GPT2LMHeadModel gpt2 = settings.load()) {
      return gpt2.fit(data.train(), data.validation(), settings.template, settings.training);
    }
  }

  private Split data() {
    List<PromptExample> all = PromptData.read(train);
    if (validation != null) {
      return new Split(all, PromptData.read(validation));
    }
    if (validationShare == 0) {
      return new Split(all, List.of());
    }
    int held = (int) Math.round(validationShare * all.size());
    if (held < 1 || held == all.size()) {
      throw InvalidInputException.of(
          train, "too few examples to hold back " + validationShare + " of them for validation");
    }
    List<PromptExample> shuffled = new ArrayList<>(all);
    Collections.shuffle(shuffled, new Random(training.seed()));
    return new Split(shuffled.subList(held, shuffled.size()), shuffled.subList(0, held));
  }

  private GPT2LMHeadModel load() {
    return GPT2LMHeadModel.fromPretrained(model, ModelOptions.of(training, threads, maxLength));
  }

  private ObjectNode toJson() {
    ObjectNode json = Json.object();
    json.put("format", FORMAT)
        .put("task", TASK)
        .put("model", ModelDirectory.lasting(model, Hub.Part.MODEL).toString())
        .put("train", train.toAbsolutePath().toString());
    if (validation != null) {
      json.put("validation", validation.toAbsolutePath().toString());
    }
    json.put("validation_share", validationShare)
        .put("max_length", maxLength)
        .put("threads", threads);
    json.set("template", template.toJson());
    OptionsJson.write(training, json.putObject("training"));
    return json;
  }

  private static PromptTuning read(Path file, TrainingOptions others) {
    ObjectNode json = Json.readObject(file);
    if (json.path("format").asInt(-1) != FORMAT
        || !json.path("task").asText().equals(TASK)
        || !(json.path("template") instanceof ObjectNode template)) {
      throw InvalidInputException.of(file, "is not that of a run on prompts");
    }
    return new PromptTuning(
        Path.of(json.path("model").asText()),
        PromptTemplate.fromJson(file, template),
        Path.of(json.path("train").asText()),
        json.has("validation") ? Path.of(json.get("validation").asText()) : null,
        json.path("validation_share").asDouble(),
        json.path("max_length").asInt(),
        OptionsJson.read(file, json.path("training"), others),
        json.path("threads").asInt());
  }
}
