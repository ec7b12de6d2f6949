package dev.graft.runtime;

import java.util.concurrent.atomic.AtomicReference;

/**
 * Base of everything that owns native memory: closed once, and a later use says who closed it. Not
 * backed by the garbage collector on purpose: native memory has one owner who gives it back.
 */
abstract class NativeOwner implements AutoCloseable {
  private final AtomicReference<Throwable> closedBy = new AtomicReference<>();

  /** Frees what is owned. Called once. */
  protected abstract void release();

  /** What users read in messages. */
  protected abstract String description();

  public final boolean isOpen() {
    return closedBy.get() == null;
  }

  /** Throws {@link IllegalStateException} carrying the closing stack if this was closed. */
  public final void requireOpen() {
    Throwable closer = closedBy.get();
    if (closer != null) {
      throw new IllegalStateException(description() + " was used after it was closed", closer);
    }
  }

  /** Frees the native memory. A second call does nothing. */
  @Override
  public final void close() {
    Throwable here =
        new Throwable(description() + " was closed by " + Thread.currentThread().getName());
    if (closedBy.compareAndSet(null, here)) {
      release();
    }
  }
}
