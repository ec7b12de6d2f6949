// What the two Hopper kernels of the backward pass of attention share. D <= 64: one panel.
#pragma once

#include "attention_gradient.h"
#include "attention_sm90_producer.h"
#include "attention_sm90_products.h"

namespace graft::cuda {

constexpr int sm90_gradient_dim = 64;
constexpr int sm90_dq_keys = 128;      // of a tile that streams past queries
constexpr int sm90_dkdv_queries = 64;  // of a tile that streams past keys
constexpr int sm90_dq_stages = 3;      // 128 KiB of shared memory
constexpr int sm90_dkdv_stages = 4;    // 104 KiB

struct sm90_gradient_params {
  tensor_map q_map, dout_map;  // [D, H, T], boxes of 64 rows
  tensor_map k_map, v_map;     // of sm90_dq_keys rows; for dK and dV of 64
  sm90_list list;
  backward_params p;
};

GRAFT_DEVICE attention_dropout dropout_of(const backward_params& p, uint64_t key, int b, int h) {
  return {key, static_cast<uint32_t>(b), static_cast<uint32_t>(h), static_cast<uint32_t>(p.dropout)};
}

GRAFT_DEVICE head_rows<const bf16> rows_of(const attention_operand& x, int64_t first_token, int h,
                                           const backward_params& p) {
  return rows_of<bf16>(x.first, x.token_stride, 16, first_token, h, p.head_dim);
}

// Of few keys: their probabilities are normalised anew (attention_dq.h).
GRAFT_DEVICE bool whole_rows(const sequence& seq) { return seq.k_count <= whole_row_keys; }

// A warpgroup without rows of its own lets `tiles` of the stream go by.
template <typename Shared>
GRAFT_DEVICE void let_pass(Shared& memory, int tiles, uint32_t& count) {
  GRAFT_NO_UNROLL
  for (int t = 0; t < tiles; ++t, ++count) {
    const sm90_place at = place_of<Shared::stages>(count);
    mbarrier_wait(&memory.full[at.stage], at.parity);
    release_to_copies(&memory.empty[at.stage]);
  }
}

// A warp's 16 rows of a gradient, times `factor`, through a panel of 64 rows to memory.
GRAFT_DEVICE void write_gradient(const attention_operand& x, sm90_panel<64>& place,
                                 const float (&sums)[1][8][4], const float (&factor)[2], int panel_first,
                                 int64_t first_token, int64_t first_row, int live, int h,
                                 const backward_params& p) {
  GRAFT_UNROLL
  for (int half = 0; half < 2; ++half) {
    GRAFT_UNROLL
    for (int n = 0; n < 8; ++n) {
      // A factor of 0 is for rows whose sums mean nothing.
      const bool empty = factor[half] == 0.0f;
      put_pair<bf16, 64>(place.values, panel_first + lane_id() / 4 + 8 * half, n,
                         empty ? 0.0f : sums[0][n][2 * half] * factor[half],
                         empty ? 0.0f : sums[0][n][2 * half + 1] * factor[half]);
    }
  }
  sync_warp();
  const head_rows<bf16> out{
      static_cast<bf16*>(x.first) + first_token * x.token_stride + int64_t{h} * p.head_dim,
      x.token_stride, x.width};
  write_rows<bf16, 64, 16>(out, place.values, panel_first, first_row, live, p.head_dim);
}

}  // namespace graft::cuda
