package dev.graft.bindings;

import dev.graft.bindings.global.graft;

/** Turns the status of a native call into a typed exception. */
public final class Status {
  static {
    requireAbi(graft.graft_abi_version());
  }

  private Status() {}

  static void requireAbi(int version) {
    if (version != graft.GRAFT_ABI_VERSION) {
      throw new UnsatisfiedLinkError(
          String.format(
              "graft: these bindings were made for ABI version %d, the native library on the path has"
                  + " %d; use the jars of one release",
              graft.GRAFT_ABI_VERSION, version));
    }
  }

  /**
   * Returns if {@code status} is GRAFT_OK.
   *
   * @throws GraftException of the subclass that fits, with the native message
   */
  public static void check(int status) {
    if (status == graft.GRAFT_OK) {
      return;
    }
    String message = graft.graft_last_error().getString();
    throw switch (status) {
      case graft.GRAFT_INVALID_SHAPE -> new GraftException.InvalidShape(status, message);
      case graft.GRAFT_INVALID_DTYPE -> new GraftException.InvalidDtype(status, message);
      case graft.GRAFT_INVALID_ALIGNMENT -> new GraftException.InvalidAlignment(status, message);
      case graft.GRAFT_INVALID_ARGUMENT -> new GraftException.InvalidArgument(status, message);
      case graft.GRAFT_UNSUPPORTED -> new GraftException.Unsupported(status, message);
      case graft.GRAFT_OUT_OF_MEMORY -> new GraftException.OutOfNativeMemory(status, message);
      case graft.GRAFT_DEVICE_ERROR -> new GraftException.DeviceError(status, message);
      case graft.GRAFT_DEVICE_LOST -> new GraftException.DeviceLost(status, message);
      default -> new GraftException.Internal(status, message);
    };
  }
}
