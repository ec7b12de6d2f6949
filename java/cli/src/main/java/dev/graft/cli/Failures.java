package dev.graft.cli;

import dev.graft.bindings.GraftException;
import dev.graft.io.InvalidInputException;
import dev.graft.runtime.DeviceUnavailableException;
import dev.graft.runtime.OutOfDeviceMemoryException;
import dev.graft.train.NonFiniteTrainingException;
import java.io.PrintWriter;
import java.util.List;
import picocli.CommandLine;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.UnmatchedArgumentException;

/** What a failure says on standard error, and the exit code it has. */
final class Failures {
  private Failures() {}

  /**
   * Reports what a command threw.
   *
   * @return the exit code
   */
  static int report(Throwable failure, PrintWriter err, boolean verbose) {
    if (failure instanceof StandardStreams.OutputFailed output && output.readerGone()) {
      return ExitCode.READER_GONE;
    }
    String message = oneLine(failure.getMessage());
    int code = ExitCode.FAILED;
    if (isInput(failure)) {
      err.println("graft: " + message);
      code = ExitCode.INVALID_INPUT;
    } else if (failure instanceof OutOfMemoryError) {
      err.println(
          "graft: the Java heap is full (" + message + "); JAVA_OPTS=-Xmx8g makes it larger");
    } else if (isMachine(failure)) {
      err.println("graft: " + message);
    } else {
      err.println("graft: a defect: " + failure.getClass().getSimpleName() + ": " + message);
      if (!verbose) {
        err.println("Please report it with what --verbose shows.");
      }
    }
    if (verbose) {
      failure.printStackTrace(err);
    }
    err.flush();
    return code;
  }

  /** Reports a wrong command line. */
  static int usage(ParameterException failure) {
    CommandLine command = failure.getCommandLine();
    PrintWriter err = command.getErr();
    err.println("graft: " + oneLine(failure.getMessage()));
    if (failure instanceof UnmatchedArgumentException unmatched) {
      List<String> suggestions = unmatched.getSuggestions();
      if (!suggestions.isEmpty()) {
        err.println("Did you mean " + String.join(" or ", suggestions) + "?");
      }
    }
    err.println("Try: " + command.getCommandSpec().qualifiedName() + " --help");
    err.flush();
    return ExitCode.INVALID_INPUT;
  }

  /**
   * An argument check of Graft's own API answers what the user gave; the same exception out of a
   * library is a defect of the call.
   */
  private static boolean isInput(Throwable failure) {
    if (failure instanceof InvalidInputException
        || failure instanceof DeviceUnavailableException
        || failure instanceof OutOfDeviceMemoryException
        || failure instanceof StandardStreams.OutputFailed) {
      return true;
    }
    StackTraceElement[] stack = failure.getStackTrace();
    return failure instanceof IllegalArgumentException
        && stack.length > 0
        && stack[0].getClassName().startsWith("dev.graft.");
  }

  private static boolean isMachine(Throwable failure) {
    for (Throwable e = failure; e != null; e = e.getCause()) {
      if (e instanceof NonFiniteTrainingException
          || e instanceof GraftException.OutOfNativeMemory
          || e instanceof GraftException.DeviceError
          || e instanceof GraftException.DeviceLost
          || e instanceof GraftException.Unsupported) {
        return true;
      }
    }
    return false;
  }

  private static String oneLine(String message) {
    return message == null ? "no reason given" : message.strip().replaceAll("\\s*\\R\\s*", " ");
  }
}
