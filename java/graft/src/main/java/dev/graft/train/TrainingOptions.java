package dev.graft.train;

import dev.graft.model.Optimizer;
import dev.graft.model.Recompute;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import java.nio.file.Path;
import java.util.Objects;

/**
 * What decides a run. Make one by {@link #finetuning()} or {@link #pretraining()} and change what
 * differs; {@link Builder#build()} checks every value and names the one that is wrong.
 *
 * @param steps optimizer steps; 0: by {@code epochs}
 * @param epochs passes over the data; 0: by {@code steps}, or if that is 0 too as many as make
 *     1,000 steps, at least 3 and at most 20 (few labels want many passes: Mosbach et al.,
 *     arXiv:2006.04884)
 * @param batchSize sequences a batch, where the assembly makes the batches
 * @param tokensPerStep tokens a batch instead of a number of sequences; 0: by {@code batchSize}
 * @param gradientAccumulation batches an optimizer step
 * @param learningRate peak rate; 0: by the network's width, 5e-5 · (768 / channels)^1.5, so that a
 *     BERT of 128 channels gets 7.3e-4 and one of 1,024 gets 3.2e-5; ten times that for a {@link
 *     Tuning#lora}
 * @param minLearningRate rate at the end of a decaying schedule
 * @param warmupSteps steps of warm-up; −1: {@code warmupRatio} of all steps, rounded up
 * @param optimizer AdamW, or LAMB for batches of thousands
 * @param decayAll decay biases and LayerNorm too, rather than matrices alone
 * @param clip largest gradient norm; 0: no clipping
 * @param device where a run that makes its own network computes: {@code cpu}, {@code cuda}, {@code
 *     cuda:N} or {@code emulate}, see {@link Device#open}; a model that is there stays on its own
 * @param logEvery steps between reports (and between readings of the loss)
 * @param evalEvery steps between evaluations; 0: at the end alone; −1: after each pass over the
 *     data
 * @param saveEvery steps between checkpoints; 0: at the end alone
 * @param keepCheckpoints checkpoints kept, at least 2
 * @param maxSkippedInARow steps with a non-finite gradient in a row that end the run
 * @param tuning what of the network trains, and how fast
 * @param selection which weights the run ends with, and when it ends early
 * @param objective how the loss of classes is shaped
 * @param optimizerState dtype of the moments: fp32 or bf16, see {@link
 *     dev.graft.model.Network#enableTraining(DType)}
 * @param recompute what the backward pass computes again instead of keeping it: less memory, the
 *     same bits
 * @param fp8 whether the products of the blocks' linear layers are of 8-bit floats
 * @param runDirectory where checkpoints, metrics and the model go; null: nothing is written
 * @param resume go on from the newest complete checkpoint of the run directory
 * @param exchange joins the gradients of several processes; {@code gradientAccumulation} and sizes
 *     of batches are those of one
 */
