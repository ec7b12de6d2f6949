package dev.graft.train;

import dev.graft.io.AtomicFiles;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import dev.graft.model.Gpt2Config;
import dev.graft.model.ModelConfig;
import dev.graft.model.Network;
import dev.graft.model.Task;
import dev.graft.runtime.Device;
import dev.graft.text.Tokenizer;
import java.nio.file.Path;
import java.util.Locale;

/**
 * A run from text files to a model directory: tokenizer (given or trained), token shards, network,
 * training with checkpoints. In the run directory afterwards:
 *
 * <pre>
 *   settings.json  run.json  metrics.jsonl  loss.png
 *   tokenizer/  data/train/  data/validation/
 *   checkpoints/step-NNNNNNNN/  best/  model/
 * </pre>
 *
 * <p>A run that was stopped goes on by {@link #resume} with the settings it began with and ends
 * bit-identical to one that never stopped.
 */
public final class Pretraining {
  private Pretraining() {}

  /**
   * Starts a run.
   *
   * @throws InvalidInputException in one line if a file or the run directory cannot be used
   */
  public static TrainingResult run(PretrainingSettings settings) {
    Path directory = settings.training().runDirectory();
    if (settings.training().resume()) {
      RunSettings.requireSame(directory, settings.toJson());
      return resume(directory, settings.training().listener(), settings.training().cancellation());
    }
    return RunDirectory.begin(directory, () -> begin(settings, directory));
  }

  private static TrainingResult begin(PretrainingSettings settings, Path directory) {
    if (settings.initialModel() == null && settings.tokenizer().directory() == null) {
      settings.training().listener().onPrepare("training a tokenizer on " + settings.corpus());
    }
    try (Tokenizer tokenizer = tokenizer(settings)) {
      requireMasks(settings, tokenizer);
      tokenizer.savePretrained(directory.resolve("tokenizer"));
      AtomicFiles.write(RunSettings.file(directory), Json.pretty(settings.toJson()));
      return run(settings, tokenizer);
    }
  }

  /**
   * Goes on with a run from its newest complete checkpoint, by the settings it began with.
   *
   * @throws InvalidInputException if there is no run, or going on would not be exact (naming why)
   */
  public static TrainingResult resume(
      Path directory, TrainingListener listener, CancellationToken cancellation) {
    PretrainingSettings settings =
        PretrainingSettings.read(
            RunSettings.file(directory), RunSettings.resumed(directory, listener, cancellation));
    try (Tokenizer tokenizer = Tokenizer.fromPretrained(directory.resolve("tokenizer"))) {
      return run(settings, tokenizer);
    }
  }

  private static void requireMasks(PretrainingSettings settings, Tokenizer tokenizer) {
    boolean masks = tokenizer.maskId() >= 0 && tokenizer.clsId() >= 0 && tokenizer.sepId() >= 0;
    if (settings.task() == Task.CAUSAL_LM || masks) {
      return;
    }
    String needed = "has no [MASK], [CLS] and [SEP], which BERT learns with";
    Path directory =
        settings.initialModel() != null
            ? settings.initialModel()
            : settings.tokenizer().directory();
    throw directory == null
        ? new InvalidInputException(
            "a "
                + settings.tokenizer().kind().name().toLowerCase(Locale.ROOT)
                + " tokenizer "
                + needed)
        : InvalidInputException.of(directory, "this tokenizer " + needed);
  }

  private static Tokenizer tokenizer(PretrainingSettings settings) {
    return settings.initialModel() != null
        ? Tokenizer.fromPretrained(settings.initialModel())
        : settings.tokenizer().make(settings.corpus().files());
  }

  private static TrainingResult run(PretrainingSettings settings, Tokenizer tokenizer) {
    try (Device device = Device.open(settings.training().device(), settings.threads());
        Network network = network(device, settings, tokenizer)) {
      return CorpusTraining.run(
          network,
          tokenizer,
          settings.corpus(),
          settings.validation(),
          settings.corpusOptions(),
          settings.training());
    }
  }

  private static Network network(Device device, PretrainingSettings settings, Tokenizer tokenizer) {
    TrainingOptions training = settings.training();
    if (settings.initialModel() != null) {
      return Network.load(
          device,
          settings.initialModel(),
          settings.task(),
          training.dtype(),
          null,
          training.seed());
    }
    ModelConfig config = settings.config().withVocabSize(tokenizer.vocabSize());
    if (config instanceof Gpt2Config gpt2) {
      config = gpt2.withSpecialTokens(tokenizer.bosId(), tokenizer.eosId());
    }
    return Network.create(device, config, settings.task(), training.dtype(), training.seed());
  }
}
