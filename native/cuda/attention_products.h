// The two products of attention on accumulator fragments of one warp:
//   scores     S += Q K^T        S[m][n][e]: query 16 m + 8 (e / 2) + g, key 8 n + 2 t + e % 2
//   values     O += P V          O[m][n][e]: the same query, column 8 n + 2 t + e % 2
// with g = lane / 4 and t = lane % 4, the layout of mma.m16n8. bf16 goes to the tensor cores; fp32 is
// multiplied by FMA in the same layout, so that mask, softmax, dropout and output are one code.
// (3 x TF32 on the tensor cores would be faster, but an operand keeps 22 bits there: its products
// err four times as much as FMA's and the rule of twice the CPU's error would hang on luck.)
#pragma once

#include "attention_loads.h"
#include "attention_mask.h"

namespace graft::cuda {

// Whether the query of a lane's block m, row half 0 or 1, sees a key of the tile.
struct tile_sight {
  const key_limit& limit;
  int row, j0;  // the lane's first query, the tile's first key
  __device__ __forceinline__ bool operator()(int m, int half, int key) const {
    return key < limit(row + 16 * m + 8 * half) - j0;
  }
};

// Columns 8 n + 2 t and the next of a row of values.
template <int columns>
GRAFT_DEVICE float2 value_pair(const float* v, int row, int n) {
  const int column = 8 * n + 2 * (lane_id() % 4);
  return load(reinterpret_cast<const float2*>(v + shared_tile<float, columns>::at(row, column / 4) +
                                              column % 4));
}
template <int columns>
GRAFT_DEVICE float2 value_pair(const bf16* v, int row, int n) {
  const uint32_t pair = load(reinterpret_cast<const uint32_t*>(
      v + shared_tile<bf16, columns>::at(row, n) + 2 * (lane_id() % 4)));
  return make_float2(float_of_low(pair), float_of_high(pair));
}
// A probability as operand of its product.
GRAFT_DEVICE float operand_of(float p, const float*) { return p; }
GRAFT_DEVICE float operand_of(float p, const bf16*) { return float_of_bf16(bf16_of(p)); }

// O += P V key by key, a key only to the rows that see it: a value of infinity or NaN must stay out of
// the others, where 0 times it would be NaN. Only tiles on the diagonal that hold such a value come
// here; the loop is rolled to spare the registers of the code around it.
template <typename T, int row_blocks, int key_blocks, int column_blocks>
GRAFT_DEVICE void add_seen_values(const float (&p)[row_blocks][key_blocks][4], const T* v,
                                  const tile_sight& sees,
                                  float (&o)[row_blocks][column_blocks][4]) {
  GRAFT_NO_UNROLL
  for (int key = 0; key < 8 * key_blocks; ++key) {
    GRAFT_UNROLL
    for (int m = 0; m < row_blocks; ++m) {
      GRAFT_UNROLL
      for (int half = 0; half < 2; ++half) {
        // By masks: an index, or what a compiler makes one of, would put P in local memory.
        uint32_t own = 0;
        GRAFT_UNROLL
        for (int block = 0; block < key_blocks; ++block) {
          GRAFT_UNROLL
          for (int odd = 0; odd < 2; ++odd)
            own |= bits_from_float(p[m][block][2 * half + odd]) &
                   (key / 8 == block && key % 2 == odd ? 0xFFFFFFFFu : 0u);
        }
        const float weight = operand_of(
            float_from_bits(shuffle(own, lane_id() - lane_id() % 4 + key % 8 / 2)), v);
        if (!sees(m, half, key)) continue;
        GRAFT_UNROLL
        for (int n = 0; n < column_blocks; ++n) {
          const float2 y = value_pair<8 * column_blocks>(v, key, n);
          o[m][n][2 * half] = fma_rn(weight, y.x, o[m][n][2 * half]);
          o[m][n][2 * half + 1] = fma_rn(weight, y.y, o[m][n][2 * half + 1]);
        }
      }
    }
  }
}

template <typename T, int head_dim>
struct products;

// ---- bf16: mma.m16n8k16 --------------------------------------------------------------------------

template <int head_dim>
struct products<bf16, head_dim> {
  static constexpr attention_tile tile = forward_tile<bf16>(head_dim);
  static constexpr int row_blocks = tile.row_blocks;
  static constexpr int key_blocks = tile.k_rows / 8;
  static constexpr int column_blocks = head_dim / 8;
  static constexpr int depth = head_dim / 16;  // steps of mma over the columns of Q and K
  using layout = shared_tile<bf16, head_dim>;
  using score_fragment = float[row_blocks][key_blocks][4];
  using output_fragment = float[row_blocks][column_blocks][4];

