package dev.graft.runtime;

import dev.graft.bindings.Status;
import dev.graft.bindings.global.graft;
import dev.graft.bindings.graft_graph;
import org.bytedeco.javacpp.PointerPointer;

/**
 * Work of a device, captured once and launched as a whole; on CUDA a graph. It holds the addresses
 * and sizes of its capture; what changes from launch to launch is in the step state.
 */
public final class Graph implements AutoCloseable {
  private final Device device;
  private graft_graph graph;

  /** Captures what {@code work} enqueues on {@code device}; none of it runs. */
  Graph(Device device, Runnable work) {
    this.device = device;
    Status.check(graft.graft_capture_begin(device.context()));
    boolean recorded = false;
    try {
      work.run();
      recorded = true;
    } finally {
      end(recorded);
    }
    device.add(this);
  }

  /** Ended in any case, or the device could never wait again. */
  private void end(boolean recorded) {
    try (PointerPointer<graft_graph> out = new PointerPointer<>(1)) {
      int status = graft.graft_capture_end(device.context(), out);
      if (status == graft.GRAFT_OK) {
        graph = out.get(graft_graph.class);
      } else if (recorded) {
        Status.check(status);
      }
    }
    if (!recorded) {
      destroy();
    }
  }

  /** Enqueues the work; allocates nothing and does not wait. */
  public void launch() {
    if (graph == null) {
      throw new IllegalStateException("a captured graph was used after it was closed");
    }
    Device.check(graft.graft_graph_launch(device.context(), graph));
  }

  private void destroy() {
    if (graph != null) {
      graft.graft_graph_destroy(device.handle(), graph);
      graph = null;
    }
  }

  /** Frees the graph; a second call does nothing. */
  @Override
  public void close() {
    if (graph != null) {
      destroy();
      device.remove(this);
    }
  }
}
