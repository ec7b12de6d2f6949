package dev.graft.io;

import java.io.IOException;
import java.time.Duration;

/**
 * Counts the faults of a request that may pass if it is made again, and waits longer after each.
 */
final class HubRetry {
  /** A server that asks for a longer pause is not waited for. */
  private static final Duration LONGEST_PAUSE = Duration.ofSeconds(60);

  /** A fault that may pass: no answer, an answer cut short, a server too busy. */
  static final class Fault extends IOException {
    private static final long serialVersionUID = 1L;

    /** What the server asks for; null if nothing. */
    final transient Duration pause;

    Fault(String message, Duration pause, Throwable cause) {
      super(message, cause);
      this.pause = pause;
    }
  }

  /** The hub cannot be used now; it is nobody's mistake. */
  static final class Unreachable extends InvalidInputException {
    private static final long serialVersionUID = 1L;

    Unreachable(String message, Throwable cause) {
      super(message, cause);
    }
  }

  private final HubName name;
  private final Duration first;
  private final int attempts;
  private final HubListener listener;
  private int faults;

  HubRetry(HubName name, Duration first, int attempts, HubListener listener) {
    this.name = name;
    this.first = first;
    this.attempts = attempts;
    this.listener = listener;
  }

  /** Something was gained: earlier faults no longer count. */
  void progressed() {
    faults = 0;
  }

  /** Returns when it is time for another attempt. */
  void failed(Fault fault) {
    faults++;
    Duration pause = fault.pause != null ? fault.pause : first.multipliedBy(1L << (faults - 1));
    boolean patient = pause.compareTo(LONGEST_PAUSE) <= 0;
    if (faults >= attempts || !patient) {
      throw new Unreachable(
          name
              + ": "
              + fault.getMessage()
              + (patient ? "" : "; it asks to wait " + pause.toSeconds() + " s")
              + "; try again later",
          fault);
    }
    listener.onNote(name + ": " + fault.getMessage() + "; trying again");
    try {
      Thread.sleep(pause.toMillis());
    } catch (InterruptedException e) {
      throw interrupted(name, e);
    }
  }

  static InvalidInputException interrupted(HubName name, InterruptedException e) {
    Thread.currentThread().interrupt();
    return new InvalidInputException(name + ": the download was interrupted", e);
  }
}
