package dev.graft.train;

import dev.graft.runtime.Tensor;
import java.util.List;
import java.util.Map;

/**
 * What the ranks of a data-parallel run tell each other. Ranks are processes that train the same
 * network, each on its share of every optimizer step: rank r of n takes the micro-steps r, r + n, r
 * + 2n and so on. The step's gradient is the sum over all ranks, so all of them make the same
 * update.
 *
 * <p>Every method is collective: all ranks call the same ones in the same order with arguments of
 * the same sizes, on the thread that trains. What comes out is the same on every rank, bit by bit.
 */
public interface GradientExchange {
  /** One process alone: there is nobody to tell. */
  GradientExchange NONE = new OneProcess();

  /** This process, 0 to {@link #size} − 1. Rank 0 writes the run's files. */
  int rank();

  /** Number of processes. */
  int size();

  /** Adds up each element over all ranks, in place. */
  void sum(long[] values);

  /** Adds up each element over all ranks, in place. */
  void sum(double[] values);

  /** Adds up each element over all ranks, in place; fp32, on the network's device. */
  void sum(Tensor tensor);

  /** Takes over the values of rank 0. */
  void broadcast(long[] values);

  /** Takes over the values of rank 0. */
  void broadcast(Tensor tensor);

  /**
   * Ends the run on all ranks, naming the differences, unless all have the same settings.
   *
   * @param settings value by name
   */
  void requireSame(Map<String, String> settings);

  /** Ends the run on all ranks, naming those that differ, unless all have bit-identical tensors. */
  void requireSame(List<Tensor> tensors);

  /** Returns when all ranks have called it. */
  void barrier();
}
