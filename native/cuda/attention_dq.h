// dQ = scale dS K, and what the kernel of dK and dV needs to know of each query.
//
// A block keeps a tile of queries, with dO, and streams keys and values past it; dQ stays in registers
// and is summed in the order of keys. A sequence of at most whole_row_keys keys streams twice: first
// the sums of each row are taken, then the gradient.
#pragma once

#include "attention_gradient.h"

namespace graft::cuda {

// A lane's rows: [row block][upper or lower half].
template <int row_blocks>
struct lane_rows {
  float shift[row_blocks][2], inverse[row_blocks][2], delta[row_blocks][2];
};

// Element [m][n][e] of a lane's fragment is query row + 16 m + 8 (e / 2) and key
// j0 + 8 n + 2 (lane % 4) + e % 2.
struct score_tile {
  const key_limit& limit;
  int row, j0;
  float scale_log2;
};

// The running softmax of a whole row, with the sum of P dP beside that of P. The sums are this lane's
// columns' only.
template <int row_blocks, int key_blocks>
GRAFT_DEVICE void add_row_sums(const float (&s)[row_blocks][key_blocks][4],
                               const float (&dp)[row_blocks][key_blocks][4],
                               const score_tile& tile, lane_rows<row_blocks>& rows) {
  GRAFT_UNROLL
  for (int m = 0; m < row_blocks; ++m) {
    GRAFT_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int live = tile.limit(tile.row + 16 * m + 8 * half) - tile.j0 - 2 * (lane_id() % 4);
      float highest = -INFINITY;
      GRAFT_UNROLL
      for (int n = 0; n < key_blocks; ++n) {
        GRAFT_UNROLL
        for (int odd = 0; odd < 2; ++odd)
          if (8 * n + odd < live) highest = maximum(highest, s[m][n][2 * half + odd]);
      }
      const float old = rows.shift[m][half];
      rows.shift[m][half] = maximum(old, quad_max(highest));
      const float now = rows.shift[m][half] == -INFINITY ? 0.0f : rows.shift[m][half];
      const float shrink = exp2_approx((old - now) * tile.scale_log2);
      const score_shift shift(now, true);
      float sum = 0.0f, dot = 0.0f;
      GRAFT_UNROLL
      for (int n = 0; n < key_blocks; ++n) {
        GRAFT_UNROLL
        for (int odd = 0; odd < 2; ++odd) {
          const int e = 2 * half + odd;
          const float weight = shift.probability(s[m][n][e], tile.scale_log2);
          if (8 * n + odd >= live) continue;
          sum += weight;
          dot = fma_rn(weight, dp[m][n][e], dot);
        }
      }
      rows.inverse[m][half] = fma_rn(rows.inverse[m][half], shrink, sum);
      rows.delta[m][half] = fma_rn(rows.delta[m][half], shrink, dot);
    }
  }
}

// dP becomes dS; 0 where a row does not see the key.
template <int row_blocks, int key_blocks>
GRAFT_DEVICE void score_gradient(const float (&s)[row_blocks][key_blocks][4],
                                 float (&dp)[row_blocks][key_blocks][4], const score_tile& tile,
                                 const lane_rows<row_blocks>& rows, bool whole, bool masked) {
  GRAFT_UNROLL
  for (int m = 0; m < row_blocks; ++m) {
    GRAFT_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int live = tile.limit(tile.row + 16 * m + 8 * half) - tile.j0 - 2 * (lane_id() % 4);
      const score_shift shift(rows.shift[m][half], whole);
      GRAFT_UNROLL
      for (int n = 0; n < key_blocks; ++n) {
        GRAFT_UNROLL
        for (int odd = 0; odd < 2; ++odd) {
          float& x = dp[m][n][2 * half + odd];
          const float weight = shift.probability(s[m][n][2 * half + odd], tile.scale_log2) *
                               rows.inverse[m][half];
          const float ds = weight * (x - rows.delta[m][half]);
          x = masked && 8 * n + odd >= live ? 0.0f : ds;
        }
      }
    }
  }
}

// Whether a lane's quarter of a row holds no infinity and no NaN.
template <typename T, int columns>
GRAFT_DEVICE bool row_finite(const T* tile, int row) {
  using layout = shared_tile<T, columns>;
  uint32_t found = 0;
  GRAFT_NO_UNROLL
  for (int c = lane_id() % 4; c < layout::chunks; c += 4)
    found |= not_finite<T>(load(reinterpret_cast<const uint4*>(tile + layout::at(row, c))));
  return found == 0;
}
GRAFT_DEVICE bool quad_all(bool x) {
  const uint32_t others = warp_ballot(x) >> (lane_id() / 4 * 4);
  return (others & 0xFu) == 0xFu;
}

