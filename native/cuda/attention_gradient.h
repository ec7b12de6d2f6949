// What the two kernels of the backward pass of attention share: their parameters, and what the first
// tells the second about each query.
#pragma once

#include "attention_backward_tiles.h"
#include "attention_dropout.h"
#include "attention_products.h"
#include "attention_softmax.h"
#include "attention_work.h"
#include "context.h"

namespace graft::cuda {

// A [tokens, H, D] array.
struct attention_operand {
  void* first;
  int64_t token_stride;
  int width;  // access_bytes
};

struct backward_params {
  attention_operand q, k, v, out, dout, dq, dk, dv;
  const float* lse_HT;
  float4* rows_HT;  // workspace: row_facts of each query
  const int32_t *cu_seqlens_q, *cu_seqlens_k;
  const step_state* step;
  attention_grid grid;
  int64_t tokens_q;
  int head_dim;
  float scale;
  float scale_log2;  // |scale| * log2(e)
  float keep_scale;  // 256 / (256 - k)
  int32_t dropout;   // k of k/256
  uint32_t op_id;
  bool negative;     // scale < 0
  bool causal;
};

template <typename T>
GRAFT_DEVICE head_rows<const T> rows_of(const attention_operand& x, int64_t first_token, int64_t h,
                                        int head_dim) {
  return rows_of<T>(x.first, x.token_stride, x.width, first_token, h, head_dim);
}

GRAFT_DEVICE attention_dropout dropout_of(const backward_params& p, const attention_work& work) {
  return {stream_key(p.step->inputs.seed, p.step->inputs.step, p.op_id),
          static_cast<uint32_t>(work.b), static_cast<uint32_t>(work.h),
          static_cast<uint32_t>(p.dropout)};
}

// Sequences of at most so many keys have their rows normalised anew (docs/adr/0003): no fewer than a
// tile of keys of the CPU backend, so that its rows are as exact here.
constexpr int whole_row_keys = 128;

// What is known of a query: P = probability(s) * inverse, dS = P * (dP - delta).
struct row_facts {
  float shift;    // whole rows: their largest score; else L log2(e), rounded once
  float inverse;  // 1 / the row's own sum; else what that rounding left over
  float delta;    // sum P dP
  int live;       // keys it sees, from the first; ~live if its q or dO is not all finite
};
GRAFT_DEVICE float4 packed(const row_facts& row) {
  return make_float4(row.shift, row.inverse, row.delta,
                     float_from_bits(static_cast<uint32_t>(row.live)));
}
GRAFT_DEVICE int live_of(float w) { return static_cast<int>(bits_from_float(w)); }

// exp2(scale_log2 (s - largest)) or exp2(scale_log2 s - shift). The largest score of a whole row gives 1
// and nothing but 1: where one key has all of the row, dP - delta is 0 as it should be.
struct score_shift {
  float before, after;  // of the multiplication
  __device__ __forceinline__ score_shift(float shift, bool whole)
      : before(whole ? shift : 0.0f), after(whole ? 0.0f : shift) {}
  __device__ __forceinline__ float probability(float s, float scale_log2) const {
    return exp2_approx(fma_rn(s - before, scale_log2, -after));
  }
};

// dP with dropout's factor. Rounded: delta is a sum of these same numbers, and where one key has all of a
// row dP - delta must be 0, not the rest that an fma with delta would leave.
template <int row_blocks, int key_blocks>
GRAFT_DEVICE void scale_kept(float (&dp)[row_blocks][key_blocks][4], float keep_scale) {
  GRAFT_UNROLL
  for (int m = 0; m < row_blocks; ++m) {
    GRAFT_UNROLL
    for (int n = 0; n < key_blocks; ++n) {
      GRAFT_UNROLL
      for (int e = 0; e < 4; ++e) dp[m][n][e] = mul_rn(dp[m][n][e], keep_scale);
    }
  }
}

// L log2(e) as a rounded number and 2^-(what is missing of it): that rounding, at the magnitude of L,
// would put all probabilities of the row off by the same factor. 1 where L is no number.
GRAFT_DEVICE float2 shift_and_rest(float lse) {
  constexpr float log2_e_rest = 1.92596303e-8f;  // log2(e) - log2_e
  const float shift = lse * log2_e;
  const float rest = fma_rn(lse, log2_e_rest, fma_rn(lse, log2_e, -shift));
  const bool finite = (bits_from_float(shift) & 0x7F800000u) != 0x7F800000u;
  return make_float2(shift, finite ? exp2_approx(-rest) : 1.0f);
}

// sum + a chunk's products; those of a word or four are summed apart.
GRAFT_DEVICE float add_products(float sum, const uint4& a, const uint4& b, const float*) {
  const auto product = [](uint32_t x, uint32_t y, float rest) {
    return fma_rn(float_from_bits(x), float_from_bits(y), rest);
  };
  return sum + product(a.w, b.w, product(a.z, b.z, product(a.y, b.y, product(a.x, b.x, 0.0f))));
}
GRAFT_DEVICE float add_products(float sum, const uint4& a, const uint4& b, const bf16*) {
  const auto product = [](uint32_t x, uint32_t y, float rest) {
    return fma_rn(float_of_high(x), float_of_high(y),
                  fma_rn(float_of_low(x), float_of_low(y), rest));
  };
  return sum + (product(a.x, b.x, product(a.y, b.y, 0.0f)) +
                product(a.z, b.z, product(a.w, b.w, 0.0f)));
}

}  // namespace graft::cuda
