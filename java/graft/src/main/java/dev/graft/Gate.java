package dev.graft;

/**
 * Who uses a model: many readers, or one that changes it. Nobody waits; a use that does not fit is
 * refused by name. Closing during a use frees the model when the last one leaves.
 */
final class Gate {
  private final String model;
  private final Runnable release;
  private int readers;
  private String writer;
  private Throwable closer;

  /** A use; closed when it ends. */
  interface Use extends AutoCloseable {
    @Override
    void close();
  }

  Gate(String model, Runnable release) {
    this.model = model;
    this.release = release;
  }

  /** Begins a use that leaves the weights as they are. */
  synchronized Use read(String what) {
    requireOpen();
    if (writer != null) {
      throw new IllegalStateException(
          model + ": " + what + " is not possible while " + writer + " changes the model");
    }
    readers++;
    return this::endRead;
  }

  /** Begins a use that changes the weights, alone. */
  synchronized Use write(String what) {
    requireOpen();
    if (writer != null || readers > 0) {
      throw new IllegalStateException(
          model
              + ": "
              + what
              + " needs the model alone, but "
              + (writer != null ? writer + " is running" : readers + " other calls are running"));
    }
    writer = what;
    return this::endWrite;
  }

  private void endRead() {
    boolean last;
    synchronized (this) {
      readers--;
      last = readers == 0 && closer != null;
    }
    if (last) {
      release.run();
    }
  }

  private void endWrite() {
    boolean last;
    synchronized (this) {
      writer = null;
      last = closer != null;
    }
    if (last) {
      release.run();
    }
  }

  void close() {
    synchronized (this) {
      if (closer != null) {
        return;
      }
      closer = new Throwable(model + " was closed by " + Thread.currentThread().getName());
      if (readers > 0 || writer != null) {
        return;
      }
    }
    release.run();
  }

  private void requireOpen() {
    if (closer != null) {
      throw new IllegalStateException(model + " was used after it was closed", closer);
    }
  }
}
