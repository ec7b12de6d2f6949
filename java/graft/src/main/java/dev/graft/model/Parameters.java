package dev.graft.model;

import dev.graft.bindings.Status;
import dev.graft.bindings.global.graft;
import dev.graft.model.Recording.Layout;
import dev.graft.program.Ops;
import dev.graft.runtime.Arena;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.runtime.Tensor;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;
import java.util.function.ToDoubleFunction;

/**
 * The tensors of a network: fp32 master weights, the copy the kernels read (bf16, or the weights
 * themselves), and while training gradients and the optimizer's moments.
 *
 * <p>In memory some tensors are wider than in a checkpoint: BERT's query, key and value stand one
 * after the other as one matrix, and vocabularies are padded to a multiple of 64 rows of zeros.
 * {@link Parameter#parts} says where each published tensor lies.
 */
public final class Parameters implements AutoCloseable {
  private static final int CHUNK = 1 << 20;

  /** How a fresh parameter begins. */
  enum Init {
    NORMAL,
    ZEROS,
    ONES
  }

  /**
   * A published tensor inside a parameter.
   *
   * @param name key in the checkpoint
   * @param offset first element
   * @param shape as published
   */
  public record Part(String name, long offset, long[] shape) {
    /** Elements. */
    public long count() {
      return Arrays.stream(shape).reduce(1, Math::multiplyExact);
    }
  }

  /** One tensor the optimizer steps. */
  public static final class Parameter {
    private final List<Part> parts;
    private final boolean matrix;
    private final Init init;
    private final double std;
    private final Tensor weight;
    private final Tensor compute;
    private Tensor grad;
    private Tensor firstMoment;
    private Tensor secondMoment;
    private List<LowRank> adapters = List.of();
    private float rateScale = 1;
    private boolean resting;

    private Parameter(
        List<Part> parts, boolean matrix, Init init, double std, Tensor weight, Tensor compute) {
      this.parts = parts;
      this.matrix = matrix;
      this.init = init;
      this.std = std;
      this.weight = weight;
      this.compute = compute;
    }

    public String name() {
      return weight.name();
    }

    /** The published tensors in it. */
    public List<Part> parts() {
      return parts;
    }

    /** Whether it is a weight matrix or embedding, rather than a bias or LayerNorm vector. */
    public boolean matrix() {
      return matrix;
    }

    /** fp32. */
    public Tensor weight() {
      return weight;
    }

    /** What the kernels read: bf16, or {@link #weight} itself. */
    public Tensor compute() {
      return compute;
    }

    /** What is added to the linear layer this is the weight of. */
    List<LowRank> adapters() {
      return adapters;
    }

    /** Factor of the learning rate; 0: training leaves it as it is. */
    public float rateScale() {
      return rateScale;
    }

    /** Whether training changes it, now or later: then it has a gradient and moments. */
    public boolean trainable() {
      return rateScale > 0;
    }

    /** Whether a step that is recorded now computes its gradient. */
    boolean trains() {
      return trainable() && !resting;
    }

    /** Where its gradient goes, or null if none is computed. */
    Tensor gradIfTrained() {
      return trains() ? grad() : null;
    }

    /** Where its gradient and moments lie; nulls: nowhere, training is not enabled. */
    void trainIn(Tensor gradient, Tensor first, Tensor second) {
      grad = gradient;
      firstMoment = first;
      secondMoment = second;
    }

    /** fp32; there while training. */
    public Tensor grad() {
      if (grad == null) {
        throw new IllegalStateException(
            name()
                + " has no gradient: "
                + (trainable() ? "training is not enabled" : "it is frozen"));
      }
      return grad;
    }

    /** fp32 or bf16; there while training. */
    public Tensor firstMoment() {
      grad();
      return firstMoment;
    }

    /** fp32 or bf16; there while training. */
    public Tensor secondMoment() {
      grad();
      return secondMoment;
    }
  }

  private final Device device;
  private final DType dtype;
  private final Parameters owner;
  private final Arena weights;

  private final MasterWeights masters; // null where weights are their own
  private final List<Parameter> all = new ArrayList<>();
  private final Map<String, String> fileKeys = new LinkedHashMap<>();
  private Arena adapterWeights;
  private int adapterParameters;
  private TrainingMemory training;

  /**
   * @param owner whose tensors these are to be, read-only and not freed here; null for own ones
   */
  Parameters(Device device, DType dtype, Parameters owner) {
    if (!dtype.isFloat()) {
      throw new IllegalArgumentException("dtype: expected FLOAT32 or BFLOAT16, got " + dtype);
    }
    this.device = device;
    this.dtype = dtype;
    this.owner = owner;
    this.weights = owner == null ? new Arena(device, "weights") : null;
    this.masters = owner == null && dtype != DType.FLOAT32 ? new MasterWeights(device) : null;
  }

