package dev.graft.dist;

import dev.graft.runtime.Address;
import dev.graft.runtime.Device;
import dev.graft.runtime.Tensor;
import dev.graft.torch.TorchTensors;
import java.util.function.Consumer;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.DoublePointer;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.AllreduceOptions;
import org.bytedeco.pytorch.Backend;
import org.bytedeco.pytorch.BroadcastOptions;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Store;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.Work;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * The processes of a run and what they can do together. Host memory goes over Gloo, the memory of
 * CUDA devices over NCCL; tensors are read and written where they lie.
 *
 * <p>Every operation is collective: all ranks call the same ones in the same order with the same
 * sizes, from one thread a rank. A sum over ranks has the same bits on every rank and, for the same
 * number of ranks, in every run. A failed operation leaves its tensor undefined and the group
 * unusable, and is a {@link DistributedException}.
 */
public final class ProcessGroup implements AutoCloseable {
  private final Rendezvous at;
  private final Store store;
  private final Backend host;
  private Nccl nccl;
  private DistributedException failure;
  private boolean closed;

  private ProcessGroup(Rendezvous at, Store store, Backend host) {
    this.at = at;
    this.store = store;
    this.host = host;
  }

  /**
   * Meets the other ranks; returns when all are there. NCCL joins when the first tensor of a CUDA
   * device comes.
   *
   * @throws DistributedException if they do not meet within the timeout
   */
  public static ProcessGroup open(Rendezvous at) {
    Store store = Gloo.store(at);
    Backend host = null;
    try {
      host = Gloo.connect(at, store);
      ProcessGroup group = new ProcessGroup(at, store, host);
      group.barrier();
      return group;
    } catch (RuntimeException e) {
      release(null, host, store);
      throw e;
    }
  }

  /** This process, 0 to {@link #size} − 1. */
  public int rank() {
    return at.rank();
  }

  /** Number of processes. */
  public int size() {
    return at.size();
  }

  /** Adds up each element over all ranks, in place. */
  public void allReduceSum(Tensor tensor) {
    onDevice("all-reduce of " + tensor, tensor, ProcessGroup::allReduce);
  }

  /** Takes over the elements rank {@code root} has. */
  public void broadcast(Tensor tensor, int root) {
    requireRank(root);
    onDevice("broadcast of " + tensor, tensor, (backend, list) -> broadcast(backend, list, root));
  }

  /** Adds up each element over all ranks, in place. */
  public void allReduceSum(long[] values) {
    longs("all-reduce of " + values.length + " counts", values, ProcessGroup::allReduce);
  }

  /** Adds up each element over all ranks, in place. */
  public void allReduceSum(double[] values) {
    try (DoublePointer memory = new DoublePointer(Math.max(1, values.length))) {
      memory.put(values, 0, values.length);
      onHost(
          "all-reduce of " + values.length + " sums",
          memory,
          values.length,
          ScalarType.Double,
          ProcessGroup::allReduce);
      memory.get(values, 0, values.length);
    }
  }

  /** Takes over the elements rank {@code root} has. */
  public void broadcast(long[] values, int root) {
    requireRank(root);
    longs(
        "broadcast of " + values.length + " numbers",
        values,
        (backend, list) -> broadcast(backend, list, root));
  }

  /** The bytes rank {@code root} gave; those of the others do not matter, nor their number. */
  public byte[] broadcast(byte[] bytes, int root) {
    long[] length = {bytes.length};
    broadcast(length, root);
    byte[] out = at.rank() == root ? bytes.clone() : new byte[Math.toIntExact(length[0])];
    try (BytePointer memory = new BytePointer(Math.max(1L, out.length))) {
      memory.put(out, 0, out.length);
      onHost(
          "broadcast of " + out.length + " bytes",
          memory,
          out.length,
          ScalarType.Byte,
          (backend, list) -> broadcast(backend, list, root));
      memory.get(out, 0, out.length);
    }
    return out;
  }

  /** Returns when all ranks have called it. */
  public void barrier() {
    // A sum is there only when everybody has given a part.
    longs("barrier", new long[1], ProcessGroup::allReduce);
  }

  /** Starts an operation on a list of one tensor. */
  private interface Collective {
    Work start(Backend backend, TensorVector list);
  }

  // Options and tensors belong to the caller's pointer scope.

  private static Work allReduce(Backend backend, TensorVector list) {
    return backend.allreduce(list, new AllreduceOptions());
  }

  private static Work broadcast(Backend backend, TensorVector list, int root) {
    BroadcastOptions options = new BroadcastOptions();
    options.rootRank(root).rootTensor(0);
    return backend.broadcast(list, options);
  }

  private void longs(String what, long[] values, Collective collective) {
    try (LongPointer memory = new LongPointer(Math.max(1, values.length))) {
      memory.put(values, 0, values.length);
      onHost(what, memory, values.length, ScalarType.Long, collective);
      memory.get(values, 0, values.length);
    }
  }

  private void onHost(
      String what, Pointer memory, long count, ScalarType type, Collective collective) {
    run(
        what,
        memory,
        count,
        new TensorSpec(type, null),
        list -> collective.start(host, list)._wait());
  }

  private void onDevice(String what, Tensor tensor, Collective collective) {
    requireUsable();
    Device device = tensor.device();
    ScalarType type = TorchTensors.scalarType(tensor.dtype());
    Pointer memory = new Address(tensor.address());
    if (device.name().equals("cpu")) {
      onHost(what, memory, tensor.count(), type, collective);
      return;
    }
    if (nccl == null) {
      nccl = Nccl.connect(at, store);
    }
    device.synchronize();
    run(
        what,
        memory,
        tensor.count(),
        new TensorSpec(type, device.name()),
        list -> nccl.await(collective.start(nccl.backend(), list)));
  }

  /** dtype and place of a libtorch tensor; null is host memory. */
  private record TensorSpec(ScalarType type, String place) {
    TensorOptions options() {
      TensorOptions options =
          place == null
              ? new TensorOptions()
              : new TensorOptions(new org.bytedeco.pytorch.Device(place));
      return options.dtype(new ScalarTypeOptional(type));
    }
  }

  private void run(
      String what, Pointer memory, long count, TensorSpec spec, Consumer<TensorVector> operation) {
    requireUsable();
    if (count == 0) {
      return;
    }
    try (PointerScope scope = new PointerScope()) {
      operation.accept(
          new TensorVector(torch.from_blob(memory, new long[] {count}, spec.options())));
    } catch (RuntimeException e) {
      failure =
          new DistributedException(at.rank(), at.size(), what + " failed: " + Gloo.firstLine(e), e);
      throw failure;
    }
  }

  private void requireRank(int root) {
    if (root < 0 || root >= at.size()) {
      throw new IllegalArgumentException(
          "root: expected rank 0 to " + (at.size() - 1) + ", got " + root);
    }
  }

  private void requireUsable() {
    if (closed) {
      throw new IllegalStateException("process group was used after it was closed");
    }
    if (failure != null) {
      throw new DistributedException(
          at.rank(), at.size(), "the group cannot be used since an operation failed", failure);
    }
  }

  private static void release(Nccl nccl, Backend host, Store store) {
    if (nccl != null) {
      nccl.close();
    }
    if (host != null) {
      host.close();
    }
    store.close();
  }

  /**
   * Leaves the group; the other ranks' later operations fail. A second call does nothing.
   *
   * <p>A process has one group and closes it at its end: opening and closing hundreds in one
   * process has crashed in libtorch's threads.
   */
  @Override
  public void close() {
    if (!closed) {
      closed = true;
      release(nccl, host, store);
    }
  }
}
