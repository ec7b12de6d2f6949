package dev.graft;

import dev.graft.io.Hub;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import dev.graft.io.ModelDirectory;
import dev.graft.model.AdapterFiles;
import dev.graft.model.EncoderFamily;
import dev.graft.model.Lora;
import dev.graft.model.ModelConfig;
import dev.graft.model.Network;
import dev.graft.model.Task;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.text.Tokenizer;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/**
 * A network and its tokenizer. It owns native memory: close it. A use after close is an {@link
 * IllegalStateException} that says who closed it; closing during a call of another thread takes
 * effect when that call ends. A {@code fit} needs the model alone; a call that meets another
 * thread's fit is refused by name.
 */
public abstract sealed class PreTrainedModel implements AutoCloseable
    permits BertForSequenceClassification, BertModel, LanguageModel, TaskModel {
  private final ModelOptions options;
  private final Tokenizer tokenizer;
  private final boolean ownsTokenizer;
  private final Device device;
  private final Gate gate;
  private final Set<Worker<?>> workers = ConcurrentHashMap.newKeySet();
  private volatile Network network;

  /** {@code model_type} of the encoders. */
  static final List<String> ENCODERS =
      Arrays.stream(EncoderFamily.values()).map(EncoderFamily::modelType).toList();

  /** What a constructor gets: each of it made, or none. */
  record Parts(
      ModelOptions options,
      Tokenizer tokenizer,
      boolean ownsTokenizer,
      Device device,
      Network network) {

    /**
     * Reads a model directory, or an adapter's.
     *
     * @param families of {@code model_type} it may have
     * @param load makes the network
     */
    static Parts read(ModelOptions options, Path model, List<String> families, Loading load) {
      Path directory = AdapterFiles.described(model);
      Path file = directory.resolve(ModelDirectory.CONFIG);
      String found = ModelConfig.fromJson(file, Json.readObject(file)).modelType();
      if (!families.contains(found)) {
        throw InvalidInputException.of(
            file,
            "model_type: expected "
                + String.join(" or ", families)
                + ", this is a "
                + found
                + " model");
      }
      Tokenizer tokenizer = Tokenizer.fromPretrained(directory);
      return make(options, tokenizer, true, load);
    }

    static Parts make(ModelOptions options, Tokenizer tokenizer, boolean owns, Loading load) {
      Device device = null;
      try {
        device = Device.open(options.device(), options.threads());
        Network network = load.on(device);
        if (tokenizer.vocabSize() > network.config().vocabSize()) {
          network.close();
          throw new InvalidInputException(
              "the tokenizer has "
                  + tokenizer.vocabSize()
                  + " tokens, the model knows "
                  + network.config().vocabSize()
                  + "; they do not belong together");
        }
        return new Parts(options, tokenizer, owns, device, network);
      } catch (RuntimeException e) {
        if (device != null) {
          device.close();
        }
        if (owns) {
          tokenizer.close();
        }
        throw e;
      }
    }
  }

  /** Makes a network on a device. */
  interface Loading {
    Network on(Device device);
  }

  PreTrainedModel(Parts parts) {
    this.options = parts.options();
    this.tokenizer = parts.tokenizer();
    this.ownsTokenizer = parts.ownsTokenizer();
    this.device = parts.device();
    this.network = parts.network();
    this.gate = new Gate(getClass().getSimpleName(), this::release);
  }

  Gate gate() {
    return gate;
  }

  void add(Worker<?> worker) {
    workers.add(worker);
  }

  void remove(Worker<?> worker) {
    workers.remove(worker);
  }

  Network network() {
    return network;
  }

  ModelOptions options() {
    return options;
  }

  /** Longest text in tokens. */
  int maxLength() {
    int positions = network.config().maxPositions();
    return options.maxLength() == 0 ? positions : Math.min(positions, options.maxLength());
  }

  /** Puts a network in the old one's place, unless it is the one that is there. */
  void become(ModelConfig config, Task task, DType dtype, long seed) {
    Network old = network;
    if (!old.config().equals(config) || old.task() != task || old.dtype() != dtype) {
      device.activate();
      network = old.derive(config, task, dtype, seed);
      old.close();
    }
  }

  /** What a model directory was written for; see {@link Network#taskOf}. */
  public static Task taskOf(Path directory) {
    // A hub's model is fetched whole only where its config.json does not tell.
    return Network.toldTask(ModelDirectory.resolve(directory, Hub.Part.CONFIG))
        .orElseGet(() -> Network.taskOf(ModelDirectory.resolve(directory)));
  }

  /** The model's tokenizer; it is closed with the model if the model was read from a directory. */
  public Tokenizer tokenizer() {
    return tokenizer;
  }

  /** Its shape. */
  public ModelConfig config() {
    return network.config();
  }

  /** Names of its classes by id; empty if it has none. */
  public List<String> labels() {
    return network.config().labels();
  }

  /** Numbers that training fits. */
  public long parameterCount() {
    return network.parameters().count();
  }

  /**
   * Writes {@code config.json}, {@code model.safetensors} (an adapter merged into it) and the
   * tokenizer's files, each atomically; {@code fromPretrained} and other software read them.
   */
  public void savePretrained(Path directory) {
    try (Gate.Use use = gate.read("savePretrained")) {
      synchronized (device) {
        device.activate();
        network.save(directory);
      }
      tokenizer.savePretrained(directory);
    }
  }

  /** See {@link #savePretrained(Path)}. */
  public void savePretrained(String directory) {
    savePretrained(Path.of(directory));
  }

  /** The low-rank adapter the model has, or null; {@code fit} with {@link Lora} attaches one. */
  public Lora adapter() {
    return network.lora();
  }

  /**
   * Writes the adapter in PEFT's format ({@code adapter_config.json}, {@code
   * adapter_model.safetensors}), config.json and the tokenizer's files beside it. {@code
   * fromPretrained} reads such a directory as long as the model under it is where it was.
   *
   * @throws IllegalStateException if there is no adapter
   */
  public void saveAdapter(Path directory) {
    try (Gate.Use use = gate.read("saveAdapter")) {
      synchronized (device) {
        device.activate();
        network.saveAdapter(directory, network.origin());
      }
      tokenizer.savePretrained(directory);
    }
  }

  /**
   * Puts an adapter of PEFT's format on the model.
   *
   * @throws InvalidInputException if it is none of LoRA, or does not fit the model
   * @throws IllegalStateException if the model has one already: merge it first
   */
  public void loadAdapter(Path directory) {
    try (Gate.Use use = gate.write("loadAdapter")) {
      device.activate();
      network.loadAdapter(directory);
    }
  }

  /** Adds the adapter to the weights for good; does nothing without one. */
  public void mergeAdapter() {
    try (Gate.Use use = gate.write("mergeAdapter")) {
      device.activate();
      network.mergeAdapter();
    }
  }

  /** Frees the model and the predictors made of it. A second call does nothing. */
  @Override
  public final void close() {
    gate.close();
  }

  private void release() {
    for (Worker<?> worker : workers) {
      worker.close();
    }
    network.close();
    device.close();
    if (ownsTokenizer) {
      tokenizer.close();
    }
  }
}
