// The two products of attention on accumulator fragments of one warp:
//   scores     S += Q K^T        S[m][n][e]: query 16 m + 8 (e / 2) + g, key 8 n + 2 t + e % 2
//   values     O += P V          O[m][n][e]: the same query, column 8 n + 2 t + e % 2
// with g = lane / 4 and t = lane % 4, the layout of mma.m16n8. bf16 goes to the tensor cores; fp32 is
// multiplied by FMA in the same layout, so that mask, softmax, dropout and output are one code.
// The names are the forward pass's. The backward pass has the same two, of other operands: dO V^T and
// dS K, and with keys as rows K Q^T, V dO^T, P^T dO and dS^T Q. An element of K Q^T has the bits of its
// twin in Q K^T: the same products, added in the same order.
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
// here; the loop is rolled to spare the registers of the code around it. V has `columns` columns, of
// which O has the first.
template <int columns, typename T, typename Sight, int row_blocks, int key_blocks,
          int column_blocks>
GRAFT_DEVICE void add_seen_values(const float (&p)[row_blocks][key_blocks][4], const T* v,
                                  const Sight& sees,
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
          const float2 y = value_pair<columns>(v, key, n);
          o[m][n][2 * half] = fma_rn(weight, y.x, o[m][n][2 * half]);
          o[m][n][2 * half + 1] = fma_rn(weight, y.y, o[m][n][2 * half + 1]);
        }
      }
    }
  }
}

// The warp's 16 row_blocks rows of operand A, in registers if `kept`, else read for each product.
template <typename T, int head_dim, int row_blocks, bool kept>
struct products;

// ---- bf16: mma.m16n8k16 --------------------------------------------------------------------------

template <int head_dim, int row_blocks, bool kept>
struct products<bf16, head_dim, row_blocks, kept> {
  static constexpr int depth = head_dim / 16;  // steps of mma over the columns of Q and K
  using layout = shared_tile<bf16, head_dim>;

  const bf16* q;  // the warp's rows
  int q_row;
  uint32_t q_kept[kept ? row_blocks : 1][kept ? depth : 1][4];

  // `tile` is shared memory of the block's Q, q_first the warp's first row in it.
  __device__ __forceinline__ void start(const bf16* q_tile, int q_first) {
    q = q_tile;
    q_row = q_first + lane_id() % 16;
    if constexpr (kept) {
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

  template <int key_blocks>
  __device__ __forceinline__ void scores(const bf16* keys,
                                         float (&s)[row_blocks][key_blocks][4]) const {
    static_assert(key_blocks % 2 == 0);
    // K^T as operand B is column-major, so rows of K serve as they are. Matrices of one read:
    // keys 0-7 and 8-15, columns 0-7 and 8-15 of each.
    const int lane = lane_id();
    const int key = lane % 8 + lane / 16 * 8;
    // Addresses of a deep product's turns, all at hand, would take the registers of its sums.
    constexpr int turns = kept || depth <= 8 ? depth : 4;
    GRAFT_NO_UNROLL
    for (int from = 0; from < depth; from += turns) {
      GRAFT_UNROLL
      for (int k = from; k < from + turns; ++k) {
        uint32_t a[row_blocks][4];
        GRAFT_UNROLL
        for (int m = 0; m < row_blocks; ++m) {
          if constexpr (kept) {
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
  }

  // The accumulators of two neighbouring blocks of eight keys are, rounded to bf16, operand A of the
  // step over those 16 keys: P never leaves the registers.
  template <int key_blocks>
  static __device__ __forceinline__ void probabilities(
      const float (&p)[row_blocks][key_blocks][4], int m, int k, uint32_t (&a)[4]) {
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

  template <int key_blocks, int column_blocks>
  static __device__ __forceinline__ void values(const float (&p)[row_blocks][key_blocks][4],
                                                const bf16* v,
                                                float (&o)[row_blocks][column_blocks][4]) {
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

template <int head_dim, int row_blocks, bool kept>
struct products<float, head_dim, row_blocks, kept> {
  static_assert(!kept, "fp32 rows are read from shared memory");
  using layout = shared_tile<float, head_dim>;

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
  template <int key_blocks>
  __device__ __forceinline__ void scores(const float* keys,
                                         float (&s)[row_blocks][key_blocks][4]) const {
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
  // Two products are summed before they join the sum, which is rounded half as often: a long row's
  // would err more than twice as much as the CPU backend's, which is summed in parts.
  template <int key_blocks, int column_blocks>
  static __device__ __forceinline__ void values(const float (&p)[row_blocks][key_blocks][4],
                                                const float* v,
                                                float (&o)[row_blocks][column_blocks][4]) {
    GRAFT_UNROLL
    for (int block = 0; block < key_blocks; ++block) {
      GRAFT_UNROLL
      for (int odd = 0; odd < 2; ++odd) {
        GRAFT_NO_UNROLL
        for (int owner = 0; owner < 4; owner += 2) {
          float weight[row_blocks][2][2];
          GRAFT_UNROLL
          for (int m = 0; m < row_blocks; ++m) {
            GRAFT_UNROLL
            for (int half = 0; half < 2; ++half) {
              GRAFT_UNROLL
              for (int next = 0; next < 2; ++next)
                weight[m][half][next] = shuffle(p[m][block][2 * half + odd],
                                                lane_id() - lane_id() % 4 + owner + next);
            }
          }
          const int row = 8 * block + 2 * owner + odd;
          GRAFT_UNROLL
          for (int n = 0; n < column_blocks; ++n) {
            const float2 x = value_pair<head_dim>(v, row, n);
            const float2 y = value_pair<head_dim>(v, row + 2, n);
            GRAFT_UNROLL
            for (int m = 0; m < row_blocks; ++m) {
              GRAFT_UNROLL
              for (int half = 0; half < 2; ++half) {
                const float(&w)[2] = weight[m][half];
                float(&sums)[4] = o[m][n];
                sums[2 * half] += fma_rn(w[1], y.x, w[0] * x.x);
                sums[2 * half + 1] += fma_rn(w[1], y.y, w[0] * x.y);
              }
            }
          }
        }
      }
    }
  }
};

}  // namespace graft::cuda
