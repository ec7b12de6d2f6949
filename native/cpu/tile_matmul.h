// C[M, N] (+)= A[M, K] B[K, N] on float tiles in cache, by outer products held in registers.
//
// A micro tile is MR rows by NR = 2 W columns: its MR * 2 accumulators, two vectors of B and one
// broadcast of A fill the register file (6 * 2 + 3 = 15 of 16 on AVX2, 12 * 2 + 3 = 27 of 32 on
// AVX-512). A is read by broadcast, so any strides will do, a transposed A included; B's rows are
// contiguous and padded to a multiple of NR.
#pragma once

#include "simd.h"

namespace graft::GRAFT_ISA {

constexpr int NR = 2 * W;
#if defined(__AVX512F__)
constexpr int MR = 12;
#else
constexpr int MR = 6;
#endif

static inline int64_t round_up(int64_t n, int64_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

// rows <= MR, known at compile time so that the accumulators stay in registers.
template <int rows>
static inline void micro_tile(const float* a, int64_t a_row, int64_t a_k, const float* b,
                              int64_t b_k, float* c, int64_t c_row, int64_t k, bool accumulate) {
  vf low[rows], high[rows];
#pragma GCC unroll 12
  for (int i = 0; i < rows; ++i) {
    low[i] = accumulate ? load(c + i * c_row) : zero();
    high[i] = accumulate ? load(c + i * c_row + W) : zero();
  }
  for (int64_t p = 0; p < k; ++p) {
    const vf b_low = load(b + p * b_k);
    const vf b_high = load(b + p * b_k + W);
    const float* column = a + p * a_k;
#pragma GCC unroll 12
    for (int i = 0; i < rows; ++i) {
      const vf x = splat(column[i * a_row]);
      low[i] = fma(x, b_low, low[i]);
      high[i] = fma(x, b_high, high[i]);
    }
  }
#pragma GCC unroll 12
  for (int i = 0; i < rows; ++i) {
    store(c + i * c_row, low[i]);
    store(c + i * c_row + W, high[i]);
  }
}

template <int rows>
static inline void micro_rows(int64_t n, const float* a, int64_t a_row, int64_t a_k, const float* b,
                              int64_t b_k, float* c, int64_t c_row, int64_t k, bool accumulate) {
  if constexpr (rows > 0) {
    if (n == rows)
      micro_tile<rows>(a, a_row, a_k, b, b_k, c, c_row, k, accumulate);
    else
      micro_rows<rows - 1>(n, a, a_row, a_k, b, b_k, c, c_row, k, accumulate);
  }
}

// n is a multiple of NR; a's element (i, p) is a[i * a_row + p * a_k].
static inline void tile_matmul(int64_t m, int64_t n, int64_t k, const float* a, int64_t a_row,
                               int64_t a_k, const float* b, int64_t b_k, float* c, int64_t c_row,
                               bool accumulate) {
  for (int64_t j = 0; j < n; j += NR) {
    int64_t i = 0;
    for (; i + MR <= m; i += MR)
      micro_tile<MR>(a + i * a_row, a_row, a_k, b + j, b_k, c + i * c_row + j, c_row, k,
                     accumulate);
    if (i < m)
      micro_rows<MR - 1>(m - i, a + i * a_row, a_row, a_k, b + j, b_k, c + i * c_row + j, c_row, k,
                         accumulate);
  }
}

}  // namespace graft::GRAFT_ISA
