package dev.graft.runtime;

/** A device that was asked for cannot be used on this machine; the message says why. */
public final class DeviceUnavailableException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  DeviceUnavailableException(String message) {
    super(message);
  }
}
