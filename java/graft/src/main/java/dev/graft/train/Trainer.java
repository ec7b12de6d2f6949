package dev.graft.train;

import dev.graft.data.Batch;
import dev.graft.data.BatchSource;
import dev.graft.model.Limits;
import dev.graft.model.Lora;
import dev.graft.model.Network;
import dev.graft.model.OptimizerOptions;
import dev.graft.model.Parameters.Parameter;
import dev.graft.model.TrainStep;
import dev.graft.runtime.Device;
import dev.graft.runtime.OutOfDeviceMemoryException;
import java.util.Arrays;

/**
 * Trains a network: per optimizer step, {@link TrainingOptions#gradientAccumulation()} batches
 * forward and backward, then one update. The step's gradient is that of the mean loss over all of
 * its labels: they are counted on the host before the first batch runs, for each loss apart, so
 * unequal batches weigh as their labels do.
 *
 * <p>With {@link TrainingOptions#exchange()} several processes share the batches of a step. Each
 * has its own listener and cancellation token (cancelling one cancels all) and evaluates for
 * itself; rank 0 alone writes files.
 *
 * <p>Batch and random draws of micro-step i are functions of i, so the run's state is the closed
 * list {@link RunFiles} saves. In its steady state a step allocates nothing on the heap and reads
 * nothing back; every {@link TrainingOptions#logEvery()} steps the loss is read and reported.
 */
public final class Trainer {
  /** Places in {@link #counts}. */
  private static final int LABELS0 = 0;

  private static final int LABELS1 = 1;
  private static final int TOKENS = 2;
  private static final int CANCELLED = 3;
  private static final int STOPPED = 4;

  @Saved("model.safetensors")
  private final Network network;

  @Saved("optimizer.safetensors (moments, of the network's parameters), state.json (counters)")
  private TrainStep step;

  @Saved("state.json")
  private Progress progress = new Progress();

  @Derived("checked by its fingerprint in state.json; the position is progress.microStep")
  private final BatchSource data;

  @Derived("does not touch the state")
  private final Evaluator evaluator;

  @Derived("checked by its hash in state.json, its files are in the checkpoint")
  private final TokenizerFiles tokenizer;

  @Derived("of the caller's, network and data; those that matter are checked against state.json")
  private final TrainingOptions options;

  @Derived("of options and data")
  private final long totalSteps;

  @Derived("filled anew each step from progress.microStep")
  private final Batch[] batches;

  @Derived("of the network")
  private final Device device;

  @Derived("the processes of the run; their number is checked against state.json")
  private final GradientExchange exchange;

  @Derived("sums of a step over all processes: labels of both losses, tokens, who wants to end")
  private final long[] counts = new long[5];

  @Derived("of a step over all processes: what its labels weigh, if classes weigh differently")
  private final double[] labelWeight = new double[1];

  @Derived("sums over all processes since the last reading: of both losses and of their labels")
  private final double[] losses = new double[4];

  @Derived("clock of this process, for rates")
  private final RunClock clock = new RunClock();

  @Derived("of options and network")
  private LayerPlan plan;

  @Derived("of the plan and progress.step: depth of the lowest layer that trains")
  private int lowest;

  @Derived("of the last evaluation, repeated if it is asked for after a resume, and of progress")
  private ModelSelection selection;

  /** A trainer without evaluation or tokenizer files. */
  public Trainer(Network network, BatchSource data, TrainingOptions options) {
    this(network, data, null, null, options);
  }

  /** A trainer that keeps no tokenizer beside the weights. */
  public Trainer(Network network, BatchSource data, Evaluator evaluator, TrainingOptions options) {
    this(network, data, null, evaluator, options);
  }

