package dev.graft;

import dev.graft.model.Network;
import dev.graft.runtime.Device;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Function;

/**
 * A tool over a model's shared weights with a context of its own, for one thread at a time. It
 * follows the model when a fit replaces its network.
 */
final class Worker<T extends AutoCloseable> implements AutoCloseable {
  private final PreTrainedModel model;
  private final String name;
  private final int threads;
  private final Function<Network, T> make;
  private final AtomicReference<Thread> user = new AtomicReference<>();
  private volatile Throwable closer;
  private Device device;
  private Network source;
  private int changes;
  private Network shared;
  private T tool;

  Worker(PreTrainedModel model, String name, int threads, Function<Network, T> make) {
    this.model = model;
    this.name = name;
    this.threads = threads;
    this.make = make;
    model.add(this);
  }

  /**
   * Uses the tool.
   *
   * @throws IllegalStateException if another thread is using it, or it or the model is closed
   */
  <R> R call(String what, Function<T, R> work) {
    try (Gate.Use use = model.gate().read(what)) {
      if (!user.compareAndSet(null, Thread.currentThread())) {
        throw new IllegalStateException(
            name + " serves one thread and is in use by " + user.get() + "; make one a thread");
      }
      try {
        if (closer != null) {
          throw new IllegalStateException(name + " was used after it was closed", closer);
        }
        prepare();
        device.activate();
        return work.apply(tool);
      } finally {
        user.set(null);
        if (closer != null) {
          freeIfUnused();
        }
      }
    }
  }

  private void prepare() {
    Network current = model.network();
    // An adapter that came or went leaves recorded steps behind.
    if (source == current && changes == current.changes()) {
      return;
    }
    free();
    device = Device.open(model.options().device(), threads);
    shared = current.shareOn(device);
    tool = make.apply(shared);
    source = current;
    changes = current.changes();
  }

  private void free() {
    try {
      if (tool != null) {
        tool.close();
      }
    } catch (RuntimeException e) {
      throw e;
    } catch (Exception e) {
      throw new IllegalStateException(e);
    } finally {
      if (shared != null) {
        shared.close();
      }
      if (device != null) {
        device.close();
      }
      tool = null;
      shared = null;
      device = null;
      source = null;
    }
  }

  private void freeIfUnused() {
    if (user.compareAndSet(null, Thread.currentThread())) {
      try {
        free();
      } finally {
        user.set(null);
      }
    }
  }

  @Override
  public void close() {
    if (closer == null) {
      closer = new Throwable(name + " was closed by " + Thread.currentThread().getName());
      model.remove(this);
    }
    freeIfUnused();
  }
}
