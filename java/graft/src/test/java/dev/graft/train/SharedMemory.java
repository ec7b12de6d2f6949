package dev.graft.train;

import dev.graft.runtime.Tensor;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BrokenBarrierException;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** Exchanges between threads of one process: sums in the order of ranks. */
final class SharedMemory {
  private final CyclicBarrier barrier;
  private final Object[] given;

  SharedMemory(int size) {
    this.barrier = new CyclicBarrier(size);
    this.given = new Object[size];
  }

  /** The exchange of one rank, for one thread. */
  GradientExchange exchange(int rank) {
    return new Rank(rank);
  }

  private final class Rank implements GradientExchange {
    private final int rank;

    Rank(int rank) {
      this.rank = rank;
    }

    /** What all ranks gave, by rank. */
    private Object[] all(Object mine) {
      given[rank] = mine;
      barrier();
      Object[] all = given.clone();
      barrier();
      return all;
    }

    @Override
    public int rank() {
      return rank;
    }

    @Override
    public int size() {
      return given.length;
    }

    @Override
    public void sum(long[] values) {
      Object[] all = all(values.clone());
      Arrays.fill(values, 0);
      for (Object one : all) {
        Arrays.setAll(values, i -> values[i] + ((long[]) one)[i]);
      }
    }

    @Override
    public void sum(double[] values) {
      Object[] all = all(values.clone());
      Arrays.fill(values, 0);
      for (Object one : all) {
        Arrays.setAll(values, i -> values[i] + ((double[]) one)[i]);
      }
    }

    @Override
    public void sum(Tensor tensor) {
      float[] sum = new float[(int) tensor.count()];
      for (Object one : all(tensor.floats())) {
        for (int i = 0; i < sum.length; i++) {
          sum[i] += ((float[]) one)[i];
        }
      }
      tensor.put(0, sum);
    }

    @Override
    public void broadcast(long[] values) {
      System.arraycopy(all(values.clone())[0], 0, values, 0, values.length);
    }

    @Override
    public void broadcast(Tensor tensor) {
      tensor.put(0, (float[]) all(tensor.floats())[0]);
    }

    @Override
    public void requireSame(Map<String, String> settings) {
      if (!settings.equals(all(settings)[0])) {
        throw new IllegalStateException("settings differ");
      }
    }

    @Override
    public void requireSame(List<Tensor> tensors) {
      List<float[]> mine = tensors.stream().map(Tensor::floats).toList();
      float[][] first = ((List<?>) all(mine)[0]).toArray(float[][]::new);
      if (!Arrays.deepEquals(mine.toArray(float[][]::new), first)) {
        throw new IllegalStateException("tensors differ");
      }
    }

    @Override
    public void barrier() {
      try {
        barrier.await(1, TimeUnit.MINUTES);
      } catch (InterruptedException | BrokenBarrierException | TimeoutException e) {
        throw new IllegalStateException("rank " + rank, e);
      }
    }
  }
}
