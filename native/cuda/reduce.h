// Sums over the threads of a block in a fixed order, and maxima.
#pragma once

#include "device.h"

namespace graft::cuda {

template <typename T>
GRAFT_DEVICE T warp_sum(T x) {
  GRAFT_UNROLL
  for (int step = warp_size / 2; step > 0; step /= 2) x += shuffle_xor(x, step);
  return x;
}

// The sum over the block, in every thread. `scratch` is shared, [threads / warp_size], and free
// again afterwards.
template <int threads, typename T>
GRAFT_DEVICE T block_sum(T x, T* scratch) {
  x = warp_sum(x);
  if (lane_id() == 0) scratch[warp_id()] = x;
  sync_threads();
  T sum = scratch[0];
  GRAFT_UNROLL
  for (int warp = 1; warp < threads / warp_size; ++warp) sum += scratch[warp];
  sync_threads();
  return sum;
}

// The largest over the block, in every thread; NaN only if all are. `scratch` as for block_sum.
template <int threads>
GRAFT_DEVICE float block_maximum(float x, float* scratch) {
  GRAFT_UNROLL
  for (int step = warp_size / 2; step > 0; step /= 2) x = maximum(x, shuffle_xor(x, step));
  if (lane_id() == 0) scratch[warp_id()] = x;
  sync_threads();
  x = scratch[0];
  GRAFT_UNROLL
  for (int warp = 1; warp < threads / warp_size; ++warp) x = maximum(x, scratch[warp]);
  sync_threads();
  return x;
}

}  // namespace graft::cuda
