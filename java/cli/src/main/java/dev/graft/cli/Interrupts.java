package dev.graft.cli;

import dev.graft.train.CancellationToken;
import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import sun.misc.Signal;
import sun.misc.SignalHandler;

/**
 * Ctrl-C (SIGINT) and SIGTERM while a run trains: the first ends it after the step it is in, with a
 * checkpoint; a second ends the process at once, which no file minds, for all are written aside and
 * renamed. While nothing is trained yet the first ends it at once.
 */
final class Interrupts implements AutoCloseable {
  private static final int NONE = 0;

  private final CancellationToken token;
  private final PrintWriter err;
  private final AtomicInteger code = new AtomicInteger(NONE);
  private final List<Runnable> restore = new ArrayList<>();

  Interrupts(CancellationToken token, PrintWriter err) {
    this.token = token;
    this.err = err;
    handle("INT", ExitCode.INTERRUPTED);
    handle("TERM", ExitCode.TERMINATED);
  }

  private void handle(String name, int exitCode) {
    Signal signal = new Signal(name);
    try {
      SignalHandler before = Signal.handle(signal, s -> stop(exitCode));
      restore.add(() -> Signal.handle(signal, before));
    } catch (IllegalArgumentException e) {
      // The JVM was told to leave signals alone (-Xrs): they end it at once, as asked.
    }
  }

  private void stop(int exitCode) {
    if (code.compareAndSet(NONE, exitCode) && token.isRunning()) {
      token.cancel();
      err.println();
      err.println("graft: stopping after this step to save; once more ends at once");
      err.flush();
      return;
    }
    if (!token.isRunning()) {
      err.println();
      err.println("graft: interrupted before the first step");
      err.flush();
    }
    // Not exit: shutdown hooks would wait for the step.
    Runtime.getRuntime().halt(exitCode);
  }

  /** The exit code of a run that was stopped. */
  int exitCode() {
    return code.get() == NONE ? ExitCode.INTERRUPTED : code.get();
  }

  @Override
  public void close() {
    restore.forEach(Runnable::run);
  }
}
