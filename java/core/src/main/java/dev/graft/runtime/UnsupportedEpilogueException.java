package dev.graft.runtime;

/** The library has no product with this {@link Epilogue} on this device, in this shape. */
public final class UnsupportedEpilogueException extends RuntimeException {
  private static final long serialVersionUID = 1;

  UnsupportedEpilogueException(String message) {
    super(message);
  }
}
