// C[m, n] = start + A[m, k] B[k, n] on float tiles in cache, by outer products held in registers.
//
// A micro tile is MR rows by NR = 2 W columns: its MR * 2 accumulators, two vectors of B and one
// broadcast of A fill the register file (6 * 2 + 3 = 15 of 16 on AVX2, 12 * 2 + 3 = 27 of 32 on
// AVX-512). Two multiply-adds start a cycle and take four, so from 4 rows on the units stay busy;
// a rest of 7 rows is therefore done as 4 + 3, not 6 + 1.
//
// Row strides of tiles are an odd number of cache lines (tile_row): rows of a power of two would all
// fall into a few sets of the first-level cache.
#pragma once

#include <type_traits>

#include "lanes.h"

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
// Floats from one row of a tile to the next, for n columns in use.
static inline int64_t tile_row(int64_t n) {
  constexpr int64_t line = 16;
  const int64_t lines = round_up(n, NR) / line + (NR < line && round_up(n, NR) % line != 0);
  return (lines + (lines % 2 == 0)) * line;
}

// What C starts from: 0, C, or C times a factor a row.
enum class start { zero, add, scaled };

struct tile_product {
  int64_t m, n, k;  // n is a multiple of NR
  const float* a;   // (i, p) at a[i * a_row + p], or a[p * a_row + i] if transposed
  int64_t a_row;
  const float* b;
  int64_t b_row;
  float* c;
  int64_t c_row;
  const float* factors = nullptr;  // [m], start::scaled

  // A triangle of zeros need not be multiplied. Row i of A is used for p in
  // [first + i first_step, last + i last_step), cut to [0, k); rows of a micro tile share the widest
  // range among them, so A holds zeros where a row's own range ends earlier.
  int64_t first = 0, first_step = 0;
  int64_t last = INT64_MAX / 2, last_step = 0;
  // Row i of C is wanted for columns below columns + i column_step; micro tiles beyond are left as
  // they are.
  int64_t columns = INT64_MAX / 2, column_step = 0;
  // Terms summed from 0 before they join C; fewer are more exact.
  int64_t run = INT64_MAX;
  // One row a micro tile, so that every row keeps to its own range: for a B with infinities or NaN,
  // which times 0 are not 0. Slow.
  bool exact_ranges = false;
};

template <int rows, bool transposed, start from>
GRAFT_INLINE static inline void micro_tile(const float* a, int64_t a_row, const float* b,
                                           int64_t b_row, float* c, int64_t c_row,
                                           const float* factors, int64_t k) {
  // The sums start from 0 and C is added at the end: its rounding would else be that of the whole sum
  // at every step.
  vf low[rows], high[rows];
#pragma GCC unroll 12
  for (int i = 0; i < rows; ++i) low[i] = high[i] = zero();
#pragma GCC unroll 2
  for (int64_t p = 0; p < k; ++p) {
    const vf b_low = load(b);
    const vf b_high = load(b + W);
#pragma GCC unroll 12
    for (int i = 0; i < rows; ++i) {
      const vf x = splat(transposed ? a[i] : a[i * a_row]);
      low[i] = fma(x, b_low, low[i]);
      high[i] = fma(x, b_high, high[i]);
    }
    a += transposed ? a_row : 1;
    b += b_row;
  }
#pragma GCC unroll 12
  for (int i = 0; i < rows; ++i) {
    float* to = c + i * c_row;
    if constexpr (from == start::add) {
      low[i] += load(to);
      high[i] += load(to + W);
    } else if constexpr (from == start::scaled) {
      low[i] = fma(load(to), splat(factors[i]), low[i]);
      high[i] = fma(load(to + W), splat(factors[i]), high[i]);
    }
    store(to, low[i]);
    store(to + W, high[i]);
  }
}

// The accumulators need a row count known at compile time.
template <int rows, bool transposed, start from>
static inline void micro_rows(int64_t n, const float* a, int64_t a_row, const float* b,
                              int64_t b_row, float* c, int64_t c_row, const float* factors,
                              int64_t k) {
  if constexpr (rows > 0) {
    if (n == rows)
      micro_tile<rows, transposed, from>(a, a_row, b, b_row, c, c_row, factors, k);
    else
      micro_rows<rows - 1, transposed, from>(n, a, a_row, b, b_row, c, c_row, factors, k);
  }
}

// Rows of the next micro tile, `most` at most, when `left` are to do.
static inline int64_t micro_tile_rows(int64_t left, int64_t most) {
  return left <= most ? left : left < 2 * most ? (left + 1) / 2 : most;
}

static inline int64_t within(int64_t x, int64_t low, int64_t high) {
  return x < low ? low : x > high ? high : x;
}

template <bool transposed, start from>
static inline void tile_matmul(const tile_product& t) {
  for (int64_t j = 0; j < t.n; j += NR) {
    int64_t rows;
    for (int64_t i = 0; i < t.m; i += rows) {
      rows = t.exact_ranges ? 1 : micro_tile_rows(t.m - i, MR);
      const int64_t last_row = i + rows - 1;
      if (j >= t.columns + last_row * t.column_step) continue;
      const int64_t end = within(t.last + last_row * t.last_step, 0, t.k);
      const int64_t begin = within(t.first + i * t.first_step, 0, end);
      const float* factors = t.factors == nullptr ? nullptr : t.factors + i;
      float* c = t.c + i * t.c_row + j;
      const auto run = [&](auto start_of, int64_t p, int64_t terms) {
        micro_rows<MR, transposed, decltype(start_of)::value>(
            rows, t.a + (transposed ? p * t.a_row + i : i * t.a_row + p), t.a_row,
            t.b + p * t.b_row + j, t.b_row, c, t.c_row, factors, terms);
      };
      const int64_t terms = end - begin < t.run ? end - begin : t.run;
      run(std::integral_constant<start, from>{}, begin, terms);
      for (int64_t p = begin + terms; p < end; p += t.run)
        run(std::integral_constant<start, start::add>{}, p, end - p < t.run ? end - p : t.run);
    }
  }
}

}  // namespace graft::GRAFT_ISA
