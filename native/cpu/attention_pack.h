// Copies between strided rows of float32 or bfloat16 in memory and float32 tiles in cache.
#pragma once

#include "attention_tiles.h"

namespace graft::GRAFT_ISA {

// to[r, 0..width) = factor * from[r, 0..d), zero beyond d. True if all of it is finite.
template <typename T>
static inline bool pack_rows(const T* from, int64_t from_row, int64_t rows, int64_t d, float factor,
                             float* to, int64_t to_row, int64_t width) {
  vf probe = zero();  // stays 0 unless an element is infinite or NaN
  for (int64_t r = 0; r < rows; ++r) {
    const T* in = from + r * from_row;
    float* out = to + r * to_row;
    for_lanes(0, d, [&](int64_t c, auto lanes) {
      const vf x = load(in + c, lanes) * splat(factor);
      probe = fma(x, zero(), probe);
      store(out + c, x);
    });
    for (int64_t c = round_up(d, W); c < width; c += W) store(out + c, zero());
  }
  return sum_lanes(probe) == 0.0f;
}

// Lanes of a and b by turns: of their first halves, of their second halves.
static inline vf interleave_first(vf a, vf b) {
#if defined(__AVX512F__)
  return __builtin_shuffle(a, b, vi{0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23});
#elif defined(__AVX2__)
  return __builtin_shuffle(a, b, vi{0, 8, 1, 9, 2, 10, 3, 11});
#else
  return __builtin_shuffle(a, b, vi{0, 4, 1, 5});
#endif
}
static inline vf interleave_second(vf a, vf b) {
#if defined(__AVX512F__)
  return __builtin_shuffle(a, b, vi{8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31});
#elif defined(__AVX2__)
  return __builtin_shuffle(a, b, vi{4, 12, 5, 13, 6, 14, 7, 15});
#else
  return __builtin_shuffle(a, b, vi{2, 6, 3, 7});
#endif
}

// Transposes W rows of W lanes: interleaving row i with row i + W/2, log2 W times, does it.
GRAFT_INLINE static inline void transpose(vf (&rows)[W]) {
#pragma GCC unroll 4
  for (int round = W; round > 1; round /= 2) {
    vf next[W];
#pragma GCC unroll 8
    for (int i = 0; i < W / 2; ++i) {
      next[2 * i] = interleave_first(rows[i], rows[i + W / 2]);
      next[2 * i + 1] = interleave_second(rows[i], rows[i + W / 2]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < W; ++i) rows[i] = next[i];
  }
}

// to[c, r] = from[r, c] for `rows` keys; columns rows .. round_up(rows, NR) of `to` become 0.
template <typename T>
static inline void pack_transposed(const T* from, int64_t from_row, int64_t rows, int64_t d,
                                   float* to, int64_t to_row) {
  for (int64_t r = 0; r < round_up(rows, NR); r += W) {
    const int64_t live = rows - r;
    for_lanes(0, d, [&](int64_t c, auto lanes) {
      vf block[W];
      if (live >= W) {
#pragma GCC unroll 16
        for (int i = 0; i < W; ++i) block[i] = load(from + (r + i) * from_row + c, lanes);
      } else {
        for (int i = 0; i < W; ++i)
          block[i] = i < live ? load(from + (r + i) * from_row + c, lanes) : zero();
      }
      transpose(block);
      if (d - c >= W) {
#pragma GCC unroll 16
        for (int j = 0; j < W; ++j) store(to + (c + j) * to_row + r, block[j]);
      } else {
        for (int j = 0; j < static_cast<int>(d - c); ++j)
          store(to + (c + j) * to_row + r, block[j]);
      }
    });
  }
}

// to[0..d) = factor * from[0..d)
template <typename T>
static inline void unpack_row(const float* from, int64_t d, vf factor, T* to) {
  for_lanes(0, d, [&](int64_t c, auto lanes) { store(to + c, load(from + c) * factor, lanes); });
}

// The largest lane, in all lanes. A NaN is passed over (the maximum of NaN and x is x).
static inline vf higher(vf x, vf best) {
#if defined(__AVX512F__)
  return (vf)_mm512_max_ps((__m512)x, (__m512)best);
#elif defined(__AVX2__)
  return (vf)_mm256_max_ps((__m256)x, (__m256)best);
#elif defined(__x86_64__)
  return (vf)_mm_max_ps((__m128)x, (__m128)best);
#else
  return x > best ? x : best;
#endif
}
static inline vf highest_lane(vf x) {
#if defined(__AVX512F__)
  x = higher(x, __builtin_shuffle(x, vi{8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7}));
  x = higher(x, __builtin_shuffle(x, vi{4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11}));
  x = higher(x, __builtin_shuffle(x, vi{2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13}));
  return higher(x, __builtin_shuffle(x, vi{1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14}));
#elif defined(__AVX2__)
  x = higher(x, __builtin_shuffle(x, vi{4, 5, 6, 7, 0, 1, 2, 3}));
  x = higher(x, __builtin_shuffle(x, vi{2, 3, 0, 1, 6, 7, 4, 5}));
  return higher(x, __builtin_shuffle(x, vi{1, 0, 3, 2, 5, 4, 7, 6}));
#else
  x = higher(x, __builtin_shuffle(x, vi{2, 3, 0, 1}));
  return higher(x, __builtin_shuffle(x, vi{1, 0, 3, 2}));
#endif
}

}  // namespace graft::GRAFT_ISA