  /** A parameter that is stored under its own name and shape. */
  Parameter add(String name, boolean matrix, Init init, double std, long... shape) {
    return add(name, List.of(new Part(name, 0, shape)), matrix, init, std, shape);
  }

  /** A parameter whose rows beyond {@code shape[0]} are padding. */
  Parameter addPadded(
      String name, long paddedRows, boolean matrix, Init init, double std, long... shape) {
    long[] padded = shape.clone();
    padded[0] = paddedRows;
    return add(name, List.of(new Part(name, 0, shape)), matrix, init, std, padded);
  }

  /** Several published tensors of one shape, one after the other. */
  Parameter addJoined(
      String name, List<String> names, boolean matrix, Init init, double std, long... each) {
    List<Part> parts = new ArrayList<>();
    long count = Arrays.stream(each).reduce(1, Math::multiplyExact);
    for (String one : names) {
      parts.add(new Part(one, parts.size() * count, each));
    }
    long[] shape = each.clone();
    shape[0] *= names.size();
    return add(name, parts, matrix, init, std, shape);
  }

  private Parameter add(
      String name, List<Part> parts, boolean matrix, Init init, double std, long... shape) {
    if (owner != null) {
      Parameter shared = owner.all.get(all.size());
      all.add(shared);
      return shared;
    }
    Arena master = masters == null ? weights : masters.arena();
    return add(master, weights, name, parts, matrix, init, std, shape);
  }

  private Parameter add(
      Arena master,
      Arena copies,
      String name,
      List<Part> parts,
      boolean matrix,
      Init init,
      double std,
      long... shape) {
    Tensor weight = master.zeros(name, DType.FLOAT32, shape);
    Tensor compute = dtype == DType.FLOAT32 ? weight : copies.zeros(name, DType.BFLOAT16, shape);
    Parameter parameter = new Parameter(List.copyOf(parts), matrix, init, std, weight, compute);
    all.add(parameter);
    return parameter;
  }

  /**
   * Adds a pair of low-rank matrices to a linear layer: A uniform in ±1/√in as PEFT begins it, B 0.
   *
   * @param part the published matrix in {@code weight}
   */
  LowRank adapt(Parameter weight, Part part, Layout layout, Lora lora, long seed) {
    requireOwner();
    disableTraining();
    if (adapterWeights == null) {
      adapterWeights = new Arena(device, "adapters");
    }
    String module = part.name().replaceFirst("\\.weight$", "");
    boolean outIn = layout == Layout.OUT_IN;
    long in = part.shape()[outIn ? 1 : 0];
    long out = part.shape()[outIn ? 0 : 1];
    int number = all.size();
    Parameter a = adapter(module + ".lora_A.weight", lora.rank(), in);
    Parameter b = adapter(module + ".lora_B.weight", out, lora.rank());
    float bound = (float) (1 / Math.sqrt(in));
    Ops.fillUniform(device, a.weight, seed, 1 + 8 * number, -bound, bound);
    sync(a);
    LowRank adapter = new LowRank(part, layout, a, b, lora, number);
    List<LowRank> adapters = new ArrayList<>(weight.adapters);
    adapters.add(adapter);
    weight.adapters = List.copyOf(adapters);
    return adapter;
  }

  private Parameter adapter(String name, long... shape) {
    adapterParameters++;
    Arena to = adapterWeights;
    return add(to, to, name, List.of(new Part(name, 0, shape)), true, Init.ZEROS, 0, shape);
  }

  /** Adds the low-rank matrices to the weights for good, and forgets them. */
  void mergeAdapters() {
    requireOwner();
    disableTraining();
    for (Parameter p : all) {
      for (LowRank adapter : p.adapters) {
        LowRank.Product product = adapter.new Product();
        Part part = adapter.part;
        for (long first = 0; first < part.count(); first += CHUNK) {
          float[] values =
              p.weight.floats(part.offset() + first, (int) Math.min(CHUNK, part.count() - first));
          product.addTo(first, values);
          p.weight.put(part.offset() + first, values);
        }
      }
    }
    dropAdapters();
    syncCompute();
  }

  /** Forgets the low-rank matrices. */
  void dropAdapters() {
    disableTraining();
    all.forEach(p -> p.adapters = List.of());
    all.subList(all.size() - adapterParameters, all.size()).clear();
    adapterParameters = 0;
    if (adapterWeights != null) {
      adapterWeights.close();
      adapterWeights = null;
    }
  }

  /** In the order of the network, first to last, those of adapters behind them. */
  public List<Parameter> all() {
    return Collections.unmodifiableList(all);
  }

  /** Those of the network itself. */
  List<Parameter> base() {
    return all().subList(0, all.size() - adapterParameters);
  }

  /** Those of adapters. */
  List<Parameter> ofAdapters() {
    return all().subList(all.size() - adapterParameters, all.size());
  }

  /** Elements of the published tensors, padding and adapters not counted. */
  public long count() {
    return base().stream().flatMap(p -> p.parts.stream()).mapToLong(Part::count).sum();
  }

