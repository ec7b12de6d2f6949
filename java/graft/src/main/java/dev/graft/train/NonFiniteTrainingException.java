package dev.graft.train;

/**
 * Too many steps in a row had a gradient that is not finite. The weights are those of the last good
 * step.
 */
public final class NonFiniteTrainingException extends IllegalStateException {
  private static final long serialVersionUID = 1L;

  NonFiniteTrainingException(String message) {
    super(message);
  }
}
