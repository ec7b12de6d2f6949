// C[m, n] = start + A[m, k] B[k, n] with A and B in bfloat16 and C in float, by the dot products of
// AVX512-BF16: an instruction takes a pair of terms in each lane, twice the multiply-adds of float.
//
// Terms k lie in pairs, the earlier one in the lower half of a 32-bit word; an odd last term is paired
// with 0. Of A a word is broadcast: rows of bfloat16 are such words as they lie in memory. B has the
// words of a pair of terms side by side, [ceil(k / 2), n].
//
// A micro tile is 6 rows by 4 vectors: 24 sums, 4 vectors of B and one word of A, 29 of 32 registers
// and 10 loads for 24 products. (12 rows by 2 vectors need 14 loads, and a core of Zen 4, which loads
// one vector of 512 bits a cycle, then gives 94 % of its rate.) It is left for a rest of 32 columns.
//
// The instruction rounds to nearest even after each of the two terms, and takes denormal terms and
// sums as 0.
#pragma once

#if defined(__AVX512BF16__)

#include "tile_matmul.h"

namespace graft::GRAFT_ISA {

constexpr int dot_rows = 6, dot_vectors = 4;

// c + a.low * b.low + a.high * b.high in each lane.
static inline vf dot(vf c, vi a, vi b) {
  return (vf)_mm512_dpbf16_ps((__m512)c, (__m512bh)a, (__m512bh)b);
}
static inline vi load_words(const uint32_t* p) {
  vi x;
  std::memcpy(&x, p, sizeof x);
  return x;
}

// As tile_product, with A and B in words of two terms; k and ranges count terms.
struct dot_product {
  int64_t m, n, k;    // n is a multiple of NR
  const uint32_t* a;  // pair p of row i at a[i * a_row + p], or a[p * a_row + i] if transposed
  int64_t a_row;
  const uint32_t* b;
  int64_t b_row;
  float* c;
  int64_t c_row;
  const float* factors = nullptr;
  int64_t first = 0, first_step = 0;
  int64_t last = INT64_MAX / 2, last_step = 0;
  int64_t columns = INT64_MAX / 2, column_step = 0;
  bool exact_ranges = false;
};

template <start from>
GRAFT_INLINE static inline void finish(float* to, vf sum, const float* factors, int64_t i) {
  if constexpr (from == start::add)
    sum += load(to);
  else if constexpr (from == start::scaled)
    sum = fma(load(to), splat(factors[i]), sum);
  store(to, sum);
}

template <int rows, int vectors, bool transposed, start from>
GRAFT_INLINE static inline void dot_tile(const uint32_t* a, int64_t a_row, const uint32_t* b,
                                         int64_t b_row, float* c, int64_t c_row,
                                         const float* factors, int64_t pairs) {
  vf sums[rows * vectors];
#pragma GCC unroll 24
  for (int i = 0; i < rows * vectors; ++i) sums[i] = zero();
#pragma GCC unroll 2
  for (int64_t p = 0; p < pairs; ++p) {
    vi words[vectors];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) words[v] = load_words(b + v * W);
#pragma GCC unroll 12
    for (int i = 0; i < rows; ++i) {
      const vi x = splat_int(static_cast<int32_t>(transposed ? a[i] : a[i * a_row]));
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v)
        sums[i * vectors + v] = dot(sums[i * vectors + v], x, words[v]);
    }
    a += transposed ? a_row : 1;
    b += b_row;
  }
#pragma GCC unroll 12
  for (int i = 0; i < rows; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v)
      finish<from>(c + i * c_row + v * W, sums[i * vectors + v], factors, i);
}

// The accumulators need a row count known at compile time.
template <int rows, int vectors, bool transposed, start from>
static inline void dot_rows_of(int64_t n, const uint32_t* a, int64_t a_row, const uint32_t* b,
                               int64_t b_row, float* c, int64_t c_row, const float* factors,
                               int64_t pairs) {
  if constexpr (rows > 0) {
    if (n == rows)
      dot_tile<rows, vectors, transposed, from>(a, a_row, b, b_row, c, c_row, factors, pairs);
    else
      dot_rows_of<rows - 1, vectors, transposed, from>(n, a, a_row, b, b_row, c, c_row, factors,
                                                       pairs);
  }
}

// Row i of C over the terms [begin, end) and no others, whatever the other half of a pair at the ends
// holds in B.
template <bool transposed, start from>
static void exact_row(const dot_product& t, int64_t i, int64_t begin, int64_t end) {
  for (int64_t j = 0; j < t.n; j += W) {
    vf sum = zero();
    for (int64_t p = begin / 2; 2 * p < end; ++p) {
      vi words = load_words(t.b + p * t.b_row + j);
      if (2 * p < begin) words &= splat_int(static_cast<int32_t>(0xFFFF0000u));
      if (2 * p + 1 == end) words &= splat_int(0xFFFF);
      const uint32_t x = transposed ? t.a[p * t.a_row + i] : t.a[i * t.a_row + p];
      sum = dot(sum, splat_int(static_cast<int32_t>(x)), words);
    }
    finish<from>(t.c + i * t.c_row + j, sum, t.factors, i);
  }
}

template <bool transposed, start from>
static inline void dot_matmul(const dot_product& t) {
  const auto begin_of = [&](int64_t i, int64_t end) {
    return within(t.first + i * t.first_step, 0, end);
  };
  const auto end_of = [&](int64_t i) { return within(t.last + i * t.last_step, 0, t.k); };
  if (t.exact_ranges) {
    for (int64_t i = 0; i < t.m; ++i)
      exact_row<transposed, from>(t, i, begin_of(i, end_of(i)), end_of(i));
    return;
  }
  constexpr int64_t wide = dot_vectors * W;
  for (int64_t j = 0; j < t.n; j += wide) {
    const bool rest = t.n - j < wide;
    int64_t rows;
    for (int64_t i = 0; i < t.m; i += rows) {
      rows = micro_tile_rows(t.m - i, rest ? 2 * dot_rows : dot_rows);
      const int64_t last_row = i + rows - 1;
      const int64_t columns = t.columns + last_row * t.column_step - j;
      if (columns <= 0) continue;
      const int64_t end = end_of(last_row), begin = begin_of(i, end) / 2;
      const uint32_t* a = t.a + (transposed ? begin * t.a_row + i : i * t.a_row + begin);
      const uint32_t* b = t.b + begin * t.b_row + j;
      float* c = t.c + i * t.c_row + j;
      const float* factors = t.factors == nullptr ? nullptr : t.factors + i;
      const int64_t pairs = (end + 1) / 2 - begin;
      if (rest || columns <= wide / 2)
        dot_rows_of<2 * dot_rows, 2, transposed, from>(rows, a, t.a_row, b, t.b_row, c, t.c_row,
                                                       factors, pairs);
      else
        dot_rows_of<dot_rows, dot_vectors, transposed, from>(rows, a, t.a_row, b, t.b_row, c,
                                                             t.c_row, factors, pairs);
    }
  }
}

}  // namespace graft::GRAFT_ISA

#endif