  /**
   * A trainer.
   *
   * @param tokenizer saved beside the weights and checked at a resume; may be null
   * @param evaluator judges every {@code evalEvery} steps and at the end; may be null
   * @throws IllegalArgumentException if the network's dtype is not the options'
   */
  public Trainer(
      Network network,
      BatchSource data,
      TokenizerFiles tokenizer,
      Evaluator evaluator,
      TrainingOptions options) {
    if (network.dtype() != options.dtype()) {
      throw new IllegalArgumentException(
          String.format(
              "training options: dtype: expected the network's %s, got %s",
              network.dtype().label(), options.dtype().label()));
    }
    this.network = network;
    this.data = data;
    this.tokenizer = tokenizer;
    this.evaluator = evaluator;
    this.options = options.resolved(network.config().channels(), data.batchesPerEpoch());
    this.exchange = options.exchange();
    this.device = network.device();
    this.totalSteps = this.options.totalSteps(data.batchesPerEpoch());
    this.batches = new Batch[options.gradientAccumulation()];
    for (int i = 0; i < batches.length; i++) {
      batches[i] = data.newBatch();
    }
  }

  /**
   * Trains to the end, until it gets no better, or until cancelled. The network holds the last or
   * the best weights afterwards, see {@link Selection}; when one process returns, rank 0 has saved.
   *
   * @throws dev.graft.io.InvalidInputException if the run directory cannot be used or written, or a
   *     resume would not be exact
   * @throws NonFiniteTrainingException if too many steps in a row had no finite gradient
   */
  public TrainingResult run() {
    options.cancellation().begin();
    device.activate();
    prepareNetwork();
    Limits limits = Limits.of(batches[0]);
    OptimizerOptions optimizer =
        new OptimizerOptions(
            options.optimizer(),
            (float) options.beta1(),
            (float) options.beta2(),
            (float) options.eps(),
            (float) options.weightDecay(),
            options.decayAll() ? OptimizerOptions.Decay.ALL : OptimizerOptions.Decay.MATRICES,
            (float) options.clip(),
            options.optimizerState());
    try (RunFiles files =
        RunFiles.open(
            options,
            network,
            tokenizer,
            () -> RunIdentity.of(network, data, tokenizer, options, totalSteps))) {
      if (exchange.size() > 1) {
        exchange.requireSame(
            RunIdentity.of(network, data, tokenizer, options, totalSteps).values());
      }
      network.enableTraining(options.optimizerState());
      try (TrainStep trainStep =
          new TrainStep(network, limits, optimizer, true, options.recompute(), options.fp8())) {
        step = trainStep;
        TensorFile.clearTraining(network);
        progress = files.resume();
        beginAsRank0();
        device.restore(progress.adamSteps, progress.skippedSteps);
        lowest = plan.lowest(Math.max(0, progress.step - 1));
        if (lowest > 0) {
          plan.rest(lowest);
          step.recordAnew();
        }
        selection = new ModelSelection(network, evaluator, options, files);
        clock.start(progress);
        return run(files);
      } finally {
        step = null;
      }
    } finally {
      options.cancellation().end();
    }
  }

  /** Decides what trains, and by which loss. */
  private void prepareNetwork() {
    Lora lora = options.tuning().lora();
    if (lora != null) {
      network.attach(lora, options.seed());
    } else if (network.lora() != null) {
      throw new IllegalStateException(
          "the model has an adapter: merge it, or train it further with its own lora options");
    }
    Objective objective = options.objective();
    network.shapeLoss(ClassWeights.of(objective, network, data), objective.labelSmoothing());
    long stepsPerEpoch = -Math.floorDiv(-data.batchesPerEpoch(), options.batchesPerStep());
    plan = new LayerPlan(network, options.tuning(), Math.max(1, stepsPerEpoch));
    plan.summary().ifPresent(options.listener()::onPrepare);
  }

  /** Takes over the state of rank 0, which may have read it from a checkpoint. */
  private void beginAsRank0() {
    if (exchange.size() == 1) {
      return;
    }
    long[] state = progress.toLongs();
    exchange.broadcast(state);
    progress = Progress.fromLongs(state);
    for (Parameter p : network.parameters().all()) {
      p.weight().parts().forEach(exchange::broadcast);
      // Before the first step they are zero everywhere.
      if (progress.step > 0 && p.trainable()) {
        exchange.broadcast(p.firstMoment());
        exchange.broadcast(p.secondMoment());
      }
    }
    network.parameters().syncCompute();
  }