template <typename T, int head_dim, bool dropped>
__global__ void __launch_bounds__(dq_tile<T>(head_dim).threads(), dq_tile<T>(head_dim).blocks_per_sm)
    attention_dq_kernel(const backward_params p) {
  constexpr gradient_tile tile = dq_tile<T>(head_dim);
  constexpr int threads = tile.threads(), k_rows = tile.stream_rows, row_blocks = tile.row_blocks;
  constexpr int warp_rows = 16 * row_blocks;
  constexpr int stage = 2 * k_rows * head_dim;  // elements of K and V
  using product = products<T, head_dim, row_blocks, tile.kept>;
  using layout = shared_tile<T, head_dim>;

  attention_work work = work_of(p.grid, p.causal, true);
  const int columns_from = work.tile % tile.column_parts() * tile.columns;
  work.tile /= tile.column_parts();
  const int live = p.step->inputs.sequences;
  if (live != 0 && work.b >= live) return;
  const sequence seq = sequence_of(p.cu_seqlens_q, p.cu_seqlens_k, work.b);
  const int i0 = work.tile * tile.rows();
  if (i0 >= seq.q_count) return;
  const int rows = seq.q_count - i0 < tile.rows() ? seq.q_count - i0 : tile.rows();
  const key_limit limit{seq.q_count, seq.k_count, p.causal};
  const int key_tiles = static_cast<int>((int64_t{limit(i0 + rows - 1)} + k_rows - 1) / k_rows);
  const bool whole = seq.k_count <= whole_row_keys;

  T* const q_tile = shared_memory<T>();
  T* const dout_tile = q_tile + tile.rows() * head_dim;
  T* const stages = dout_tile + tile.rows() * head_dim;
  const auto q = rows_of<T>(p.q, seq.q_begin, work.h, p.head_dim);
  const auto k = rows_of<T>(p.k, seq.k_begin, work.h, p.head_dim);
  const auto v = rows_of<T>(p.v, seq.k_begin, work.h, p.head_dim);
  const auto out = rows_of<T>(p.out, seq.q_begin, work.h, p.head_dim);
  const auto dout = rows_of<T>(p.dout, seq.q_begin, work.h, p.head_dim);
  const auto copy_keys = [&](int t, int to) {
    const int j0 = t * k_rows;
    T* const keys = stages + to * stage;
    copy_rows<T, head_dim, k_rows, threads>(keys, k, j0, seq.k_count - j0, p.head_dim);
    copy_rows<T, head_dim, k_rows, threads>(keys + stage / 2, v, j0, seq.k_count - j0, p.head_dim);
    copy_async_commit();
  };
  copy_rows<T, head_dim, tile.rows(), threads>(q_tile, q, i0, rows, p.head_dim);
  copy_rows<T, head_dim, tile.rows(), threads>(dout_tile, dout, i0, rows, p.head_dim);
  if (key_tiles > 0) copy_keys(0, 0);

  const int warp_first = warp_id() * warp_rows;  // in the tile
  const int first = i0 + warp_first;             // in the sequence
  const int row = first + lane_id() / 4;         // of this lane
  const bool idle = warp_first >= rows;
  attention_dropout dropout{};
  if constexpr (dropped) dropout = dropout_of(p, work);

  copy_async_wait_all();
  sync_threads();
  product queries, gradients;
  queries.start(q_tile, warp_first);
  gradients.start(dout_tile, warp_first);
  const int64_t first_row = work.h * p.tokens_q + seq.q_begin + i0;
  const float* const lse = p.lse_HT + first_row;
  lane_rows<row_blocks> facts;
  GRAFT_UNROLL
  for (int m = 0; m < row_blocks; ++m) {
    GRAFT_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int own = warp_first + lane_id() / 4 + 16 * m + 8 * half;
      facts.shift[m][half] = whole ? -INFINITY : 0.0f;
      facts.inverse[m][half] = facts.delta[m][half] = 0.0f;
      if (whole) continue;
      float delta = 0.0f;
      if (own < rows) {
        const float2 shift = shift_and_rest(lse[own]);
        facts.shift[m][half] = shift.x;
        facts.inverse[m][half] = shift.y;
        GRAFT_NO_UNROLL
        for (int c = lane_id() % 4; c < layout::chunks; c += 4)
          delta = add_products(
              delta, read_chunk<T>(out, i0 + own, c, p.head_dim),
              load(reinterpret_cast<const uint4*>(dout_tile + layout::at(own, c))),
              static_cast<const T*>(nullptr));
      }
      facts.delta[m][half] = quad_sum(delta);
    }
  }

  float dq[row_blocks][tile.columns / 8][4] = {};
  // Rounds: with whole rows the tiles of keys pass twice.
  int t = 0;
  bool sums_only = whole;
  for (int round = 0; round < (whole ? 2 : 1) * key_tiles; ++round) {
    const int j0 = t * k_rows;
    const bool last = t + 1 == key_tiles;
    const T* const keys = stages + round % 2 * stage;
    copy_async_wait_all();
    // Behind this barrier tile t is there for all, and all have left the one before, whose stage the
    // next copy takes.
    bool exactly = false;
    if (!sums_only && p.causal && limit(i0) - j0 < k_rows)
      exactly = sync_threads_or(!own_chunks_finite<T, head_dim, k_rows, threads>(keys));
    else
      sync_threads();
    if (!last || sums_only) copy_keys(last ? 0 : t + 1, (round + 1) % 2);
    GRAFT_NO_UNROLL
    for (int sub = 0; sub < k_rows; sub += tile.step) {
      const int j = j0 + sub;
      if (idle || limit(first + warp_rows - 1) <= j) break;
      float s[row_blocks][tile.step / 8][4] = {}, dp[row_blocks][tile.step / 8][4] = {};
      queries.scores(keys + sub * head_dim, s);
      gradients.scores(keys + stage / 2 + sub * head_dim, dp);
      if constexpr (dropped) {
        drop_probabilities(dp, dropout, row, j);
        scale_kept(dp, p.keep_scale);
      }
      if (p.negative) negate(s);
      const score_tile scores{limit, row, j, p.scale_log2};
      if (sums_only) {
        add_row_sums(s, dp, scores, facts);
        continue;
      }
      score_gradient(s, dp, scores, facts, whole, limit(first) - j < tile.step);
      if (exactly)
        add_seen_values<head_dim>(dp, keys + sub * head_dim + columns_from,
                                  tile_sight{limit, row, j}, dq);
      else
        product::values(dp, keys + sub * head_dim + columns_from, dq);
    }
    if (sums_only && last) {
      sums_only = false;
      GRAFT_UNROLL
      for (int m = 0; m < row_blocks; ++m) {
        GRAFT_UNROLL
        for (int half = 0; half < 2; ++half) {
          const float inverse = 1.0f / quad_sum(facts.inverse[m][half]);
          facts.inverse[m][half] = inverse;
          facts.delta[m][half] = quad_sum(facts.delta[m][half]) * inverse;
          if (facts.shift[m][half] == -INFINITY) facts.shift[m][half] = 0.0f;
        }
      }
    }
    t = last ? 0 : t + 1;
  }
  if (idle) return;

  GRAFT_UNROLL
  for (int m = 0; m < row_blocks; ++m) {
    GRAFT_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int own = warp_first + lane_id() / 4 + 16 * m + 8 * half;
      const bool finite = quad_all(row_finite<T, head_dim>(q_tile, own) &&
                                   row_finite<T, head_dim>(dout_tile, own));
      if (lane_id() % 4 != 0 || own >= rows || columns_from != 0) continue;
      const int seen = lse[own] == -INFINITY ? 0 : limit(i0 + own);
      store(p.rows_HT + first_row + own,
            packed({facts.shift[m][half], facts.inverse[m][half], facts.delta[m][half],
                    finite ? seen : ~seen}));
    }
  }
  // Behind this the warp's rows of the tile of Q are its own to write: no other warp reads them.
  sync_warp();
  GRAFT_UNROLL
  for (int m = 0; m < row_blocks; ++m) {
    GRAFT_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int own = warp_first + lane_id() / 4 + 16 * m + 8 * half;
      // A row without keys has gradient 0 whatever its keys hold.
      const bool empty = own >= rows || lse[own] == -INFINITY;
      GRAFT_UNROLL
      for (int n = 0; n < tile.columns / 8; ++n)
        put_pair<T, head_dim>(q_tile + columns_from, own, n,
                              empty ? 0.0f : dq[m][n][2 * half] * p.scale,
                              empty ? 0.0f : dq[m][n][2 * half + 1] * p.scale);
    }
  }
  sync_warp();
  const head_rows<T> to{static_cast<T*>(p.dq.first) + seq.q_begin * p.dq.token_stride +
                            work.h * p.head_dim,
                        p.dq.token_stride, p.dq.width};
  write_rows<T, head_dim, warp_rows, tile.columns>(to, q_tile, warp_first, first,
                                                   rows - warp_first, p.head_dim, columns_from);
}

}  // namespace graft::cuda
