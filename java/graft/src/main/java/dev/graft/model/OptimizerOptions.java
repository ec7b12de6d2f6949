package dev.graft.model;

import dev.graft.runtime.DType;

/**
 * What an optimizer is told once a run.
 *
 * @param optimizer which it is
 * @param beta1 decay of the first moment
 * @param beta2 decay of the second moment
 * @param eps added to the root of the second moment
 * @param weightDecay decoupled decay
 * @param decay which parameters decay
 * @param clip largest gradient norm; 0 for none
 * @param state dtype of the moments, see {@link Network#enableTraining(DType)}
 */
public record OptimizerOptions(
    Optimizer optimizer,
    float beta1,
    float beta2,
    float eps,
    float weightDecay,
    Decay decay,
    float clip,
    DType state) {
  /** Which parameters weight decay acts on. */
  public enum Decay {
    /** All but biases and LayerNorm, as published recipes do. */
    MATRICES,
    ALL
  }

  public OptimizerOptions {
    if (!(beta1 >= 0 && beta1 < 1) || !(beta2 >= 0 && beta2 < 1)) {
      throw new IllegalArgumentException("betas: expected [0, 1), got " + beta1 + ", " + beta2);
    }
    if (!state.isFloat()) {
      throw new IllegalArgumentException("state: expected FLOAT32 or BFLOAT16, got " + state);
    }
    if (!(eps > 0) || !(weightDecay >= 0) || !(clip >= 0)) {
      throw new IllegalArgumentException(
          "expected eps > 0, weightDecay >= 0, clip >= 0, got "
              + eps
              + ", "
              + weightDecay
              + ", "
              + clip);
    }
  }

  /** AdamW. */
  public OptimizerOptions(
      float beta1, float beta2, float eps, float weightDecay, Decay decay, float clip) {
    this(Optimizer.ADAMW, beta1, beta2, eps, weightDecay, decay, clip, DType.FLOAT32);
  }

  /** The reference trainer's defaults: 0.9, 0.999, 1e-8, no decay, clip 1. */
  public static OptimizerOptions defaults() {
    return new OptimizerOptions(0.9f, 0.999f, 1e-8f, 0f, Decay.MATRICES, 1f);
  }
}
