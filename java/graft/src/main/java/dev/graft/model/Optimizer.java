package dev.graft.model;

/** How gradients become steps. */
public enum Optimizer {
  /** Adam with decoupled decay (Loshchilov &amp; Hutter, arXiv:1711.05101). */
  ADAMW,
  /**
   * Adam's direction, as long as each parameter's own weights, for batches of thousands (You et
   * al., arXiv:1904.00962). Parameters without decay step as with Adam.
   */
  LAMB
}
