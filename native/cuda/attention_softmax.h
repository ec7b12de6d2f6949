// The running softmax of FlashAttention-2 (arXiv:2307.08691, algorithm 1, lines 8 to 10) over
// accumulator fragments: a lane holds two rows of each block of 16, shared by the four lanes of its
// quad.
#pragma once

#include "device.h"

namespace graft::cuda {

constexpr float log2_e = 1.44269504f;
constexpr float ln_2 = 0.693147181f;

GRAFT_DEVICE float quad_max(float x) {
  x = maximum(x, shuffle_xor(x, 1));
  return maximum(x, shuffle_xor(x, 2));
}
GRAFT_DEVICE float quad_sum(float x) {
  x += shuffle_xor(x, 1);
  return x + shuffle_xor(x, 2);
}

template <int row_blocks, int key_blocks>
GRAFT_DEVICE void negate(float (&s)[row_blocks][key_blocks][4]) {
  GRAFT_UNROLL
  for (int m = 0; m < row_blocks; ++m) {
    GRAFT_UNROLL
    for (int n = 0; n < key_blocks; ++n) {
      GRAFT_UNROLL
      for (int e = 0; e < 4; ++e) s[m][n][e] = -s[m][n][e];
    }
  }
}

template <int row_blocks>
struct running_softmax {
  // In units of log2: the largest score so far times scale * log2(e), rounded once. Probabilities,
  // rescaling and the log-sum-exp all take this same number, so its rounding cancels.
  float row_max[row_blocks][2];
  float row_sum[row_blocks][2];  // this lane's columns only; the quad's are added at the end

  __device__ __forceinline__ running_softmax() {
    GRAFT_UNROLL
    for (int m = 0; m < row_blocks; ++m) {
      row_max[m][0] = row_max[m][1] = -INFINITY;
      row_sum[m][0] = row_sum[m][1] = 0.0f;
    }
  }

  // A row that has seen nothing but -inf (every key masked so far, or logits of -inf) has no maximum
  // to subtract: -inf - (-inf) would be NaN, and exp2(-inf - 0) is the 0 wanted.
  __device__ __forceinline__ float shift(int m, int half) const {
    return row_max[m][half] == -INFINITY ? 0.0f : row_max[m][half];
  }

  // Scores of block m become exp(scale * s - max). `shrink`: what the sums so far have to be multiplied
  // by for what the maximum grew; row_sum is already. Returns whether one grew. scale_log2 > 0.
  template <int key_blocks>
  __device__ __forceinline__ bool exponentials(float (&s)[key_blocks][4], int m, float scale_log2,
                                               float (&shrink)[2]) {
    bool grew = false;
    GRAFT_UNROLL
    for (int half = 0; half < 2; ++half) {
      float highest = maximum(s[0][2 * half], s[0][2 * half + 1]);
      GRAFT_UNROLL
      for (int n = 1; n < key_blocks; ++n)
        highest = maximum(highest, maximum(s[n][2 * half], s[n][2 * half + 1]));
      const float old = row_max[m][half];
      row_max[m][half] = maximum(old, quad_max(highest) * scale_log2);
      grew |= row_max[m][half] != old;
      const float now = shift(m, half);
      shrink[half] = exp2_approx(old - now);
      float sum = 0.0f;
      GRAFT_UNROLL
      for (int n = 0; n < key_blocks; ++n) {
        GRAFT_UNROLL
        for (int e = 2 * half; e < 2 * half + 2; ++e) {
          s[n][e] = exp2_approx(fma_rn(s[n][e], scale_log2, -now));
          sum += s[n][e];
        }
      }
      row_sum[m][half] = fma_rn(row_sum[m][half], shrink[half], sum);
    }
    return grew;
  }

  // Scores become exp(scale * s - max); sums and o shrink by what the maximum grew. scale_log2 > 0.
  template <int key_blocks, int columns>
  __device__ __forceinline__ void add_tile(float (&s)[row_blocks][key_blocks][4],
                             float (&o)[row_blocks][columns][4], float scale_log2) {
    GRAFT_UNROLL
    for (int m = 0; m < row_blocks; ++m) {
      float shrink[2];
      // Where no maximum of the block grew the factors are 1: after the first tiles, the usual case.
      if (!warp_any(exponentials(s[m], m, scale_log2, shrink))) continue;
      GRAFT_UNROLL
      for (int n = 0; n < columns; ++n) {
        GRAFT_UNROLL
        for (int e = 0; e < 4; ++e) o[m][n][e] *= shrink[e / 2];
      }
    }
  }
};

}  // namespace graft::cuda