  /**
   * Says how fast each parameter trains; frees gradients and moments that were there.
   *
   * @param scale factor of the learning rate; 0 freezes
   */
  void setRates(ToDoubleFunction<Parameter> scale) {
    requireOwner();
    disableTraining();
    for (Parameter p : all) {
      double value = scale.applyAsDouble(p);
      if (!(value >= 0 && value < Float.MAX_VALUE)) {
        throw new IllegalArgumentException(
            p.name() + ": rate scale: expected at least 0, got " + value);
      }
      p.rateScale = (float) value;
      p.resting = false;
    }
  }

  /** Says which parameters rest for now: steps recorded from here on leave them out. */
  void setResting(Predicate<Parameter> rests) {
    all.forEach(p -> p.resting = rests.test(p));
  }

  private void requireOwner() {
    if (owner != null) {
      throw new IllegalStateException(
          "shared weights are read-only: train the network that owns them");
    }
  }

  /**
   * Allocates gradients and moments of what is trained, all zero.
   *
   * @param state dtype of the moments, fp32 or bf16; masters are split in bf16
   */
  void enableTraining(DType state) {
    requireOwner();
    if (training != null && training.state() == state) {
      return;
    }
    disableTraining();
    if (state == DType.BFLOAT16 && masters != null) {
      masters.split(base());
    }
    try {
      training = new TrainingMemory(device, all, state);
    } catch (RuntimeException e) {
      disableTraining();
      throw e;
    }
  }

  /** Frees gradients and moments. */
  void disableTraining() {
    if (training != null) {
      training.close();
      training = null;
    }
    if (masters != null) {
      masters.join(base());
    }
  }

  /** All gradients as the one block they lie in, small gaps of zeros between them; fp32 [n]. */
  public Tensor gradientBlock() {
    if (training == null) {
      throw new IllegalStateException("there are no gradients: training is not enabled");
    }
    return training.gradientBlock();
  }

  /** Elements of the published tensors that training changes. */
  public long trainableCount() {
    return all.stream()
        .filter(Parameter::trainable)
        .flatMap(p -> p.parts.stream())
        .mapToLong(Part::count)
        .sum();
  }

  /** Fresh weights, a function of the seed alone. */
  void initialise(long seed) {
    for (int i = 0; i < all.size(); i++) {
      initialise(seed, i);
    }
    syncCompute();
  }

  private void initialise(long seed, int index) {
    Parameter p = all.get(index);
    for (Part part : p.parts) {
      Tensor view = p.weight.view(part.offset(), part.count());
      switch (p.init) {
        case NORMAL -> {
          // One stream a published tensor, so that joining tensors changes no weight.
          int stream = 1 + 8 * index + p.parts.indexOf(part);
          Ops.fillNormal(device, view, seed, stream, 0, (float) p.std);
        }
        case ONES -> {
          float[] ones = new float[Math.toIntExact(part.count())];
          Arrays.fill(ones, 1);
          view.put(0, ones);
        }
        case ZEROS -> view.put(0, new float[Math.toIntExact(part.count())]);
        default -> throw new AssertionError(p.init);
      }
    }
  }

  /** Rounds the master weights into the copies the kernels read. */
  public void syncCompute() {
    all.forEach(this::sync);
  }

  private void sync(Parameter p) {
    // Split, the weights the kernels read are a half of the masters.
    if (p.compute != p.weight && !p.weight.isSplit()) {
      Ops.castNow(device, p.weight, p.compute);
    }
  }

  /** Writes the master weights under their published names, fp32, adapters added to them. */
  public void save(Path file) {
    ParameterFiles.save(this, file);
  }

  /** Remembers the key a published tensor was read under. */
  void readAs(String name, String key) {
    fileKeys.put(name, key);
  }

  /** Sets the gradients to 0, if there are any. */
  void clearGradients() {
    for (Parameter p : all) {
      if (p.grad != null) {
        Status.check(graft.graft_memset(device.context(), p.grad.pointer(), 0, p.grad.byteSize()));
      }
    }
  }

  /** The key a published tensor was read under, or its published name if it was not read. */
  public String fileKey(String name) {
    return fileKeys.getOrDefault(name, name);
  }

  /** The published gradients by name, in order; those of frozen parameters are left out. */
  public Map<String, float[]> gradients() {
    Map<String, float[]> gradients = new LinkedHashMap<>();
    for (Parameter p : all) {
      if (!p.trainable()) {
        continue;
      }
      for (Part part : p.parts) {
        gradients.put(part.name(), p.grad().floats(part.offset(), Math.toIntExact(part.count())));
      }
    }
    return gradients;
  }

  @Override
  public void close() {
    if (training != null) {
      training.close();
      training = null;
    }
    if (masters != null) {
      masters.close();
    }
    if (adapterWeights != null) {
      adapterWeights.close();
    }
    if (weights != null) {
      weights.close();
    }
  }
}
