package dev.graft.model;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.data.Batch;
import dev.graft.io.AtomicFiles;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import dev.graft.io.ModelDirectory;
import dev.graft.io.WeightSource;
import dev.graft.model.Parameters.Parameter;
import dev.graft.model.Parameters.Part;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.runtime.Tensor;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Predicate;
import java.util.function.ToDoubleFunction;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A network with its parameters on a device. What it computes is recorded by {@link TrainStep},
 * {@link EvalStep} and {@link Decoder}, which may share one network's weights.
 */
public abstract class Network implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(Network.class);
  private static final Pattern BLOCK = Pattern.compile("\\.(?:layer|h)\\.(\\d+)\\.");
  private static final Pattern EMBEDDINGS = Pattern.compile("embeddings\\.|\\.w[tp]e\\.");

  private final Device device;
  private final ModelConfig config;
  private final Task task;
  private final DType dtype;
  final Parameters parameters;
  private String origin;
  private ClassLoss classLoss = ClassLoss.PLAIN;
  private Lora lora;
  private int changes;

  Network(Device device, ModelConfig config, Task task, DType dtype, Parameters shared) {
    this.device = device;
    this.config = config;
    this.task = task;
    this.dtype = dtype;
    this.parameters = new Parameters(device, dtype, shared);
  }

  /** A fresh network; its weights are a function of the seed. */
  public static Network create(
      Device device, ModelConfig config, Task task, DType dtype, long seed) {
    Network network = build(device, config, task, dtype, null);
    network.parameters.initialise(seed);
    return network;
  }

  private static Network build(
      Device device, ModelConfig config, Task task, DType dtype, Parameters shared) {
    if (config instanceof Gpt2Config gpt2) {
      return new Gpt2(device, gpt2, task, dtype, shared);
    }
    return new Bert(device, (BertConfig) config, task, dtype, shared);
  }

  /**
   * A network for another task, dtype or set of classes that takes over every weight the two have
   * in common; heads that differ are initialised from {@code seed}. This network stays as it is.
   */
  public Network derive(ModelConfig newConfig, Task newTask, DType newDtype, long seed) {
    Network network = create(device, newConfig, newTask, newDtype, seed);
    network.origin = origin;
    if (lora != null) {
      network.attach(lora, seed);
    }
    List<String> fresh = ParameterFiles.copy(parameters, network.parameters);
    if (!fresh.isEmpty()) {
      LOG.debug("initialised afresh: {}", fresh);
    }
    return network;
  }

  /**
   * The same network on another context of the same device, for another thread: it reads this one's
   * weights, cannot be trained, and must be closed before this one.
   */
  public Network shareOn(Device other) {
    if (!other.name().equals(device.name())) {
      throw new IllegalArgumentException(
          "weights on " + device.name() + " cannot be shared on " + other.name());
    }
    // What wrote the weights was ordered on a stream of its own.
    if (!device.isHost()) {
      device.synchronize();
    }
    return build(other, config, task, dtype, parameters);
  }

  /**
   * What a model directory was written for: by the {@code architectures} of its config.json, or
   * where that names none by the heads among its tensors.
   */
  public static Task taskOf(ModelDirectory model) {
    Optional<Task> told = toldTask(model);
    if (told.isPresent()) {
      return told.get();
    }
    ObjectNode config = model.readConfig();
    try (WeightSource weights = model.weights()) {
      String type = config.path("model_type").asText("");
      for (EncoderFamily family : EncoderFamily.values()) {
        if (family.modelType().equals(type)) {
          return EncoderNames.of(family).taskOf(weights);
        }
      }
      return Task.BASE;
    }
  }

  /** As {@link #taskOf}, by the configuration alone; empty where it names no architecture. */
  public static Optional<Task> toldTask(ModelDirectory model) {
    if (AdapterFiles.described(model.path()) != model.path()) {
      return Optional.of(AdapterFiles.taskOf(model.path()));
    }
    ObjectNode config = model.readConfig();
    Task told = ModelConfig.taskOf(model.file(ModelDirectory.CONFIG), config);
    boolean named = told != Task.BASE || config.path("architectures").has(0);
    return named ? Optional.of(told) : Optional.empty();
  }

  /** Reads a model directory; see the overload with labels. */
  public static Network load(Device device, Path directory, Task task, DType dtype) {
    return load(device, directory, task, dtype, null, 0);
  }

  /**
   * Reads a model directory, or an adapter's and the model it belongs to. A head the checkpoint
   * does not hold is initialised from {@code seed}, and said so in the log; a missing tensor of the
   * body is an error.
   *
   * @param labels names of the classes, or null for those of config.json
   */
  public static Network load(
      Device device, Path directory, Task task, DType dtype, List<String> labels, long seed) {
    ModelDirectory model = ModelDirectory.resolve(directory);
    return AdapterFiles.isAdapter(model.path())
        ? loadAdapted(device, model.path(), task, dtype, labels, seed)
        : loadWhole(device, model, task, dtype, labels, seed, false);
  }

  /**
   * @param adapted whether an adapter will bring the heads the checkpoint lacks
   */
  private static Network loadWhole(
      Device device,
      ModelDirectory model,
      Task task,
      DType dtype,
      List<String> labels,
      long seed,
      boolean adapted) {
    ModelConfig config =
        ModelConfig.fromJson(model.file(ModelDirectory.CONFIG), model.readConfig());
    if (labels != null) {
      config = config.withLabels(labels);
    }
    if (task.hasLabels() && config.labels().isEmpty()) {
      throw InvalidInputException.of(
          model.file(ModelDirectory.CONFIG),
          "there are no classes (id2label); give their names or fine-tune first");
    }
    try (WeightSource weights = model.weights()) {
      config = StoredNetwork.asStored(config, weights);
      StoredNetwork.requireAllOf(config, weights);
      Network network = build(device, config, task, dtype, null);
      try {
        network.parameters.initialise(seed);
        StoredNetwork.check(
            network, weights, ParameterFiles.load(network.parameters, weights), adapted);
        network.origin = model.path().toAbsolutePath().toString();
        return network;
      } catch (RuntimeException e) {
        network.close();
        throw e;
      }
    }
  }

  /** The model an adapter belongs to, and the adapter on it. */
  private static Network loadAdapted(
      Device device, Path adapter, Task task, DType dtype, List<String> labels, long seed) {
    ModelDirectory base = AdapterFiles.baseDirectory(adapter);
    List<String> classes = labels;
    if (classes == null && task.hasLabels()) {
      ModelConfig config =
          ModelConfig.fromJson(base.file(ModelDirectory.CONFIG), base.readConfig());
      classes = AdapterFiles.labels(adapter, config.labels());
      if (!(config instanceof BertConfig)) {
        throw InvalidInputException.of(
            adapter, "an adapter of a classifier does not fit a " + config.modelType() + " model");
      }
    }
    Network network = loadWhole(device, base, task, dtype, classes, seed, true);
    try {
      network.loadAdapter(adapter);
      return network;
    } catch (RuntimeException e) {
      network.close();
      throw e;
    }
  }

  /** Whether a checkpoint may lack this tensor, to be trained from fresh. */
  abstract boolean isHead(String name);

  /** Float targets a sequence has, 0 if the task has none. */
  public final int targetColumns() {
    return task == Task.SEQUENCE_CLASSIFICATION
            && config instanceof BertConfig bert
            && bert.problemType().hasFloatTargets()
        ? bert.labels().size()
        : 0;
  }

  /**
   * How many labels of a batch a loss counts: what its mean divides by.
   *
   * @param slot of the loss, 0 or 1; see {@link TrainStep}
   */
  public final long lossLabels(Batch batch, int slot) {
    return switch (task) {
      case BASE -> 0;
      case CAUSAL_LM, MASKED_LM, TOKEN_CLASSIFICATION -> slot == 0 ? batch.labelCount() : 0;
      case PRETRAINING -> slot == 0 ? batch.labelCount() : batch.sequenceLabelCount();
      case SEQUENCE_CLASSIFICATION ->
          slot > 0 ? 0 : targetColumns() > 0 ? batch.targetCount() : batch.sequenceLabelCount();
      case QUESTION_ANSWERING -> slot == 0 ? batch.sequenceLabelCount() : batch.endPositionCount();
      case MULTIPLE_CHOICE -> slot == 0 ? batch.choiceLabelCount() : 0;
    };
  }

  /**
   * Shapes the loss of classes for the trainings that begin from now on.
   *
   * @param byClass weight of each class, or null for all the same
   * @param labelSmoothing part of the target's probability spread over all classes
   */
  public final void shapeLoss(float[] byClass, double labelSmoothing) {
    ClassLoss next = ClassLoss.of(this, byClass, labelSmoothing);
    classLoss.close();
    classLoss = next;
  }

  /** How training shapes the loss of classes. */
  public final ClassLoss classLoss() {
    return classLoss;
  }

  /** Factor of each slot's mean in the loss: an answer's is the mean of beginning and end. */
  public final double lossShare() {
    return task == Task.QUESTION_ANSWERING ? 0.5 : 1;
  }

  /** Records a step over one bucket. */
  abstract Outputs record(Recording recording);

  /** Rows of the vocabulary in memory: a multiple of 64. */
  static long paddedVocabulary(long vocabulary) {
    return (vocabulary + 63) / 64 * 64;
  }

  public Device device() {
    return device;
  }

  public ModelConfig config() {
    return config;
  }

  public Task task() {
    return task;
  }

  /** The directory its weights were read from, or null if it was made afresh. */
  public String origin() {
    return origin;
  }

  public DType dtype() {
    return dtype;
  }

  public Parameters parameters() {
    return parameters;
  }

  /**
   * Where a parameter stands: 0 the embeddings, 1 the first block … {@code layers} the last, above
   * them the heads and the final norm.
   */
  public int depth(Parameter parameter) {
    String name = parameter.name();
    Matcher block = BLOCK.matcher(name);
    if (block.find()) {
      return 1 + Integer.parseInt(block.group(1));
    }
    return EMBEDDINGS.matcher(name).find() ? 0 : config.layers() + 1;
  }

  /** Depth of the lowest parameter whose gradient is computed; above the heads if there is none. */
  int lowestTrained() {
    return parameters.all().stream()
        .filter(Parameter::trains)
        .mapToInt(this::depth)
        .min()
        .orElse(config.layers() + 2);
  }

  /**
   * Says how fast each parameter trains, for the trainings that begin from now on. Gradients and
   * moments are allocated for those alone that train, and the backward pass ends above the lowest
   * of them.
   *
   * @param scale factor of the learning rate; 0 freezes
   */
  public void setRates(ToDoubleFunction<Parameter> scale) {
    parameters.setRates(scale);
  }

  /** Leaves parameters out of the steps that are recorded from now on, though they may train. */
  public void setResting(Predicate<Parameter> rests) {
    parameters.setResting(rests);
  }

  /**
   * Adds low-rank matrices to linear layers; the outputs stay as they are until the matrices train.
   * Does nothing if they are there already.
   *
   * @throws InvalidInputException if a layer is not there
   * @throws IllegalStateException if there are others
   */
  public void attach(Lora wanted, long seed) {
    LoraTargets targets = new LoraTargets(this);
    Lora resolved = targets.resolved(wanted);
    if (lora != null) {
      if (!lora.equals(resolved)) {
        throw new IllegalStateException(
            "the network has another adapter, " + lora + "; merge it before you begin " + resolved);
      }
      return;
    }
    targets
        .of(resolved)
        .forEach(at -> parameters.adapt(at.weight(), at.part(), at.layout(), resolved, seed));
    lora = resolved;
    changes++;
  }

  /** The adapter on the network, all of it decided; null without one. */
  public Lora lora() {
    return lora;
  }

  Lora requireLora() {
    if (lora == null) {
      throw new IllegalStateException("the network has no adapter");
    }
    return lora;
  }

  /** Adds an adapter's matrices to the weights for good; does nothing without one. */
  public void mergeAdapter() {
    if (lora != null) {
      parameters.mergeAdapters();
      lora = null;
      changes++;
    }
  }

  /** Takes an adapter away again. */
  void detach() {
    parameters.dropAdapters();
    lora = null;
    changes++;
  }

  /** Whether a parameter is part of the adapter or trained beside it as a whole. */
  public boolean isAdapted(Parameter parameter) {
    return parameters.ofAdapters().contains(parameter)
        || LoraTargets.isSaved(requireLora(), parameter);
  }

  /** The adapter's tensors and those trained as a whole, fp32, by their names in PEFT's files. */
  public Map<String, Tensor> adapterTensors() {
    Map<String, Tensor> tensors = new LinkedHashMap<>();
    for (Parameter p : parameters.all()) {
      if (isAdapted(p)) {
        for (Part part : p.parts()) {
          tensors.put(
              AdapterFiles.PREFIX + part.name(), p.weight().view(part.offset(), part.shape()));
        }
      }
    }
    return tensors;
  }

  /**
   * Writes the adapter in PEFT's format, and config.json beside it for the names of the classes.
   *
   * @param base what the file calls the model under it, or null
   * @throws IllegalStateException if there is no adapter
   */
  public void saveAdapter(Path directory, String base) {
    AdapterFiles.save(this, directory, base);
    saveConfig(directory);
  }

  /**
   * Attaches an adapter of PEFT's format.
   *
   * @throws InvalidInputException if it is none of LoRA, or does not fit the network
   */
  public void loadAdapter(Path directory) {
    if (lora != null) {
      throw new IllegalStateException("the network has an adapter already; merge it first");
    }
    AdapterFiles.load(this, directory);
  }

  /** How often an adapter came or went: steps that were recorded before do not know it. */
  public int changes() {
    return changes;
  }

  /** Allocates gradients and the optimizer's moments, in fp32. */
  public void enableTraining() {
    enableTraining(DType.FLOAT32);
  }

  /**
   * Allocates fp32 gradients and the optimizer's moments. With bf16 moments the fp32 master weights
   * of a bf16 network are kept as its weights and the rest of their bits: 12 bytes a parameter
   * instead of 18.
   *
   * @param state dtype of the moments, fp32 or bf16
   */
  public void enableTraining(DType state) {
    parameters.enableTraining(state);
  }

  /** Frees gradients and moments; the weights stay. */
  public void disableTraining() {
    parameters.disableTraining();
  }

  /**
   * Writes {@code config.json} and {@code model.safetensors}, each atomically; an adapter is merged
   * into what is written.
   */
  public void save(Path directory) {
    parameters.save(directory.resolve(ModelDirectory.WEIGHTS));
    saveConfig(directory);
  }

  private void saveConfig(Path directory) {
    ObjectNode json = config.toJson(task);
    json.put("dtype", "float32");
    AtomicFiles.write(directory.resolve(ModelDirectory.CONFIG), Json.pretty(json));
  }

  @Override
  public void close() {
    classLoss.close();
    parameters.close();
  }
}