  const bf16* q;  // the warp's rows
  int q_row;
  uint32_t q_kept[tile.q_in_registers ? row_blocks : 1][tile.q_in_registers ? depth : 1][4];

  // `tile` is shared memory of the block's Q, q_first the warp's first row in it.
  __device__ __forceinline__ void start(const bf16* q_tile, int q_first) {
    q = q_tile;
    q_row = q_first + lane_id() % 16;
    if constexpr (tile.q_in_registers) {
      GRAFT_UNROLL
      for (int m = 0; m < row_blocks; ++m) {
        GRAFT_UNROLL
        for (int k = 0; k < depth; ++k) read_q(m, k, q_kept[m][k]);
      }
    }
  }

  // Rows 16 m .. of Q, columns 16 k ..: matrices (rows 0-7, 8-15) x (columns 0-7, then 8-15).
  __device__ __forceinline__ void read_q(int m, int k, uint32_t (&a)[4]) const {
    ldmatrix_x4(a, q + layout::at(q_row, 2 * k + lane_id() / 16) + 16 * m * head_dim);
  }

  __device__ __forceinline__ void scores(const bf16* keys, score_fragment& s) const {
    // K^T as operand B is column-major, so rows of K serve as they are. Matrices of one read:
    // keys 0-7 and 8-15, columns 0-7 and 8-15 of each.
    const int lane = lane_id();
    const int key = lane % 8 + lane / 16 * 8;
    GRAFT_UNROLL
    for (int k = 0; k < depth; ++k) {
      uint32_t a[row_blocks][4];
      GRAFT_UNROLL
      for (int m = 0; m < row_blocks; ++m) {
        if constexpr (tile.q_in_registers) {
          GRAFT_UNROLL
          for (int r = 0; r < 4; ++r) a[m][r] = q_kept[m][k][r];
        } else {
          read_q(m, k, a[m]);
        }
      }
      const bf16* column = keys + layout::at(key, 2 * k + lane / 8 % 2);
      GRAFT_UNROLL
      for (int n = 0; n < key_blocks; n += 2) {
        uint32_t b[4];
        ldmatrix_x4(b, column + 8 * n * head_dim);
        const uint32_t first[2] = {b[0], b[1]}, second[2] = {b[2], b[3]};
        GRAFT_UNROLL
        for (int m = 0; m < row_blocks; ++m) {
          mma_m16n8k16(s[m][n], a[m], first);
          mma_m16n8k16(s[m][n + 1], a[m], second);
        }
      }
    }
  }

  // The accumulators of two neighbouring blocks of eight keys are, rounded to bf16, operand A of the
  // step over those 16 keys: P never leaves the registers.
  static __device__ __forceinline__ void probabilities(const score_fragment& p, int m, int k,
                                                       uint32_t (&a)[4]) {
    a[0] = bf16x2_of(p[m][2 * k][0], p[m][2 * k][1]);
    a[1] = bf16x2_of(p[m][2 * k][2], p[m][2 * k][3]);
    a[2] = bf16x2_of(p[m][2 * k + 1][0], p[m][2 * k + 1][1]);
    a[3] = bf16x2_of(p[m][2 * k + 1][2], p[m][2 * k + 1][3]);
  }
  // V as operand B: keys 16 k .., columns 8 n and 8 n + 8; transposed on the way, for its rows are
  // the keys. Matrices of one read: keys 0-7 and 8-15 of the first columns, then of the second.
  static __device__ __forceinline__ void read_values(const bf16* values, int k, int n,
                                                     uint32_t (&b)[4]) {
    const int lane = lane_id();
    ldmatrix_x4_trans(b, values + layout::at(lane % 16, n + lane / 16) + 16 * k * head_dim);
  }

