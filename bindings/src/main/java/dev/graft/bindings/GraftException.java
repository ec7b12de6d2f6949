package dev.graft.bindings;

import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A native call refused or failed. The message names the op, the argument, what was expected and
 * what came; the subclass tells the kind.
 */
public class GraftException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /** How native messages begin: {@code op: argument: …} or {@code op: …}. */
  private static final Pattern ORIGIN =
      Pattern.compile("([a-z][a-z0-9_]*): (?:([A-Za-z_][A-Za-z0-9_, ]*): )?.*", Pattern.DOTALL);

  private final int status;
  private final String op;
  private final String argument;

  GraftException(int status, String message) {
    super(message);
    this.status = status;
    Matcher origin = ORIGIN.matcher(message);
    boolean found = origin.matches();
    this.op = found ? origin.group(1) : null;
    this.argument = found ? origin.group(2) : null;
  }

  /** The {@code graft_status} of graft.h. */
  public int status() {
    return status;
  }

  /**
   * The op that refused or failed, for example {@code "add_norm"}; empty if the library named none.
   */
  public Optional<String> op() {
    return Optional.ofNullable(op);
  }

  /** The argument at fault, for example {@code "channels"}; empty if it is no single one. */
  public Optional<String> argument() {
    return Optional.ofNullable(argument);
  }

  /** A size, stride, count or value is out of range. */
  public static final class InvalidShape extends GraftException {
    private static final long serialVersionUID = 1L;

    InvalidShape(int status, String message) {
      super(status, message);
    }
  }

  /** A dtype the op does not take. */
  public static final class InvalidDtype extends GraftException {
    private static final long serialVersionUID = 1L;

    InvalidDtype(int status, String message) {
      super(status, message);
    }
  }

  /** A pointer is not aligned to its element. */
  public static final class InvalidAlignment extends GraftException {
    private static final long serialVersionUID = 1L;

    InvalidAlignment(int status, String message) {
      super(status, message);
    }
  }

  /** A null pointer, an unknown flag, a struct of the wrong size. */
  public static final class InvalidArgument extends GraftException {
    private static final long serialVersionUID = 1L;

    InvalidArgument(int status, String message) {
      super(status, message);
    }
  }

  /** The request is right, but this backend or machine cannot do it. */
  public static final class Unsupported extends GraftException {
    private static final long serialVersionUID = 1L;

    Unsupported(int status, String message) {
      super(status, message);
    }
  }

  /** No native memory; the message says how much was asked for. */
  public static final class OutOfNativeMemory extends GraftException {
    private static final long serialVersionUID = 1L;

    OutOfNativeMemory(int status, String message) {
      super(status, message);
    }
  }

  /** The device reported an error for this or an earlier call. */
  public static final class DeviceError extends GraftException {
    private static final long serialVersionUID = 1L;

    DeviceError(int status, String message) {
      super(status, message);
    }
  }

  /** An earlier error was fatal to the device in this process. */
  public static final class DeviceLost extends GraftException {
    private static final long serialVersionUID = 1L;

    DeviceLost(int status, String message) {
      super(status, message);
    }
  }

  /** A defect of the library. */
  public static final class Internal extends GraftException {
    private static final long serialVersionUID = 1L;

    Internal(int status, String message) {
      super(status, message);
    }
  }
}
