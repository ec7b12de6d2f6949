// dV = (M * P)^T dO and dK = scale dS^T Q.
//
// A block keeps a tile of keys and values and streams queries, dO and row_facts past it. Scores are
// taken with keys as rows, K Q^T and V dO^T: so P^T and dS^T are operands of the next products where
// they lie, and dK and dV, summed in the order of queries, stay in the warp that owns their rows.
#pragma once

#include "attention_gradient.h"

namespace graft::cuda {

// Whether a key, row 16 m + 8 half of the lane's block, is seen by a query of the step.
struct query_sight {
  const float4* queries;  // row_facts of the step, packed
  int key;                // the lane's first
  __device__ __forceinline__ bool operator()(int m, int half, int query) const {
    const int raw = live_of(queries[query].w);
    return key + 16 * m + 8 * half < (raw < 0 ? ~raw : raw);
  }
};

// Scores become P (dropped, for dV) and dP becomes dS. s[m][n][e] is key `key` + 16 m + 8 (e / 2) and
// query 8 n + 2 (lane % 4) + e % 2 of the step.
template <bool dropped, int row_blocks, int query_blocks>
GRAFT_DEVICE void score_gradient_by_keys(float (&s)[row_blocks][query_blocks][4],
                                         float (&dp)[row_blocks][query_blocks][4],
                                         const uint32_t (&keep)[row_blocks][query_blocks],
                                         const float4* queries, const backward_params& p, int key,
                                         bool whole, bool masked) {
  GRAFT_UNROLL
  for (int n = 0; n < query_blocks; ++n) {
    GRAFT_UNROLL
    for (int odd = 0; odd < 2; ++odd) {
      const float4 row = load(queries + 8 * n + 2 * (lane_id() % 4) + odd);
      const int raw = live_of(row.w), live = raw < 0 ? ~raw : raw;
      const score_shift shift(row.x, whole);
      GRAFT_UNROLL
      for (int m = 0; m < row_blocks; ++m) {
        GRAFT_UNROLL
        for (int half = 0; half < 2; ++half) {
          const int e = 2 * half + odd;
          const bool seen = !masked || key + 16 * m + 8 * half < live;
          const bool kept =
              !dropped || keep_byte(keep[m][n], e) >= static_cast<uint32_t>(p.dropout);
          const float weight = shift.probability(s[m][n][e], p.scale_log2) * row.y;
          const float x = kept ? dp[m][n][e] : 0.0f;
          const float ds = weight * (x - row.z);
          s[m][n][e] = seen && kept ? weight : 0.0f;
          dp[m][n][e] = seen ? ds : 0.0f;
        }
      }
    }
  }
}

template <typename T, int head_dim, bool dropped>
__global__ void __launch_bounds__(dkdv_tile<T>(head_dim).threads(),
                                  dkdv_tile<T>(head_dim).blocks_per_sm)
    attention_dkdv_kernel(const backward_params p) {
  constexpr gradient_tile tile = dkdv_tile<T>(head_dim);
  constexpr int threads = tile.threads(), q_rows = tile.stream_rows, row_blocks = tile.row_blocks;
  constexpr int warp_rows = 16 * row_blocks;
  constexpr int stage = 2 * q_rows * head_dim;  // elements of Q and dO
  using product = products<T, head_dim, row_blocks, tile.kept>;

  attention_work work = work_of(p.grid, p.causal, false);
  const int columns_from = work.tile % tile.column_parts() * tile.columns;
  work.tile /= tile.column_parts();
  const int live = p.step->inputs.sequences;
  if (live != 0 && work.b >= live) return;
  const sequence seq = sequence_of(p.cu_seqlens_q, p.cu_seqlens_k, work.b);
  const int j0 = work.tile * tile.rows();
  if (j0 >= seq.k_count) return;
  const int rows = seq.k_count - j0 < tile.rows() ? seq.k_count - j0 : tile.rows();
  const bool whole = seq.k_count <= whole_row_keys;
  // The first query that sees a key of the tile.
  const int ahead = j0 - (seq.k_count - seq.q_count);
  const int from = p.causal && ahead > 0 ? ahead / q_rows : 0;
  const int to = static_cast<int>((int64_t{seq.q_count} + q_rows - 1) / q_rows);

  T* const k_tile = shared_memory<T>();
  T* const v_tile = k_tile + tile.rows() * head_dim;
  T* const stages = v_tile + tile.rows() * head_dim;
  auto* const facts = reinterpret_cast<float4*>(stages + 2 * stage);
  auto* const scratch =
      reinterpret_cast<uint32_t*>(facts + 2 * q_rows) + warp_id() * keep_scratch_words;
  const auto q = rows_of<T>(p.q, seq.q_begin, work.h, p.head_dim);
  const auto k = rows_of<T>(p.k, seq.k_begin, work.h, p.head_dim);
  const auto v = rows_of<T>(p.v, seq.k_begin, work.h, p.head_dim);
  const auto dout = rows_of<T>(p.dout, seq.q_begin, work.h, p.head_dim);
  const float4* const all_facts = p.rows_HT + work.h * p.tokens_q + seq.q_begin;
  const auto copy_queries = [&](int t) {
    const int i0 = t * q_rows;
    T* const queries = stages + t % 2 * stage;
    copy_rows<T, head_dim, q_rows, threads>(queries, q, i0, seq.q_count - i0, p.head_dim);
    copy_rows<T, head_dim, q_rows, threads>(queries + stage / 2, dout, i0, seq.q_count - i0,
                                            p.head_dim);
    // Queries behind the last see no key: all their facts are 0.
    const int own = static_cast<int>(threadIdx.x);
    const bool inside = i0 + own < seq.q_count;
    if (own < q_rows)
      copy_async<16>(facts + t % 2 * q_rows + own, inside ? all_facts + i0 + own : all_facts,
                     inside ? 16 : 0);
    copy_async_commit();
  };
  if (from < to) {
    copy_rows<T, head_dim, tile.rows(), threads>(k_tile, k, j0, rows, p.head_dim);
    copy_rows<T, head_dim, tile.rows(), threads>(v_tile, v, j0, rows, p.head_dim);
    copy_queries(from);
    copy_async_wait_all();
    sync_threads();
  }

  const int warp_first = warp_id() * warp_rows;  // in the tile
  const int first = j0 + warp_first;             // in the sequence
  const int key = first + lane_id() / 4;         // of this lane
  const bool idle = warp_first >= rows;
  attention_dropout dropout{};
  if constexpr (dropped) dropout = dropout_of(p, work);

  product keys;
  products<T, head_dim, row_blocks, false> values;
  keys.start(k_tile, warp_first);
  values.start(v_tile, warp_first);
  float dk[row_blocks][tile.columns / 8][4] = {}, dv[row_blocks][tile.columns / 8][4] = {};
  for (int t = from; t < to; ++t) {
    copy_async_wait_all();
    // Behind this barrier tile t is there for all, and all have left tile t - 1, whose stage the next
    // copy takes.
    sync_threads();
    if (t + 1 < to) copy_queries(t + 1);
    if (idle) continue;
    GRAFT_NO_UNROLL
    for (int sub = 0; sub < q_rows; sub += tile.step) {
      const float4* const queries = facts + t % 2 * q_rows + sub;
      // Usually every query of the step sees every key of the warp, and all is finite.
      bool seen_by_none = true, seen_by_all = true, finite = true;
      GRAFT_UNROLL
      for (int n = 0; n < tile.step; n += warp_size) {
        const int raw = live_of(queries[(n + lane_id()) % tile.step].w);
        const int sees = raw < 0 ? ~raw : raw;
        seen_by_none &= sees <= first;
        seen_by_all &= sees >= first + warp_rows;
        finite &= raw >= 0;
      }
      if (warp_all(seen_by_none)) continue;
      const bool masked = warp_any(!seen_by_all);
      const bool exactly = masked && warp_any(!finite);
      const T* const q_step = stages + t % 2 * stage + sub * head_dim;
      const T* const dout_step = q_step + stage / 2;
      float s[row_blocks][tile.step / 8][4] = {}, dp[row_blocks][tile.step / 8][4] = {};
      keys.scores(q_step, s);
      values.scores(dout_step, dp);
      if constexpr (dropped) scale_kept(dp, p.keep_scale);
      if (p.negative) negate(s);
      uint32_t keep[row_blocks][tile.step / 8] = {};
      if constexpr (dropped) keep_bytes(keep, dropout, first, t * q_rows + sub, scratch);
      score_gradient_by_keys<dropped>(s, dp, keep, queries, p, key, whole, masked);
      if (exactly) {
        const query_sight sees{queries, key};
        add_seen_values<head_dim>(s, dout_step + columns_from, sees, dv);
        add_seen_values<head_dim>(dp, q_step + columns_from, sees, dk);
      } else {
        product::values(s, dout_step + columns_from, dv);
        product::values(dp, q_step + columns_from, dk);
      }
    }
  }
  if (idle) return;

  // The warp's rows of K and V are its own to write now: no other warp reads them.
  sync_warp();
  GRAFT_UNROLL
  for (int m = 0; m < row_blocks; ++m) {
    GRAFT_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int own = warp_first + lane_id() / 4 + 16 * m + 8 * half;
      GRAFT_UNROLL
      for (int n = 0; n < tile.columns / 8; ++n) {
        put_pair<T, head_dim>(k_tile + columns_from, own, n, dk[m][n][2 * half] * p.scale,
                              dk[m][n][2 * half + 1] * p.scale);
        put_pair<T, head_dim>(v_tile + columns_from, own, n, dv[m][n][2 * half] * p.keep_scale,
                              dv[m][n][2 * half + 1] * p.keep_scale);
      }
    }
  }
  sync_warp();
  const auto write = [&](const attention_operand& x, const T* from_tile) {
    const head_rows<T> out{
        static_cast<T*>(x.first) + seq.k_begin * x.token_stride + work.h * p.head_dim,
        x.token_stride, x.width};
    write_rows<T, head_dim, warp_rows, tile.columns>(out, from_tile, warp_first, first,
                                                     rows - warp_first, p.head_dim, columns_from);
  };
  write(p.dk, k_tile);
  write(p.dv, v_tile);
}

}  // namespace graft::cuda
