package dev.graft.train;

import dev.graft.model.Lora;
import dev.graft.model.Optimizer;
import dev.graft.model.Recompute;
import dev.graft.runtime.DType;
import java.util.List;
import java.util.Map;

/**
 * The part of {@link TrainingOptions.Builder} that says what trains, by which loss and optimizer,
 * with which weights a run ends, and what of a step is kept in memory.
 */
abstract class RecipeBuilder<B> {
  Tuning tuning = Tuning.NONE;
  Selection selection = Selection.NONE;
  Objective objective = Objective.PLAIN;
  Optimizer optimizer = Optimizer.ADAMW;
  Recompute recompute = Recompute.NONE;
  boolean fp8;
  DType optimizerState = DType.FLOAT32;
  double weightDecay = 0.01;
  boolean decayAll;

  abstract B self();

  public B tuning(Tuning value) {
    tuning = value;
    return self();
  }

  /** Each layer learns slower than the one above it; see {@link Tuning#layerDecay}. */
  public B layerDecay(double value) {
    tuning = tuning.withLayerDecay(value);
    return self();
  }

  /** What keeps its weights, such as {@code freeze("embeddings")}; see {@link Tuning#freeze}. */
  public B freeze(String... value) {
    tuning = tuning.withFreeze(List.of(value));
    return self();
  }

  /** Gradual unfreezing from the top; see {@link Tuning#unfreezeEvery}. */
  public B unfreezeEvery(long value) {
    tuning = tuning.withUnfreezeEvery(value);
    return self();
  }

  /** Low-rank adaptation, such as {@code lora(Lora.rank(8))}; null for none. */
  public B lora(Lora value) {
    tuning = tuning.withLora(value);
    return self();
  }

  public B selection(Selection value) {
    selection = value;
    return self();
  }

  /** Whether the run ends with its best weights instead of the last. */
  public B loadBest(boolean value) {
    selection = selection.withLoadBest(value);
    return self();
  }

  /** What the best is told by, such as {@code f1_macro}; see {@link Selection#metric}. */
  public B metric(String value) {
    selection = selection.withMetric(value);
    return self();
  }

  /** Stops after so many evaluations in a row without a gain. */
  public B patience(int value) {
    selection = selection.withPatience(value);
    return self();
  }

  /** What counts as a gain; see {@link Selection#minDelta}. */
  public B minDelta(double value) {
    selection = selection.withMinDelta(value);
    return self();
  }

  public B optimizer(Optimizer value) {
    optimizer = value;
    return self();
  }

  /** Moments in fp32, or for less memory in bf16; see {@link TrainingOptions#optimizerState}. */
  public B optimizerState(DType value) {
    optimizerState = value;
    return self();
  }

  public B weightDecay(double value) {
    weightDecay = value;
    return self();
  }

  public B decayAll(boolean value) {
    decayAll = value;
    return self();
  }

  /** Trades time for memory; see {@link Recompute}. */
  public B recompute(Recompute value) {
    recompute = value;
    return self();
  }

  /**
   * Multiplies in 8-bit floats in the blocks' linear layers: faster on cards of compute capability
   * 8.9 or later, for networks in bf16; see docs/guides/cuda.md.
   */
  public B fp8(boolean value) {
    fp8 = value;
    return self();
  }

  public B objective(Objective value) {
    objective = value;
    return self();
  }

  /** Lets each class weigh as much as any other; see {@link Objective#balanced}. */
  public B balanced(boolean value) {
    objective = objective.withBalanced(value);
    return self();
  }

  /** Weights of classes by name; those not named weigh 1. */
  public B classWeights(Map<String, Double> value) {
    objective = objective.withClassWeights(value);
    return self();
  }

  /** See {@link Objective#labelSmoothing}. */
  public B labelSmoothing(double value) {
    objective = objective.withLabelSmoothing(value);
    return self();
  }
}