  /** Saves the run if its memory ends: with less of it per step it can go on from there. */
  private TrainingResult run(RunFiles files) {
    try {
      return loop(files);
    } catch (OutOfDeviceMemoryException e) {
      // Of several processes one alone may be short of memory, and a checkpoint is a matter of all.
      if (progress.step == 0 || exchange.size() > 1 || !files.writes()) {
        throw e;
      }
      readBack();
      save(files);
      throw e.with(
          String.format(
              "The run is saved at step %,d in %s; a resume may change what is computed again",
              progress.step, files.lastCheckpoint()));
    }
  }

  private TrainingResult loop(RunFiles files) {
    while (progress.step < totalSteps && progress.stoppedEarly == 0 && fillBatches()) {
      unfreeze();
      for (Batch batch : batches) {
        step.prepare(batch);
      }
      optimizerStep();
      boolean last = progress.step == totalSteps;
      boolean report = last || progress.step % options.logEvery() == 0;
      boolean evaluate = selection.due(progress, data.batchesPerEpoch(), last);
      boolean save = due(options.saveEvery(), progress.step);
      // After a skipped step every step is read, so that a row of them is counted exactly.
      if (report || evaluate || save || progress.skippedInARow > 0) {
        readBack();
      }
      if (report) {
        report(files);
      }
      if (evaluate) {
        evaluate();
      }
      if (save) {
        save(files);
      }
    }
    return finish(files);
  }

  private static boolean due(long every, long step) {
    return every > 0 && step % every == 0;
  }

  /**
   * Lets the next layer train when its time has come. As in ULMFiT's own code the optimizer begins
   * afresh: with Adam's t of the others, empty moments would make steps several times too long.
   */
  private void unfreeze() {
    int next = plan.lowest(progress.step);
    if (next == lowest) {
      return;
    }
    lowest = next;
    readBack();
    plan.rest(lowest);
    step.recordAnew();
    TensorFile.clearTraining(network);
    progress.adamSteps = 0;
    device.restore(0, progress.skippedSteps);
  }

  /** Number of the i-th batch this process takes in the next step. */
  private long microStep(int i) {
    return progress.microStep + (long) i * exchange.size() + exchange.rank();
  }

  /**
   * Fills this process' batches of the next step and counts over all processes.
   *
   * @return false if the run was cancelled or gets no better, in whichever process
   */
  private boolean fillBatches() {
    Arrays.fill(counts, 0);
    labelWeight[0] = 0;
    if (options.cancellation().isCancelled()) {
      counts[CANCELLED] = 1;
    } else if (selection.wantsToStop(progress)) {
      counts[STOPPED] = 1;
    } else {
      for (int i = 0; i < batches.length; i++) {
        Batch batch = batches[i];
        data.fill(microStep(i), batch);
        counts[LABELS0] += network.lossLabels(batch, 0);
        counts[LABELS1] += network.lossLabels(batch, 1);
        counts[TOKENS] += batch.liveTokens;
        if (network.classLoss().weighted()) {
          labelWeight[0] += network.classLoss().weight(network, batch);
        }
      }
    }
    exchange.sum(counts);
    if (network.classLoss().weighted()) {
      exchange.sum(labelWeight);
    }
    progress.stoppedEarly = counts[STOPPED] > 0 && counts[CANCELLED] == 0 ? 1 : 0;
    return counts[CANCELLED] == 0 && counts[STOPPED] == 0;
  }

  /**
   * @param labels how many there are, or what they weigh
   */
  private float scale(double labels) {
    return labels == 0 ? 0 : (float) (network.lossShare() / labels);
  }

  /** One step, in one process without a heap allocation or a synchronisation. */
  private void optimizerStep() {
    boolean weighted = network.classLoss().weighted();
    float scale0 = scale(weighted ? labelWeight[0] : counts[LABELS0]);
    float scale1 = scale(counts[LABELS1]);
    for (int i = 0; i < batches.length; i++) {
      step.forwardBackward(batches[i], options.seed(), microStep(i), scale0, scale1);
    }
    exchange.sum(network.parameters().gradientBlock());
    step.update((float) options.rate(progress.step, totalSteps));
    progress.step++;
    progress.microStep += options.batchesPerStep();
    progress.tokens += counts[TOKENS];
    progress.epoch = (double) progress.microStep / data.batchesPerEpoch();
  }

