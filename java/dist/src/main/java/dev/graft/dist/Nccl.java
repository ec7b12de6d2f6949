package dev.graft.dist;

import java.util.concurrent.TimeoutException;
import java.util.concurrent.locks.LockSupport;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.javacpp.chrono.Milliseconds;
import org.bytedeco.pytorch.Backend;
import org.bytedeco.pytorch.PrefixStore;
import org.bytedeco.pytorch.Store;
import org.bytedeco.pytorch.Work;
import org.bytedeco.pytorch.nccl.ProcessGroupNCCL;

/** NCCL's connections between the CUDA devices of the ranks, a device a rank. */
final class Nccl implements AutoCloseable {
  private static final long POLL_NANOS = 20_000;

  private final ProcessGroupNCCL backend;
  private final long timeoutMillis;

  private Nccl(ProcessGroupNCCL backend, long timeoutMillis) {
    this.backend = backend;
    this.timeoutMillis = timeoutMillis;
  }

  /**
   * Refuses, naming what is missing, unless NCCL can be loaded.
   *
   * @throws DistributedException if it cannot
   */
  private static void requirePresent(Rendezvous at) {
    try {
      Class.forName("org.bytedeco.pytorch.nccl.ProcessGroupNCCL");
    } catch (ClassNotFoundException | LinkageError e) {
      throw new DistributedException(
          at.rank(),
          at.size(),
          "there is no NCCL: put the -gpu classifier of org.bytedeco:pytorch and org.bytedeco:cuda"
              + " on the class path, and NCCL where CUDA's libraries are found",
          e);
    }
  }

  /**
   * Connects all ranks.
   *
   * @throws DistributedException if there is no NCCL
   */
  static Nccl connect(Rendezvous at, Store store) {
    requirePresent(at);
    long timeout = at.timeout().toMillis();
    try (PointerScope scope = new PointerScope()) {
      ProcessGroupNCCL.Options options = ProcessGroupNCCL.Options.create();
      // NCCL's own watchdog ends the whole process: await() must come first.
      options.timeout(new Milliseconds(2 * timeout + 60_000));
      ProcessGroupNCCL backend =
          new ProcessGroupNCCL(new PrefixStore("nccl", store), at.rank(), at.size(), options);
      return new Nccl(Gloo.kept(backend), timeout);
    } catch (RuntimeException e) {
      throw Gloo.failed(at, e);
    }
  }

  Backend backend() {
    return backend;
  }

  /** Returns when the device has done the work: waiting on it would only order torch's stream. */
  void await(Work work) {
    long start = System.nanoTime();
    while (!work.isCompleted()) {
      if (System.nanoTime() - start > timeoutMillis * 1_000_000) {
        backend.abort();
        throw new IllegalStateException(
            new TimeoutException(String.format("no answer within %,d ms", timeoutMillis)));
      }
      LockSupport.parkNanos(POLL_NANOS);
    }
    work._wait(); // throws what went wrong
  }

  @Override
  public void close() {
    backend.close();
  }
}
