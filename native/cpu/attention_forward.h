// How a span of the forward passes begins and ends: running maxima, sums and outputs of its rows.
#pragma once

#include <cmath>

#include "attention_pack.h"

namespace graft::GRAFT_ISA {

template <typename Tiles>
static inline void start_rows(const Tiles& t, int64_t rows, int64_t head_dim) {
  for (int64_t i = 0; i < round_up(rows, W); ++i) t.row_max[i] = -INFINITY;
  std::memset(t.row_sum, 0, static_cast<size_t>(rows * W) * sizeof(float));
  std::memset(t.out, 0, static_cast<size_t>(rows * tile_row(head_dim)) * sizeof(float));
}

// out and the log-sum-exp of queries [first, first + rows) from the sums over all their keys; `natural`: of
// a maximum as it was kept to one of natural logarithms.
template <typename T, typename Tiles>
static inline void write_rows(const graft_attention_args& a, const sequence& s, int64_t h,
                              int64_t first, int64_t rows, const Tiles& t, float natural) {
  const int64_t d = a.head_dim, row = tile_row(d);
  T* out = static_cast<T*>(a.out) + (s.q_begin + first) * a.out_token_stride + h * d;
  float* lse = a.lse + h * a.tokens_q + s.q_begin + first;
  for (int64_t i = 0; i < rows; ++i) {
    const float sum = sum_lanes(load(t.row_sum + i * W));
    const bool empty = sum == 0.0f;
    // A row without keys: its output is 0 whatever V holds, and its log-sum-exp -inf.
    if (empty) std::memset(t.out + i * row, 0, static_cast<size_t>(row) * sizeof(float));
    lse[i] = empty ? -INFINITY : t.row_max[i] * natural + std::log(sum);
    unpack_row(t.out + i * row, d, splat(empty ? 0.0f : 1.0f / sum), out + i * a.out_token_stride);
  }
}

}  // namespace graft::GRAFT_ISA
