package dev.graft.model;

/**
 * What a training step computes again in its backward pass instead of keeping it from the forward
 * pass (Chen et al., arXiv:1604.06174): memory for time. The same calls are recorded once more and
 * dropout draws by counter, so every level gives the same bits; but for {@link #ACTIVATION} on a
 * card that has GELU in the product before it, which is not rounded as one computed again is.
 */
public enum Recompute {
  /** Nothing: all that the backward pass reads is kept. */
  NONE,
  /**
   * The outputs of norms and of the activation function, each from its kept input: passes over
   * memory, no product (Korthikanti et al., arXiv:2205.05198, choose alike).
   */
  ACTIVATION,
  /**
   * Whole blocks: the residual sum between two blocks is kept alone, and the forward pass of a
   * block comes once more before its backward pass.
   */
  BLOCK
}
