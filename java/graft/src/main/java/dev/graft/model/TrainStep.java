package dev.graft.model;

import dev.graft.data.Batch;
import dev.graft.model.OptimizerOptions.Decay;
import dev.graft.model.Parameters.Parameter;
import dev.graft.program.ActivationArena;
import dev.graft.program.Ops;
import dev.graft.program.ParameterSet;
import dev.graft.program.Program;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import java.util.ArrayList;
import java.util.List;

/**
 * Forward, backward and optimizer over token buckets. A bucket is recorded when it first comes;
 * from then on a step allocates nothing on the Java heap.
 *
 * <p>A device counts the optimizer steps of one training at a time.
 *
 * <p>Losses grow in the device's slots: 0 for words, classes, choices, beginnings of answers and
 * the next token, 1 for next sentence and ends of answers.
 */
public final class TrainStep implements AutoCloseable {
  private final Device device;
  private final Network network;
  private final OptimizerOptions options;
  private final Steps steps;
  private final ActivationArena noActivations;
  private ParameterSet parameters;
  private Program update;

  /** Enables training on the network if it is not yet. */
  public TrainStep(Network network, Limits limits, OptimizerOptions options) {
    this(network, limits, options, true);
  }

  /** As above; without {@code dropout} the network trains as if its probabilities were 0. */
  public TrainStep(Network network, Limits limits, OptimizerOptions options, boolean dropout) {
    this(network, limits, options, dropout, Recompute.NONE);
  }

  /** As above, with less memory for activations at the price of time: {@link Recompute}. */
  public TrainStep(
      Network network,
      Limits limits,
      OptimizerOptions options,
      boolean dropout,
      Recompute recompute) {
    this(network, limits, options, dropout, recompute, false);
  }

  /**
   * As above; with {@code fp8} the products of the blocks' linear layers are of 8-bit floats.
   *
   * @throws dev.graft.io.InvalidInputException if the device has none, or the network's dtype is
   *     not bf16 or its sizes are not multiples of 16
   */
  public TrainStep(
      Network network,
      Limits limits,
      OptimizerOptions options,
      boolean dropout,
      Recompute recompute,
      boolean fp8) {
    if (fp8) {
      Float8Products.require(network);
    }
    network.enableTraining(options.state());
    this.device = network.device();
    this.steps =
        new Steps(network, limits, "training", true, true, dropout, false, false, recompute, fp8);
    this.network = network;
    this.options = options;
    this.noActivations = new ActivationArena(device, "optimizer");
    recordUpdate();
    // Adam's t is the device's: a new run counts from 0, a resumed one restores its own.
    device.restore(0, 0);
  }

  private void recordUpdate() {
    List<ParameterSet.Entry> entries = new ArrayList<>();
    for (Parameter p : network.parameters().all()) {
      if (!p.trains()) {
        continue;
      }
      boolean decays = options.decay() == Decay.ALL || p.matrix();
      entries.add(
          new ParameterSet.Entry(
              p.grad(),
              p.weight(),
              p.compute() == p.weight() ? null : p.compute(),
              p.firstMoment(),
              p.secondMoment(),
              decays ? options.weightDecay() : 0,
              p.rateScale()));
    }
    parameters = new ParameterSet(device, entries);
    update = new Program("optimizer", noActivations);
    Ops ops = new Ops(update);
    ops.gradNorm(parameters, options.clip());
    switch (options.optimizer()) {
      case ADAMW -> ops.adamw(parameters, options.beta1(), options.beta2(), options.eps());
      case LAMB -> ops.lamb(parameters, options.beta1(), options.beta2(), options.eps());
    }
    update.seal();
  }

  /** Records anew: other parameters rest than before, see {@link Network#setResting}. */
  public void recordAnew() {
    steps.forget();
    update.close();
    parameters.close();
    recordUpdate();
  }

  /**
   * Records the batch's bucket if it comes for the first time. What can fail for want of memory
   * fails here, before anything of the step was computed.
   *
   * @throws dev.graft.runtime.OutOfDeviceMemoryException saying what was asked for, what is free
   *     and what would fit
   */
  public void prepare(Batch batch) {
    steps.of(batch);
  }

  /**
   * Bytes of activations a step over a batch of so many tokens needs, by recording it.
   *
   * @param masked rows with a label among them, for masked words
   */
  public long activationBytes(int tokens, int masked, Recompute level) {
    return steps.activationBytes(tokens, masked, level);
  }

  /**
   * Adds the gradients of a batch's loss to the parameters' gradients.
   *
   * @param seed of the dropout masks
   * @param rngStep differs for each call of a run
   * @param scale0 factor of the gradient of loss 0: one over its labels in the optimizer step
   * @param scale1 the same for loss 1
   */
  public void forwardBackward(Batch batch, long seed, long rngStep, float scale0, float scale1) {
    Steps.Step step = steps.of(batch);
    steps.inputs().upload(batch);
    device.stepBegin(seed, rngStep, 0, batch.sequences, scale0, scale1);
    step.program.run();
  }

  /** Clips, steps and zeroes the gradients; a step with a non-finite norm changes no weight. */
  public void update(float lr) {
    device.stepBegin(0, 0, lr, 0, 1, 1);
    update.run();
  }

  /**
   * Native calls of a step: those of the last batch's forward and backward pass, and the update.
   */
  public int calls() {
    return steps.lastCalls() + update.size();
  }

  /** Bytes of activations held. */
  public long activationBytes() {
    return steps.activationBytes();
  }

  @Override
  public void close() {
    steps.close();
    update.close();
    noActivations.close();
    parameters.close();
  }

  /** The dtype activations of a network have on a device by default: bf16 where products are. */
  public static DType defaultDType(Device device) {
    return device.gemm().description().contains("in fp32") ? DType.FLOAT32 : DType.BFLOAT16;
  }
}
