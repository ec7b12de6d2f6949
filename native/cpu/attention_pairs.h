// Copies of strided rows of bfloat16 into tiles of words, two terms of a product each (dot_matmul.h).
// What lies beyond the rows and columns asked for is 0.
#pragma once

#if defined(__AVX512BF16__)

#include "attention_dot.h"
#include "attention_pack.h"

namespace graft::GRAFT_ISA {

constexpr int64_t half_lanes = 2 * W;  // numbers of bfloat16 a vector

// half_lanes numbers from p, or the first n of them.
static inline __m512i load_halves(const bf16* p, int64_t n) {
  if (n >= half_lanes) return _mm512_loadu_si512(p);
  return _mm512_maskz_loadu_epi16((1u << at_least(n, 0)) - 1u, p);
}

// to[r, 0..d) = from[r, 0..d), as pairs along d. With `flip` 0x8000 signs change.
static inline void pack_pair_rows(const bf16* from, int64_t from_row, int64_t rows, int64_t d,
                                  uint16_t flip, uint32_t* to, int64_t to_row) {
  const __m512i signs = _mm512_set1_epi16(static_cast<short>(flip));
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < d; c += half_lanes)
      _mm512_storeu_si512(to + r * to_row + c / 2,
                          _mm512_xor_si512(load_halves(from + r * from_row + c, d - c), signs));
}

// to[p, r] = (from[r, 2p], from[r, 2p + 1]) for `rows` keys and the columns up to round_up(rows, NR).
static inline void pack_pair_columns(const bf16* from, int64_t from_row, int64_t rows, int64_t d,
                                     uint32_t* to, int64_t to_row) {
  for (int64_t r = 0; r < round_up(rows, NR); r += W)
    for (int64_t c = 0; c < d; c += half_lanes) {
      vf block[W];
#pragma GCC unroll 16
      for (int i = 0; i < W; ++i)
        block[i] = r + i < rows ? (vf)load_halves(from + (r + i) * from_row + c, d - c) : zero();
      transpose(block);
      const int words = static_cast<int>(at_most(W, words_of(d - c)));
      for (int p = 0; p < words; ++p)
        std::memcpy(to + (c / 2 + p) * to_row + r, &block[p], sizeof block[p]);
    }
}

// Lanes of two rows by turns: the first half of the lanes, the second half.
static inline __m512i pair_first(__m512i a, __m512i b) {
  alignas(64) static constexpr int16_t lanes[32] = {0,  32, 1,  33, 2,  34, 3,  35, 4,  36, 5,
                                                    37, 6,  38, 7,  39, 8,  40, 9,  41, 10, 42,
                                                    11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
  return _mm512_permutex2var_epi16(a, _mm512_load_si512(lanes), b);
}
static inline __m512i pair_second(__m512i a, __m512i b) {
  alignas(64) static constexpr int16_t lanes[32] = {16, 48, 17, 49, 18, 50, 19, 51, 20, 52, 21,
                                                    53, 22, 54, 23, 55, 24, 56, 25, 57, 26, 58,
                                                    27, 59, 28, 60, 29, 61, 30, 62, 31, 63};
  return _mm512_permutex2var_epi16(a, _mm512_load_si512(lanes), b);
}

// Lanes of a vector's two halves by turns.
static inline __m512i interleave_halves(__m512i x) {
  alignas(64) static constexpr int16_t lanes[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                    21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                    11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  return _mm512_permutexvar_epi16(_mm512_load_si512(lanes), x);
}

// to[p, c] = (row(2p)[c], row(2p + 1)[c]) for c < round_up(d, NR). True if all of it is finite.
template <typename Row>
static inline bool pack_row_pairs(const Row& row, int64_t rows, int64_t d, uint32_t* to,
                                  int64_t to_row) {
  const __m512i exponent = _mm512_set1_epi16(0x7F80);
  __mmask32 bad = 0;
  for (int64_t r = 0; r < rows; r += 2) {
    const bf16* low = row(r);
    const bf16* high = r + 1 < rows ? row(r + 1) : nullptr;
    for (int64_t c = 0; c < d; c += half_lanes) {
      const __m512i x = low == nullptr ? _mm512_setzero_si512() : load_halves(low + c, d - c);
      const __m512i y = high == nullptr ? _mm512_setzero_si512() : load_halves(high + c, d - c);
      bad |= _mm512_cmpeq_epi16_mask(_mm512_and_si512(x, exponent), exponent) |
             _mm512_cmpeq_epi16_mask(_mm512_and_si512(y, exponent), exponent);
      uint32_t* out = to + r / 2 * to_row + c;
      _mm512_storeu_si512(out, pair_first(x, y));
      _mm512_storeu_si512(out + W, pair_second(x, y));
    }
  }
  return bad == 0;
}

// The same of rows that all lie in memory.
static inline bool pack_row_pairs(const bf16* from, int64_t from_row, int64_t rows, int64_t d,
                                  uint32_t* to, int64_t to_row) {
  return pack_row_pairs([&](int64_t r) { return from + r * from_row; }, rows, d, to, to_row);
}

// Two vectors as bfloat16, x first.
static inline __m512i round_pair(vf x, vf y) {
  return (__m512i)_mm512_cvtne2ps_pbh((__m512)y, (__m512)x);
}

}  // namespace graft::GRAFT_ISA

#endif