  /** Moves the device's loss sums and counters into the progress. */
  private void readBack() {
    device.stepRead();
    for (int slot = 0; slot < 2; slot++) {
      losses[slot] = device.lossSum(slot);
      losses[2 + slot] = device.lossWeight(slot);
    }
    exchange.sum(losses);
    progress.lossSum0 += losses[0];
    progress.lossSum1 += losses[1];
    progress.lossWeight0 += losses[2];
    progress.lossWeight1 += losses[3];
    device.lossReset();
    long applied = device.adamSteps() - progress.adamSteps;
    long skipped = device.skippedSteps() - progress.skippedSteps;
    progress.adamSteps = device.adamSteps();
    progress.skippedSteps = device.skippedSteps();
    if (applied == 0) {
      progress.skippedInARow += skipped;
    } else {
      progress.skippedInARow = device.skipped() ? 1 : 0;
    }
    if (progress.skippedInARow >= options.maxSkippedInARow()) {
      throw new NonFiniteTrainingException(
          String.format(
              "training stopped at step %,d: the gradient of %d steps in a row was not finite"
                  + " (%,d of all steps). The weights are those before them. Lower the learning"
                  + " rate (%s), lengthen the warm-up, or look for broken rows in the data",
              progress.step,
              progress.skippedInARow,
              progress.skippedSteps,
              options.learningRate()));
    }
  }

  private static double mean(double sum, double count) {
    return count == 0 ? 0 : sum / count;
  }

  private void report(RunFiles files) {
    progress.lastLoss =
        network.lossShare()
            * (mean(progress.lossSum0, progress.lossWeight0)
                + mean(progress.lossSum1, progress.lossWeight1));
    progress.lossSum0 = 0;
    progress.lossWeight0 = 0;
    progress.lossSum1 = 0;
    progress.lossWeight1 = 0;
    clock.report(progress);
    StepEvent event =
        new StepEvent(
            progress.step,
            totalSteps,
            progress.epoch,
            progress.lastLoss,
            device.gradNorm(),
            options.rate(progress.step - 1, totalSteps),
            progress.tokens,
            clock.tokensPerSecond(),
            progress.seconds,
            clock.secondsLeft(totalSteps - progress.step),
            progress.skippedSteps);
    files.log(event);
    options.listener().onStep(event);
  }

  private void evaluate() {
    clock.pause();
    try {
      selection.evaluate(progress);
    } catch (OutOfDeviceMemoryException e) {
      // Its losses are none of the training's.
      device.lossReset();
      throw e;
    }
    clock.resume();
  }

  private void save(RunFiles files) {
    clock.stamp(progress);
    clock.pause();
    if (exchange.size() > 1) {
      exchange.requireSame(network.parameters().all().stream().map(Parameter::weight).toList());
    }
    files.save(progress);
    clock.resume();
  }

  private TrainingResult finish(RunFiles files) {
    boolean stoppedEarly = progress.stoppedEarly > 0;
    boolean cancelled = progress.step < totalSteps && !stoppedEarly;
    if (evaluator != null && !cancelled && selection.evaluation().isEmpty()) {
      evaluate();
    }
    if (cancelled || stoppedEarly) {
      readBack();
    }
    save(files);
    long weightsStep = progress.step;
    if (!cancelled) {
      weightsStep = selection.takeBest(progress);
      files.saveModel();
    }
    files.drawLosses();
    exchange.barrier();
    return new TrainingResult(
        progress.step,
        totalSteps,
        progress.lastLoss,
        selection.evaluation(),
        progress.bestMetric,
        progress.bestStep,
        weightsStep,
        stoppedEarly,
        network.parameters().trainableCount(),
        progress.skippedSteps,
        progress.tokens,
        progress.seconds,
        cancelled,
        files.lastCheckpoint(),
        cancelled ? null : files.modelDirectory());
  }
}
