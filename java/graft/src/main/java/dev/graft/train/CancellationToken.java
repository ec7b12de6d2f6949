package dev.graft.train;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/**
 * Asks a run to stop from any thread: the trainer finishes the step it is in, saves a checkpoint if
 * it has a run directory, and returns with {@link TrainingResult#cancelled()}. Cancelling twice is
 * the same as once.
 */
public final class CancellationToken {
  private volatile boolean cancelled;
  private volatile CountDownLatch running;

  /** Asks to stop. */
  public void cancel() {
    cancelled = true;
  }

  public boolean isCancelled() {
    return cancelled;
  }

  /** Whether a run listens to it now, so that cancelling saves what was trained. */
  public boolean isRunning() {
    CountDownLatch latch = running;
    return latch != null && latch.getCount() > 0;
  }

  /** The trainer began to listen to this token. */
  void begin() {
    running = new CountDownLatch(1);
  }

  /** The trainer returned, everything it saves is saved. */
  void end() {
    CountDownLatch latch = running;
    if (latch != null) {
      latch.countDown();
    }
  }

  /**
   * Waits until the run that listens to this token has returned; what a shutdown hook does after
   * {@link #cancel}, for the process must not end before the checkpoint is there.
   *
   * @return false if it was still running after the time
   */
  public boolean awaitEnd(long time, TimeUnit unit) throws InterruptedException {
    CountDownLatch latch = running;
    return latch == null || latch.await(time, unit);
  }
}
