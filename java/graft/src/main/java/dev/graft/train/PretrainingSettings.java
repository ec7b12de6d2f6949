package dev.graft.train;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.data.CausalSource.Packing;
import dev.graft.data.CausalSource.Sampling;
import dev.graft.data.Corpus;
import dev.graft.data.DocumentMode;
import dev.graft.io.Hub;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import dev.graft.io.ModelDirectory;
import dev.graft.model.ModelConfig;
import dev.graft.model.Task;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Objects;

/**
 * All a pretraining run is made of; {@link Pretraining} runs it and keeps it in the run directory
 * as {@code settings.json}, so that a resume needs nothing but the directory.
 *
 * @param config the shape of a new network, its vocabulary size replaced by the tokenizer's; null
 *     with {@code initialModel}
 * @param task {@link Task#CAUSAL_LM}, {@link Task#MASKED_LM} or {@link Task#PRETRAINING}
 * @param initialModel a model directory to go on from with its tokenizer; null for a new network
 * @param tokenizer where a new network's tokenizer comes from; null with {@code initialModel}
 * @param corpus files to train on
 * @param validation files to take the loss on; null: {@code corpusOptions.validationShare()}
 * @param training its run directory is where everything goes, and must be given
 * @param threads CPU threads; 0 for all
 */
