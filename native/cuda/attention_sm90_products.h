// The two products of attention by warpgroups: S = Q K^T and O += P V, in the fragments of
// attention_products.h (one block of 16 queries a warp).
#pragma once

#include "attention_products.h"
#include "attention_sm90_tiles.h"

namespace graft::cuda {

// S = Q K^T of 64 queries and `k_rows` keys. Both lie with their columns along the rows (K-major); a step is
// 16 columns: 32 bytes along the swizzled row, the next panel after four.
template <int head_dim, int k_rows = sm90_k_rows>
struct sm90_scores {
  static constexpr int steps = head_dim / 16, panel_steps = sm90_columns / 16;

  template <int rows>
  static __device__ __forceinline__ uint64_t operand(const sm90_panel<rows>* panels) {
    return matrix_descriptor(panels, 0, swizzle_atom_bytes);
  }
  static __device__ __forceinline__ void issue(uint64_t q, uint64_t k,
                                               float (&s)[1][k_rows / 8][4]) {
    GRAFT_UNROLL
    for (int step = 0; step < steps; ++step) {
      const int panel = step / panel_steps, along = step % panel_steps * 32;
      wgmma<matrix_major::k>(
          s[0], descriptor_after(q, panel * sm90_panel<sm90_group_rows>::bytes + along),
          descriptor_after(k, panel * sm90_panel<k_rows>::bytes + along), step > 0);
    }
  }
};

// O += P V of `rows` keys. V lies with its columns along the rows, which is n of the product (MN-major): 64
// of them a panel. A step is 16 keys: two atoms of eight rows.
template <int head_dim, int rows = sm90_k_rows>
struct sm90_values {
  static constexpr int steps = rows / 16;

  static __device__ __forceinline__ uint64_t operand(const sm90_panel<rows>* panels) {
    return matrix_descriptor(panels, sm90_panel<rows>::bytes, swizzle_atom_bytes);
  }
  static __device__ __forceinline__ void issue(const uint32_t (&p)[steps][4], uint64_t v,
                                               float (&o)[1][head_dim / 8][4]) {
    GRAFT_UNROLL
    for (int step = 0; step < steps; ++step)
      wgmma<matrix_major::mn>(o[0], p[step], descriptor_after(v, step * 2 * swizzle_atom_bytes), true);
  }

  // Probabilities as operand a, rounded to bf16.
  static __device__ __forceinline__ void pack(const float (&s)[1][rows / 8][4], uint32_t (&p)[steps][4]) {
    GRAFT_UNROLL
    for (int step = 0; step < steps; ++step)
      products<bf16, head_dim, 1, false>::probabilities(s, 0, step, p[step]);
  }

  // Whether V of a tile holds an infinity or a NaN; all threads of a warpgroup, `thread` of 128.
  static __device__ __forceinline__ bool bad_values(const sm90_panel<rows>* panels, int thread,
                                                    int barrier) {
    const auto* chunks = reinterpret_cast<const uint4*>(panels);
    uint32_t found = 0;
    GRAFT_NO_UNROLL
    for (int i = thread; i < rows * head_dim / 8; i += sm90_group_threads)
      found |= not_finite<bf16>(load(chunks + i));
    return barrier_sync_or(barrier, sm90_group_threads, found != 0);
  }

  // O += P V key by key, each only to the rows that see it (add_seen_values of attention_products.h, for
  // packed probabilities and panels).
  template <typename Sight>
  static __device__ __forceinline__ void add_seen(const uint32_t (&p)[steps][4],
                                                  const sm90_panel<rows>* panels, const Sight& sees,
                                                  float (&o)[1][head_dim / 8][4]) {
    GRAFT_NO_UNROLL
    for (int key = 0; key < rows; ++key) {
      GRAFT_UNROLL
      for (int half = 0; half < 2; ++half) {
        // By masks: an index would put P in local memory.
        uint32_t own = 0;
        GRAFT_UNROLL
        for (int step = 0; step < steps; ++step) {
          GRAFT_UNROLL
          for (int eight = 0; eight < 2; ++eight)
            own |= p[step][2 * eight + half] & (key / 8 == 2 * step + eight ? 0xFFFFFFFFu : 0u);
        }
        const uint32_t pair = shuffle(own, lane_id() - lane_id() % 4 + key % 8 / 2);
        const float weight = key % 2 == 0 ? float_of_low(pair) : float_of_high(pair);
        if (!sees(0, half, key)) continue;
        GRAFT_UNROLL
        for (int n = 0; n < head_dim / 8; ++n) {
          const float2 y = value_pair<sm90_columns>(panels[n / 8].values, key, n % 8);
          o[0][n][2 * half] = fma_rn(weight, y.x, o[0][n][2 * half]);
          o[0][n][2 * half + 1] = fma_rn(weight, y.y, o[0][n][2 * half + 1]);
        }
      }
    }
  }
};

}  // namespace graft::cuda
