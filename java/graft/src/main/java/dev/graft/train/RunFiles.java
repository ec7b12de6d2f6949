package dev.graft.train;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.AtomicFiles;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import dev.graft.io.ModelDirectory;
import dev.graft.model.AdapterFiles;
import dev.graft.model.Network;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.Supplier;

/**
 * What a run writes and reads back. A checkpoint is a model directory ({@code config.json}, {@code
 * model.safetensors}, tokenizer files) and beside it {@code optimizer.safetensors}, {@code
 * state.json} and the manifest. That of a LoRA run holds the adapter instead of the weights, which
 * do not change. Without a run directory, and in processes other than rank 0, every method does
 * nothing.
 */
final class RunFiles implements AutoCloseable {
  private static final int FORMAT = 1;
  private static final String STATE = "state.json";

  /** The algorithms of matrix products, where a library has several. */
  private static final String PRODUCTS = "products";

  private final TrainingOptions options;
  private final Network network;
  private final TokenizerFiles tokenizer;
  private final RunDirectory directory;
  private final CheckpointStore store;
  private RunIdentity identity;
  private MetricsLog log;
  private Path lastCheckpoint;
  private long savedStep = -1;

  private RunFiles(
      TrainingOptions options, Network network, TokenizerFiles tokenizer, RunDirectory directory) {
    this.options = options;
    this.network = network;
    this.tokenizer = tokenizer;
    this.directory = directory;
    this.store =
        directory == null
            ? null
            : new CheckpointStore(directory.checkpoints(), options.keepCheckpoints());
  }

  static RunFiles open(
      TrainingOptions options,
      Network network,
      TokenizerFiles tokenizer,
      Supplier<RunIdentity> identity) {
    if (options.writableDirectory() == null) {
      return new RunFiles(options, network, tokenizer, null);
    }
    RunDirectory directory = RunDirectory.open(options.writableDirectory(), options.resume());
    RunFiles files = new RunFiles(options, network, tokenizer, directory);
    try {
      files.identity = identity.get();
      return files;
    } catch (RuntimeException e) {
      directory.close();
      throw e;
    }
  }

  /**
   * The state to begin from: loaded into network and optimizer if the run is resumed and has a
   * checkpoint, otherwise a new one. Opens the metrics log behind it.
   */
  Progress resume() {
    if (directory == null) {
      return new Progress();
    }
    Optional<CheckpointStore.Checkpoint> newest =
        options.resume() ? store.newest() : Optional.empty();
    Progress progress = newest.map(found -> load(found)).orElseGet(Progress::new);
    if (newest.isEmpty()) {
      // A run killed before its first checkpoint begins anew; it must be the same run all the same.
      if (options.resume()) {
        identity.check(directory.runFile(), Json.readObject(directory.runFile()).path("identity"));
      }
      writeRunFile();
    }
    log = MetricsLog.open(directory.metrics(), progress.step);
    newest.ifPresent(
        found -> {
          lastCheckpoint = found.directory();
          savedStep = found.step();
          options.listener().onResume(found.directory(), found.step());
        });
    return progress;
  }

  private Progress load(CheckpointStore.Checkpoint checkpoint) {
    Path file = checkpoint.directory().resolve(STATE);
    ObjectNode state = Json.readObject(file);
    if (state.path("format").asInt(-1) != FORMAT) {
      throw InvalidInputException.of(
          file, "format: expected " + FORMAT + ", got " + state.path("format"));
    }
    identity.check(file, state.path("identity"));
    Progress progress = Progress.fromJson(file, state.path("progress"));
    if (progress.step != checkpoint.step()
        || progress.microStep != progress.step * options.batchesPerStep()) {
      throw InvalidInputException.of(
          file,
          String.format(
              "step %d and micro-step %d do not belong to checkpoint %d",
              progress.step, progress.microStep, checkpoint.step()));
    }
    Map<String, String> algorithms = new TreeMap<>();
    state
        .path(PRODUCTS)
        .properties()
        .forEach(one -> algorithms.put(one.getKey(), one.getValue().asText()));
    try {
      network.device().gemm().require(algorithms);
    } catch (IllegalArgumentException e) {
      throw InvalidInputException.of(file, PRODUCTS + ": " + e.getMessage());
    }
    readTrained(checkpoint.directory());
    TensorFile.read(
        checkpoint.directory().resolve(TensorFile.OPTIMIZER), TensorFile.moments(network));
    return progress;
  }