public record PretrainingSettings(
    ModelConfig config,
    Task task,
    Path initialModel,
    TokenizerSettings tokenizer,
    Corpus corpus,
    Corpus validation,
    CorpusOptions corpusOptions,
    TrainingOptions training,
    int threads) {
  private static final int FORMAT = 1;

  public PretrainingSettings {
    Objects.requireNonNull(task, "task");
    Objects.requireNonNull(corpus, "corpus");
    Objects.requireNonNull(corpusOptions, "corpusOptions");
    Objects.requireNonNull(training, "training");
    require(
        task == Task.CAUSAL_LM || task == Task.MASKED_LM || task == Task.PRETRAINING,
        "task: expected a language model's, got " + task);
    require(
        initialModel == null ? config != null && tokenizer != null : config == null,
        "expected either initialModel, or config and tokenizer");
    require(training.runDirectory() != null, "training: expected a runDirectory, got none");
    require(
        training.exchange().size() == 1,
        "training: expected one process; CorpusTraining trains in several");
    require(
        !corpus.files().isEmpty() && (validation == null || !validation.files().isEmpty()),
        "corpus: expected files (texts in memory cannot be found again at a resume)");
  }

  private static void require(boolean right, String what) {
    if (!right) {
      throw new IllegalArgumentException("pretraining settings: " + what);
    }
  }

  /** A new network with a tokenizer, by the defaults of {@link CorpusOptions}. */
  public static PretrainingSettings fresh(
      ModelConfig config,
      Task task,
      TokenizerSettings tokenizer,
      Corpus corpus,
      TrainingOptions training) {
    return new PretrainingSettings(
        config, task, null, tokenizer, corpus, null, CorpusOptions.defaults(), training, 0);
  }

  /** Further training of a model on other text, by the defaults of {@link CorpusOptions}. */
  public static PretrainingSettings further(
      Path model, Task task, Corpus corpus, TrainingOptions training) {
    return new PretrainingSettings(
        null, task, model, null, corpus, null, CorpusOptions.defaults(), training, 0);
  }

  public PretrainingSettings withValidation(Corpus value) {
    return new PretrainingSettings(
        config, task, initialModel, tokenizer, corpus, value, corpusOptions, training, threads);
  }

  public PretrainingSettings withCorpusOptions(CorpusOptions value) {
    return new PretrainingSettings(
        config, task, initialModel, tokenizer, corpus, validation, value, training, threads);
  }

  public PretrainingSettings withTraining(TrainingOptions value) {
    return new PretrainingSettings(
        config, task, initialModel, tokenizer, corpus, validation, corpusOptions, value, threads);
  }

  public PretrainingSettings withThreads(int value) {
    return new PretrainingSettings(
        config, task, initialModel, tokenizer, corpus, validation, corpusOptions, training, value);
  }

  /**
   * Refuses the run of a directory unless it began with these settings.
   *
   * @throws InvalidInputException naming everything that differs
   */
  public void requireSame(Path directory) {
    RunSettings.requireSame(directory, toJson());
  }

  ObjectNode toJson() {
    ObjectNode json = Json.object();
    json.put("format", FORMAT).put("task", lower(task)).put("threads", threads);
    if (initialModel != null) {
      json.put("initial_model", ModelDirectory.lasting(initialModel, Hub.Part.MODEL).toString());
    } else {
      json.set("config", config.toJson(task));
      ObjectNode t = json.putObject("tokenizer");
      if (tokenizer.directory() != null) {
        t.put(
            "directory",
            ModelDirectory.lasting(tokenizer.directory(), Hub.Part.TOKENIZER).toString());
      }
      t.put("kind", lower(tokenizer.kind()))
          .put("vocab_size", tokenizer.vocabSize())
          .put("min_frequency", tokenizer.minFrequency())
          .put("lowercase", tokenizer.lowercase());
    }
    putCorpus(json.putObject("corpus"), corpus);
    if (validation != null) {
      putCorpus(json.putObject("validation"), validation);
    }
    json.putObject("corpus_options")
        .put("context_length", corpusOptions.contextLength())
        .put("packing", lower(corpusOptions.packing()))
        .put("sampling", lower(corpusOptions.sampling()))
        .put("mask_probability", corpusOptions.maskProbability())
        .put("validation_share", corpusOptions.validationShare())
        .put("eval_batch_size", corpusOptions.evalBatchSize());
    OptionsJson.write(training, json.putObject("training"));
    return json;
  }

  private static void putCorpus(ObjectNode json, Corpus corpus) {
    ArrayNode files = json.putArray("files");
    corpus.files().forEach(file -> files.add(file.toAbsolutePath().toString()));
    json.put("documents", lower(corpus.documents())).put("field", corpus.field());
  }

  private static String lower(Enum<?> value) {
    return value.name().toLowerCase(Locale.ROOT);
  }

  /**
   * Settings as they were written.
   *
   * @param others its run directory and callbacks are taken
   */
  static PretrainingSettings read(Path file, TrainingOptions others) {
    ObjectNode json = Json.readObject(file);
    if (json.path("format").asInt(-1) != FORMAT) {
      throw InvalidInputException.of(
          file, "format: expected " + FORMAT + ", got " + json.path("format"));
    }
    JsonNode t = json.path("tokenizer");
    JsonNode c = json.path("corpus_options");
    try {
      return new PretrainingSettings(
          json.path("config") instanceof ObjectNode config
              ? ModelConfig.fromJson(file, config)
              : null,
          constant(file, Task.class, json.path("task")),
          json.has("initial_model") ? Path.of(json.get("initial_model").asText()) : null,
          t.isMissingNode()
              ? null
              : new TokenizerSettings(
                  t.has("directory") ? Path.of(t.get("directory").asText()) : null,
                  constant(file, TokenizerSettings.Kind.class, t.path("kind")),
                  t.path("vocab_size").asInt(),
                  t.path("min_frequency").asInt(),
                  t.path("lowercase").asBoolean()),
          corpus(file, json.path("corpus")),
          json.has("validation") ? corpus(file, json.get("validation")) : null,
          new CorpusOptions(
              c.path("context_length").asInt(-1),
              constant(file, Packing.class, c.path("packing")),
              constant(file, Sampling.class, c.path("sampling")),
              c.path("mask_probability").asDouble(-1),
              c.path("validation_share").asDouble(-1),
              c.path("eval_batch_size").asInt(-1)),
          OptionsJson.read(file, json.path("training"), others),
          json.path("threads").asInt());
    } catch (InvalidInputException e) {
      throw e;
    } catch (IllegalArgumentException e) {
      throw InvalidInputException.of(file, e.getMessage());
    }
  }

  private static Corpus corpus(Path file, JsonNode json) {
    List<Path> files = new ArrayList<>();
    json.path("files").forEach(name -> files.add(Path.of(name.asText())));
    return Corpus.of(files)
        .documents(constant(file, DocumentMode.class, json.path("documents")))
        .field(json.path("field").asText("text"));
  }

  private static <E extends Enum<E>> E constant(Path file, Class<E> type, JsonNode json) {
    for (E constant : type.getEnumConstants()) {
      if (lower(constant).equals(json.asText())) {
        return constant;
      }
    }
    throw InvalidInputException.of(
        file, json + " is not one of " + List.of(type.getEnumConstants()));
  }
}