  static __device__ __forceinline__ void values(const score_fragment& p, const bf16* v,
                                                output_fragment& o) {
    GRAFT_UNROLL
    for (int k = 0; k < key_blocks / 2; ++k) {
      uint32_t a[row_blocks][4];
      GRAFT_UNROLL
      for (int m = 0; m < row_blocks; ++m) probabilities(p, m, k, a[m]);
      GRAFT_UNROLL
      for (int n = 0; n < column_blocks; n += 2) {
        uint32_t b[4];
        read_values(v, k, n, b);
        const uint32_t first[2] = {b[0], b[1]}, second[2] = {b[2], b[3]};
        GRAFT_UNROLL
        for (int m = 0; m < row_blocks; ++m) {
          mma_m16n8k16(o[m][n], a[m], first);
          mma_m16n8k16(o[m][n + 1], a[m], second);
        }
      }
    }
  }
};

// ---- fp32: FMA -----------------------------------------------------------------------------------

template <int head_dim>
struct products<float, head_dim> {
  static constexpr attention_tile tile = forward_tile<float>(head_dim);
  static constexpr int row_blocks = tile.row_blocks;
  static constexpr int key_blocks = tile.k_rows / 8;
  static constexpr int column_blocks = head_dim / 8;
  using layout = shared_tile<float, head_dim>;
  using score_fragment = float[row_blocks][key_blocks][4];
  using output_fragment = float[row_blocks][column_blocks][4];

  const float* q;
  int q_row;

  __device__ __forceinline__ void start(const float* q_tile, int q_first) {
    q = q_tile;
    q_row = q_first + lane_id() / 4;
  }

  // Four products are summed apart before they join the sum: it is rounded a quarter as often.
  static __device__ __forceinline__ void dot(const float4& x, const float4& y, float& sum) {
    sum += fma_rn(x.w, y.w, fma_rn(x.z, y.z, fma_rn(x.y, y.y, x.x * y.x)));
  }
  static __device__ __forceinline__ float4 four(const float* tile, int row, int c) {
    return load(reinterpret_cast<const float4*>(tile + layout::at(row, c)));
  }

  // Four columns a turn. Lanes of a quad read the same rows of Q; lanes of the same place in their
  // quads the same keys.
  __device__ __forceinline__ void scores(const float* keys, score_fragment& s) const {
    const int key = 2 * (lane_id() % 4);
    GRAFT_NO_UNROLL
    for (int c = 0; c < layout::chunks; ++c) {
      float4 x[row_blocks][2];
      GRAFT_UNROLL
      for (int m = 0; m < row_blocks; ++m) {
        x[m][0] = four(q, q_row + 16 * m, c);
        x[m][1] = four(q, q_row + 16 * m + 8, c);
      }
      GRAFT_UNROLL
      for (int n = 0; n < key_blocks; ++n) {
        GRAFT_UNROLL
        for (int odd = 0; odd < 2; ++odd) {
          const float4 y = four(keys, 8 * n + key + odd, c);
          GRAFT_UNROLL
          for (int m = 0; m < row_blocks; ++m) {
            dot(x[m][0], y, s[m][n][odd]);
            dot(x[m][1], y, s[m][n][2 + odd]);
          }
        }
      }
    }
  }

  // A probability is one lane's; its quad, which holds all columns of that row, gets it by shuffle.
  static __device__ __forceinline__ void values(const score_fragment& p, const float* v,
                                                output_fragment& o) {
    GRAFT_UNROLL
    for (int block = 0; block < key_blocks; ++block) {
      GRAFT_UNROLL
      for (int odd = 0; odd < 2; ++odd) {
        GRAFT_NO_UNROLL
        for (int owner = 0; owner < 4; ++owner) {
          float weight[row_blocks][2];
          GRAFT_UNROLL
          for (int m = 0; m < row_blocks; ++m) {
            GRAFT_UNROLL
            for (int half = 0; half < 2; ++half)
              weight[m][half] =
                  shuffle(p[m][block][2 * half + odd], lane_id() - lane_id() % 4 + owner);
          }
          GRAFT_UNROLL
          for (int n = 0; n < column_blocks; ++n) {
            const float2 y = value_pair<head_dim>(v, 8 * block + 2 * owner + odd, n);
            GRAFT_UNROLL
            for (int m = 0; m < row_blocks; ++m) {
              GRAFT_UNROLL
              for (int half = 0; half < 2; ++half) {
                float(&sums)[4] = o[m][n];
                sums[2 * half] = fma_rn(weight[m][half], y.x, sums[2 * half]);
                sums[2 * half + 1] = fma_rn(weight[m][half], y.y, sums[2 * half + 1]);
              }
            }
          }
        }
      }
    }
  }
};

}  // namespace graft::cuda
