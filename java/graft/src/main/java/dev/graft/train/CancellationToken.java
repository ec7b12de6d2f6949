package dev.graft.train;

import java.util.concurrent.TimeUnit;

/**
 * Asks runs to stop from any thread: each trainer that listens finishes the step it is in, saves a
 * checkpoint if it has a run directory, and returns with {@link TrainingResult#cancelled()}.
 * Cancelling twice is the same as once.
 */
public final class CancellationToken {
  private volatile boolean cancelled;
  private int running;

  /** Asks to stop. */
  public void cancel() {
    cancelled = true;
  }

  public boolean isCancelled() {
    return cancelled;
  }

  /** Whether a run listens to it now, so that cancelling saves what was trained. */
  public synchronized boolean isRunning() {
    return running > 0;
  }

  /** A run that listens; closed when it ended. */
  public interface Listening extends AutoCloseable {
    @Override
    void close();
  }

  /** For a run of several trainings: it listens from now on, between them, too. */
  public Listening listen() {
    begin();
    return this::end;
  }

  /** A trainer began to listen to this token. */
  synchronized void begin() {
    running++;
  }

  /** A trainer returned, everything it saves is saved. */
  synchronized void end() {
    running--;
    notifyAll();
  }

  /**
   * Waits until no run listens to this token any more; what a shutdown hook does after {@link
   * #cancel}, for the process must not end before the checkpoint is there.
   *
   * @return false if one was still running after the time
   */
  public synchronized boolean awaitEnd(long time, TimeUnit unit) throws InterruptedException {
    long end = System.nanoTime() + unit.toNanos(time);
    while (running > 0) {
      long left = end - System.nanoTime();
      if (left <= 0) {
        return false;
      }
      TimeUnit.NANOSECONDS.timedWait(this, left);
    }
    return true;
  }
}