  private void writeRunFile() {
    ObjectNode run = Json.object();
    run.put("format", FORMAT);
    ObjectNode values = run.putObject("options");
    OptionsJson.write(options, values);
    run.set("identity", identity.toJson());
    AtomicFiles.write(directory.runFile(), Json.pretty(run));
  }

  void log(StepEvent event) {
    if (log != null) {
      log.train(event);
    }
  }

  void log(EvalEvent event) {
    if (log != null) {
      log.evaluation(event);
    }
  }

  /** Saves a checkpoint, unless the newest one is of this very step. */
  void save(Progress progress) {
    if (directory == null || savedStep == progress.step) {
      return;
    }
    log.sync();
    ObjectNode state = Json.object();
    state.put("format", FORMAT);
    state.set("progress", progress.toJson());
    state.set("identity", identity.toJson());
    Map<String, String> algorithms = network.device().gemm().algorithms();
    if (!algorithms.isEmpty()) {
      algorithms.forEach(state.putObject(PRODUCTS)::put);
    }
    lastCheckpoint =
        store.save(
            progress.step,
            folder -> {
              writeTrained(folder);
              TensorFile.write(folder.resolve(TensorFile.OPTIMIZER), TensorFile.moments(network));
              AtomicFiles.write(folder.resolve(STATE), Json.pretty(state));
            });
    savedStep = progress.step;
    options.listener().onCheckpoint(lastCheckpoint);
  }

  private void writeModel(Path folder) {
    network.save(folder);
    if (tokenizer != null) {
      tokenizer.savePretrained(folder);
    }
  }

  /** Writes what training changes: the network, or its adapter alone. */
  private void writeTrained(Path folder) {
    if (network.lora() == null) {
      writeModel(folder);
      return;
    }
    network.saveAdapter(folder, network.origin());
    if (tokenizer != null) {
      tokenizer.savePretrained(folder);
    }
  }

  /** The reverse of {@link #writeTrained}. */
  private void readTrained(Path folder) {
    if (network.lora() == null) {
      TensorFile.read(folder.resolve(ModelDirectory.WEIGHTS), TensorFile.weights(network));
    } else {
      TensorFile.read(folder.resolve(AdapterFiles.WEIGHTS), network.adapterTensors());
    }
    network.parameters().syncCompute();
  }

  /** Whether this process writes files. */
  boolean writes() {
    return directory != null;
  }

  /** Reads what {@link #saveBest} wrote. */
  void loadBest() {
    readTrained(directory.best());
  }

  /** Writes the network, or its adapter, as {@code best/}. */
  void saveBest() {
    if (directory != null) {
      Durable.replaceDirectory(directory.best(), this::writeTrained);
    }
  }

  /** Writes the network as {@code model/}, and an adapter apart as {@code adapter/}. */
  void saveModel() {
    if (directory != null) {
      Durable.replaceDirectory(directory.model(), this::writeModel);
      if (network.lora() != null) {
        Durable.replaceDirectory(directory.adapter(), this::writeTrained);
      }
    }
  }

  /** Draws the losses so far as {@code loss.png}. */
  void drawLosses() {
    if (directory != null) {
      LossCurve.write(directory.metrics(), directory.lossCurve());
    }
  }

  Path lastCheckpoint() {
    return lastCheckpoint;
  }

  Path modelDirectory() {
    return directory == null ? null : directory.model();
  }

  @Override
  public void close() {
    try {
      if (log != null) {
        log.close();
      }
    } finally {
      if (directory != null) {
        directory.close();
      }
    }
  }
}