public record TrainingOptions(
    long steps,
    double epochs,
    int batchSize,
    int tokensPerStep,
    int gradientAccumulation,
    double learningRate,
    double minLearningRate,
    Schedule schedule,
    long warmupSteps,
    double warmupRatio,
    Optimizer optimizer,
    double weightDecay,
    boolean decayAll,
    double beta1,
    double beta2,
    double eps,
    double clip,
    long seed,
    DType dtype,
    String device,
    int logEvery,
    long evalEvery,
    long saveEvery,
    int keepCheckpoints,
    int maxSkippedInARow,
    Tuning tuning,
    Selection selection,
    Objective objective,
    DType optimizerState,
    Recompute recompute,
    boolean fp8,
    Path runDirectory,
    boolean resume,
    TrainingListener listener,
    CancellationToken cancellation,
    GradientExchange exchange) {
  private static final double RATE_AT_768 = 5e-5;

  /** A low-rank adapter wants about ten times the rate of whole weights. */
  private static final double ADAPTER_RATE = 10;

  private static final int AUTOMATIC_STEPS = 1000;
  private static final int FEWEST_EPOCHS = 3;
  private static final int MOST_EPOCHS = 20;

  public TrainingOptions {
    Objects.requireNonNull(schedule, "schedule");
    Objects.requireNonNull(optimizer, "optimizer");
    Objects.requireNonNull(dtype, "dtype");
    Objects.requireNonNull(tuning, "tuning");
    Objects.requireNonNull(selection, "selection");
    Objects.requireNonNull(objective, "objective");
    Objects.requireNonNull(optimizerState, "optimizerState");
    Objects.requireNonNull(recompute, "recompute");
    Objects.requireNonNull(listener, "listener");
    Objects.requireNonNull(cancellation, "cancellation");
    Objects.requireNonNull(exchange, "exchange");
    require(steps >= 0, "steps", "at least 0", steps);
    require(epochs >= 0 && epochs < 1e9, "epochs", "at least 0", epochs);
    require(
        steps == 0 || epochs == 0,
        "steps and epochs",
        "one of them alone",
        steps + " and " + epochs);
    require(batchSize >= 1, "batchSize", "at least 1", batchSize);
    require(tokensPerStep >= 0, "tokensPerStep", "at least 0", tokensPerStep);
    require(gradientAccumulation >= 1, "gradientAccumulation", "at least 1", gradientAccumulation);
    require(finite(learningRate) && learningRate >= 0, "learningRate", "at least 0", learningRate);
    require(
        minLearningRate >= 0 && (learningRate == 0 || minLearningRate <= learningRate),
        "minLearningRate",
        "0 to learningRate (" + learningRate + ")",
        minLearningRate);
    require(warmupSteps >= -1, "warmupSteps", "at least 0 (or -1: by warmupRatio)", warmupSteps);
    require(warmupRatio >= 0 && warmupRatio <= 1, "warmupRatio", "0 to 1", warmupRatio);
    require(finite(weightDecay) && weightDecay >= 0, "weightDecay", "at least 0", weightDecay);
    require(beta1 >= 0 && beta1 < 1, "beta1", "[0, 1)", beta1);
    require(beta2 >= 0 && beta2 < 1, "beta2", "[0, 1)", beta2);
    require(finite(eps) && eps > 0, "eps", "above 0", eps);
    require(finite(clip) && clip >= 0, "clip", "at least 0", clip);
    require(dtype.isFloat(), "dtype", "fp32 or bf16", dtype.label());
    require(optimizerState.isFloat(), "optimizerState", "fp32 or bf16", optimizerState.label());
    Device.requireName(device);
    require(logEvery >= 1, "logEvery", "at least 1", logEvery);
    require(evalEvery >= -1, "evalEvery", "at least 0 (or -1: each epoch)", evalEvery);
    require(saveEvery >= 0, "saveEvery", "at least 0", saveEvery);
    require(keepCheckpoints >= 2, "keepCheckpoints", "at least 2", keepCheckpoints);
    require(maxSkippedInARow >= 1, "maxSkippedInARow", "at least 1", maxSkippedInARow);
    require(!resume || runDirectory != null, "resume", "a runDirectory to resume", "none");
  }

  private static boolean finite(double value) {
    return Double.isFinite(value);
  }

  private static void require(boolean right, String name, String expected, Object got) {
    if (!right) {
      throw new IllegalArgumentException(
          "training options: " + name + ": expected " + expected + ", got " + got);
    }
  }

  /**
   * Fine-tuning as people expect it: batches of 8, a rate by the network's width (5e-5 at 768
   * channels) falling linearly to 0 after a warm-up of a tenth, 3 to 20 epochs by the size of the
   * data, clip 1.0, AdamW with β 0.9 and 0.999, ε 1e-8, decay 0.01 on matrices. With validation
   * data it is judged after each epoch and ends with its best weights.
   */
  public static Builder finetuning() {
    return new Builder().evalEvery(-1).loadBest(true);
  }

  /**
   * Pretraining: batches of 32, rate 6e-4 falling by cosine to a tenth after a warm-up of 2 %, β2
   * 0.95, decay 0.1 on matrices, clip 1.0. Set {@code steps} or {@code epochs} (default: 1 epoch).
   */
  public static Builder pretraining() {
    return new Builder()
        .epochs(1)
        .batchSize(32)
        .learningRate(6e-4)
        .minLearningRate(6e-5)
        .schedule(Schedule.COSINE)
        .warmupRatio(0.02)
        .weightDecay(0.1)
        .beta2(0.95);
  }

  /** A builder with these values. */
  public Builder toBuilder() {
    Builder b = new Builder();
    b.steps = steps;
    b.epochs = epochs;
    b.batchSize = batchSize;
    b.tokensPerStep = tokensPerStep;
    b.gradientAccumulation = gradientAccumulation;
    b.learningRate = learningRate;
    b.minLearningRate = minLearningRate;
    b.schedule = schedule;
    b.optimizer = optimizer;
    b.warmupSteps = warmupSteps;
    b.warmupRatio = warmupRatio;
    b.weightDecay = weightDecay;
    b.decayAll = decayAll;
    b.beta1 = beta1;
    b.beta2 = beta2;
    b.eps = eps;
    b.clip = clip;
    b.seed = seed;
    b.dtype = dtype;
    b.device = device;
    b.logEvery = logEvery;
    b.evalEvery = evalEvery;
    b.saveEvery = saveEvery;
    b.keepCheckpoints = keepCheckpoints;
    b.maxSkippedInARow = maxSkippedInARow;
    b.tuning = tuning;
    b.selection = selection;
    b.objective = objective;
    b.optimizerState = optimizerState;
    b.recompute = recompute;
    b.fp8 = fp8;
    b.runDirectory = runDirectory;
    b.resume = resume;
    b.listener = listener;
    b.cancellation = cancellation;
    b.exchange = exchange;
    return b;
  }

  /** Where this process writes: the run directory in rank 0, nowhere (null) in the others. */
  Path writableDirectory() {
    return exchange.rank() == 0 ? runDirectory : null;
  }

  /** Batches an optimizer step, over all processes. */
  public long batchesPerStep() {
    return (long) gradientAccumulation * exchange.size();
  }

  /**
   * These options with what they leave open decided.
   *
   * @param channels width of the network
   * @param batchesPerEpoch of the data
   */
  public TrainingOptions resolved(int channels, long batchesPerEpoch) {
    Builder b = toBuilder();
    if (learningRate == 0) {
      double adapter = tuning.lora() == null ? 1 : ADAPTER_RATE;
      double rate = adapter * RATE_AT_768 * Math.pow(768.0 / channels, 1.5);
      double unit = Math.pow(10, Math.floor(Math.log10(rate)) - 1);
      b.learningRate(Math.rint(rate / unit) * unit);
    }
    if (steps == 0 && epochs == 0) {
      double wanted = Math.ceil(AUTOMATIC_STEPS * (double) batchesPerStep() / batchesPerEpoch);
      b.epochs(Math.max(FEWEST_EPOCHS, Math.min(MOST_EPOCHS, wanted)));
    }
    return b.build();
  }

  /** Optimizer steps of a run over data of so many batches a pass. */
  public long totalSteps(long batchesPerEpoch) {
    if (steps == 0 && epochs == 0) {
      throw new IllegalStateException("neither steps nor epochs are decided: call resolved");
    }
    return steps > 0
        ? steps
        : Math.max(1, (long) Math.ceil(epochs * batchesPerEpoch / batchesPerStep() - 1e-9));
  }

  /** Steps of warm-up in a run of so many steps. */
  public long warmup(long totalSteps) {
    return Math.min(
        totalSteps,
        warmupSteps >= 0 ? warmupSteps : (long) Math.ceil(warmupRatio * totalSteps - 1e-9));
  }

  /** Rate of one step of a run of so many. */
  public double rate(long step, long totalSteps) {
    return schedule.rate(step, warmup(totalSteps), totalSteps, learningRate, minLearningRate);
  }

  /** Collects options. Every method sets the record component of its name. */
  public static final class Builder extends RecipeBuilder<Builder> {
    private long steps;
    private double epochs;
    private int batchSize = 8;
    private int tokensPerStep;
    private int gradientAccumulation = 1;
    private double learningRate;
    private double minLearningRate;
    private Schedule schedule = Schedule.LINEAR;
    private long warmupSteps = -1;
    private double warmupRatio = 0.1;
    private double beta1 = 0.9;
    private double beta2 = 0.999;
    private double eps = 1e-8;
    private double clip = 1.0;
    private long seed = 1337;
    private DType dtype = DType.FLOAT32;
    private String device = "cpu";
    private int logEvery = 10;
    private long evalEvery;
    private long saveEvery;
    private int keepCheckpoints = 2;
    private int maxSkippedInARow = 20;
    private Path runDirectory;
    private boolean resume;
    private TrainingListener listener = TrainingListener.NONE;
    private CancellationToken cancellation = new CancellationToken();
    private GradientExchange exchange = GradientExchange.NONE;

    private Builder() {}

    @Override
    Builder self() {
      return this;
    }

    /** Trains so many optimizer steps, instead of epochs. */
    public Builder steps(long value) {
      steps = value;
      epochs = 0;
      return this;
    }

    /** Trains so many passes over the data, instead of steps. */
    public Builder epochs(double value) {
      epochs = value;
      steps = 0;
      return this;
    }

    public Builder batchSize(int value) {
      batchSize = value;
      return this;
    }

    public Builder tokensPerStep(int value) {
      tokensPerStep = value;
      return this;
    }

    public Builder gradientAccumulation(int value) {
      gradientAccumulation = value;
      return this;
    }

    /** Peak rate; 0: by the network's width. */
    public Builder learningRate(double value) {
      learningRate = value;
      return this;
    }

    public Builder minLearningRate(double value) {
      minLearningRate = value;
      return this;
    }

    public Builder schedule(Schedule value) {
      schedule = value;
      return this;
    }

    public Builder warmupSteps(long value) {
      warmupSteps = value;
      return this;
    }

    /** Warm-up as a part of all steps, instead of a number of them. */
    public Builder warmupRatio(double value) {
      warmupRatio = value;
      warmupSteps = -1;
      return this;
    }

    public Builder beta1(double value) {
      beta1 = value;
      return this;
    }

    public Builder beta2(double value) {
      beta2 = value;
      return this;
    }

    public Builder eps(double value) {
      eps = value;
      return this;
    }

    public Builder clip(double value) {
      clip = value;
      return this;
    }

    public Builder seed(long value) {
      seed = value;
      return this;
    }

    public Builder dtype(DType value) {
      dtype = value;
      return this;
    }

    public Builder device(String value) {
      device = value;
      return this;
    }

    public Builder logEvery(int value) {
      logEvery = value;
      return this;
    }

    public Builder evalEvery(long value) {
      evalEvery = value;
      return this;
    }

    public Builder saveEvery(long value) {
      saveEvery = value;
      return this;
    }

    public Builder keepCheckpoints(int value) {
      keepCheckpoints = value;
      return this;
    }

    public Builder maxSkippedInARow(int value) {
      maxSkippedInARow = value;
      return this;
    }

    public Builder runDirectory(Path value) {
      runDirectory = value;
      return this;
    }

    public Builder resume(boolean value) {
      resume = value;
      return this;
    }

    public Builder listener(TrainingListener value) {
      listener = value;
      return this;
    }

    public Builder cancellation(CancellationToken value) {
      cancellation = value;
      return this;
    }

    public Builder exchange(GradientExchange value) {
      exchange = value;
      return this;
    }

    /**
     * The options.
     *
     * @throws IllegalArgumentException naming the option, what was expected and what came
     */
    public TrainingOptions build() {
      return new TrainingOptions(
          steps,
          epochs,
          batchSize,
          tokensPerStep,
          gradientAccumulation,
          learningRate,
          minLearningRate,
          schedule,
          warmupSteps,
          warmupRatio,
          optimizer,
          weightDecay,
          decayAll,
          beta1,
          beta2,
          eps,
          clip,
          seed,
          dtype,
          device,
          logEvery,
          evalEvery,
          saveEvery,
          keepCheckpoints,
          maxSkippedInARow,
          tuning,
          selection,
          objective,
          optimizerState,
          recompute,
          fp8,
          runDirectory,
          resume,
          listener,
          cancellation,
          exchange);
    }
  }
}
