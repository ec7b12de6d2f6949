package dev.graft.train;

import com.fasterxml.jackson.databind.JsonNode;
import dev.graft.io.AtomicFiles;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import dev.graft.model.Gpt2Config;
import dev.graft.model.ModelConfig;
import dev.graft.model.Network;
import dev.graft.runtime.Device;
import dev.graft.text.Tokenizer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;

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
  private static final String SETTINGS = "settings.json";

  private Pretraining() {}

  /**
   * Starts a run.
   *
   * @throws InvalidInputException in one line if a file or the run directory cannot be used
   */
  public static TrainingResult run(PretrainingSettings settings) {
    Path directory = settings.training().runDirectory();
    if (settings.training().resume()) {
      requireSame(directory.resolve(SETTINGS), settings);
      return resume(directory, settings.training().listener(), settings.training().cancellation());
    }
    RunDirectory.open(directory, false).close();
    if (settings.initialModel() == null && settings.tokenizer().directory() == null) {
      settings.training().listener().onPrepare("training a tokenizer on " + settings.corpus());
    }
    try (Tokenizer tokenizer = tokenizer(settings)) {
      tokenizer.savePretrained(directory.resolve("tokenizer"));
      AtomicFiles.write(directory.resolve(SETTINGS), Json.pretty(settings.toJson()));
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
    Path file = directory.resolve(SETTINGS);
    if (!Files.isRegularFile(file)) {
      throw InvalidInputException.of(
          directory, "there is no pretraining run to resume (no " + SETTINGS + ")");
    }
    // Killed while its text was still being encoded, a run has trained nothing yet: it begins anew.
    boolean began = Files.isRegularFile(directory.resolve("run.json"));
    TrainingOptions others =
        TrainingOptions.pretraining()
            .runDirectory(directory)
            .resume(began)
            .listener(listener)
            .cancellation(cancellation)
            .build();
    PretrainingSettings settings = PretrainingSettings.read(file, others);
    try (Tokenizer tokenizer = Tokenizer.fromPretrained(directory.resolve("tokenizer"))) {
      return run(settings, tokenizer);
    }
  }

  /**
   * Refuses other settings than the run began with. How often it reports, evaluates and saves is
   * among them: the settings of the beginning are those that hold.
   */
  private static void requireSame(Path file, PretrainingSettings settings) {
    if (!Files.isRegularFile(file)) {
      return; // resume says that there is no run
    }
    List<String> differences = new ArrayList<>();
    compare("", Json.readObject(file), settings.toJson(), differences);
    if (!differences.isEmpty()) {
      throw InvalidInputException.of(
          file, "a resumed run keeps its settings, but " + String.join("; ", differences));
    }
  }

  private static void compare(String at, JsonNode before, JsonNode now, List<String> differences) {
    if (before.isObject() && now.isObject()) {
      Set<String> names = new TreeSet<>();
      before.fieldNames().forEachRemaining(names::add);
      now.fieldNames().forEachRemaining(names::add);
      for (String name : names) {
        compare(
            at.isEmpty() ? name : at + "." + name, before.path(name), now.path(name), differences);
      }
    } else if (!before.toString().equals(now.toString())) {
      differences.add(at + " was " + before + ", is " + now);
    }
  }

  private static Tokenizer tokenizer(PretrainingSettings settings) {
    return settings.initialModel() != null
        ? Tokenizer.fromPretrained(settings.initialModel())
        : settings.tokenizer().make(settings.corpus().files());
  }

  private static TrainingResult run(PretrainingSettings settings, Tokenizer tokenizer) {
    try (Device device = Device.cpu(settings.threads());
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
