// Sequences of a packed batch, and which keys a query sees.
#pragma once

#include "device.h"

namespace graft::cuda {

struct sequence {
  int64_t q_begin, k_begin;  // first rows in the packed arrays
  int q_count, k_count;
};

GRAFT_DEVICE sequence sequence_of(const int32_t* cu_seqlens_q, const int32_t* cu_seqlens_k,
                                  int64_t b) {
  const int q0 = cu_seqlens_q[b], q1 = cu_seqlens_q[b + 1];
  const int k0 = cu_seqlens_k[b], k1 = cu_seqlens_k[b + 1];
  return {q0, k0, q1 - q0, k1 - k0};
}

// The number of keys, from the first, that query i sees; the causal mask is aligned at the bottom
// right. Queries beyond the last count as the last: their results are not stored, and the sums stay
// within int for lengths up to 2^31 - 1.
struct key_limit {
  int q_count, k_count;
  bool causal;

  __device__ __forceinline__ int operator()(int i) const {
    if (!causal) return k_count;
    const int row = i < q_count ? i : q_count - 1;
    const int seen = k_count - q_count + 1 + row;
    return seen > 0 ? seen : 0;
  }
};

// Scores of keys from limit(row) on become -inf. Element s[m][n][e] of a lane is query
// row + 16 m + 8 (e / 2) and key j0 + 8 n + 2 (lane % 4) + e % 2; `row` is the lane's first.
template <int row_blocks, int key_blocks>
GRAFT_DEVICE void mask_scores(float (&s)[row_blocks][key_blocks][4], const key_limit& limit, int row,
                              int j0) {
  const int column = 2 * (lane_id() % 4);
  GRAFT_UNROLL
  for (int m = 0; m < row_blocks; ++m) {
    GRAFT_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int live = limit(row + 16 * m + 8 * half) - j0 - column;
      GRAFT_UNROLL
      for (int n = 0; n < key_blocks; ++n) {
        if (8 * n >= live) s[m][n][2 * half] = -INFINITY;
        if (8 * n + 1 >= live) s[m][n][2 * half + 1] = -INFINITY;
      }
    }
  }
}

}  // namespace graft::cuda
