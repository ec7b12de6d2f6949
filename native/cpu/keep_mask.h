// Dropout masks, many bytes at a time. Byte j (0..15) of a Philox counter belongs to column
// 16 * counter + j; an element is kept if its byte is >= k (graft.h, "random numbers").
//
// Philox 4x32-10 (Salmon et al., SC 2011, 3.3) needs 32 x 32 -> 64 bit products. Each 64-bit lane
// holds one 32-bit word of one counter; the multiplier ignores the lane's upper half, so products,
// shifts and exclusive ors are all that a round takes and no half need be cleared before the end.
#pragma once

#include "lanes.h"
#include "philox.h"

namespace graft::GRAFT_ISA {

constexpr int keep_lanes = W / 2;  // counters a vector
typedef uint64_t vq __attribute__((vector_size(keep_lanes * sizeof(uint64_t))));
typedef uint8_t vb __attribute__((vector_size(W)));

// Counters (and bytes) that keep_bytes makes at once: four vectors, to fill the multiplier's latency.
constexpr int keep_counters = 4 * keep_lanes;
constexpr int keep_block = 16 * keep_counters;  // bytes: 128, 256 or 512
static_assert(512 % keep_block == 0, "rows are padded to 512 bytes");

static inline vq splat_word(uint64_t x) { return x - vq{}; }

// Products of the lower halves.
static inline vq multiply_low(vq a, vq b) {
#if defined(__AVX512F__)
  return (vq)_mm512_mul_epu32((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
  return (vq)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif defined(__x86_64__)
  return (vq)_mm_mul_epu32((__m128i)a, (__m128i)b);
#else
  return (a & splat_word(0xFFFFFFFFu)) * (b & splat_word(0xFFFFFFFFu));
#endif
}

// Even lanes take a vector's first counters, odd lanes the others: interleaving 64-bit lanes at the
// end then leaves them in order.
static inline vq lane_counters() {
  vq counters{};
  for (int lane = 0; lane < keep_lanes; ++lane)
    counters[lane] = static_cast<uint64_t>((lane % 2) * (keep_lanes / 2) + lane / 2);
  return counters;
}

// The bytes of four vectors of counters, in order: counter i of vector v is
// (first[v] + i, c1[v], c2, c3).
static inline void keep_bytes(uint64_t key, const uint32_t (&first)[4], const uint32_t (&c1)[4],
                              uint32_t c2, uint32_t c3, uint8_t* bytes) {
  const vq multiplier0 = splat_word(0xD2511F53u);
  const vq multiplier1 = splat_word(0xCD9E8D57u);
  vq w0[4], w1[4], w2[4], w3[4];
  for (int v = 0; v < 4; ++v) {
    w0[v] = splat_word(first[v]) + lane_counters();
    w1[v] = splat_word(c1[v]);
    w2[v] = splat_word(c2);
    w3[v] = splat_word(c3);
  }
  uint32_t key0 = static_cast<uint32_t>(key);
  uint32_t key1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const vq k0 = splat_word(key0);
    const vq k1 = splat_word(key1);
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) {
      const vq p0 = multiply_low(w0[v], multiplier0);
      const vq p1 = multiply_low(w2[v], multiplier1);
      w0[v] = (p1 >> 32) ^ w1[v] ^ k0;
      w1[v] = p1;
      w2[v] = (p0 >> 32) ^ w3[v] ^ k1;
      w3[v] = p0;
    }
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  const vq low = splat_word(0xFFFFFFFFu);
  for (int v = 0; v < 4; ++v) {
    const vq front = (w0[v] & low) | (w1[v] << 32);
    const vq back = (w2[v] & low) | (w3[v] << 32);
    uint8_t* to = bytes + v * 16 * keep_lanes;
#if defined(__AVX512F__)
    const __m512i even = _mm512_unpacklo_epi64((__m512i)front, (__m512i)back);
    const __m512i odd = _mm512_unpackhi_epi64((__m512i)front, (__m512i)back);
    std::memcpy(to, &even, sizeof even);
    std::memcpy(to + 64, &odd, sizeof odd);
#elif defined(__AVX2__)
    const __m256i even = _mm256_unpacklo_epi64((__m256i)front, (__m256i)back);
    const __m256i odd = _mm256_unpackhi_epi64((__m256i)front, (__m256i)back);
    std::memcpy(to, &even, sizeof even);
    std::memcpy(to + 32, &odd, sizeof odd);
#else
    for (int lane = 0; lane < keep_lanes; ++lane) {
      const int offset = (lane % 2) * (keep_lanes / 2) + lane / 2;
      const uint64_t words[2] = {front[lane], back[lane]};  // little endian, as the contract's bytes
      std::memcpy(to + 16 * offset, words, sizeof words);
    }
#endif
  }
}

// The bytes of counters (first + i, c1, c2, c3), i in [0, keep_counters), in order.
static inline void keep_bytes(uint64_t key, uint32_t first, uint32_t c1, uint32_t c2, uint32_t c3,
                              uint8_t* bytes) {
  constexpr auto step = static_cast<uint32_t>(keep_lanes);
  const uint32_t starts[4] = {first, first + step, first + 2 * step, first + 3 * step};
  const uint32_t rows[4] = {c1, c1, c1, c1};
  keep_bytes(key, starts, rows, c2, c3, bytes);
}

static inline int64_t padded_keep_bytes(int64_t columns) { return (columns + 511) / 512 * 512; }

// Bytes of columns [begin, end) of a row; begin is a multiple of 16. Writes whole blocks, so `bytes`
// holds padded_keep_bytes(end - begin). (c1, c2, c3) are (row, 0, 0) for hidden dropout,
// (query, head, sequence) for attention.
static inline void keep_row(uint64_t key, int64_t begin, int64_t end, uint32_t c1, uint32_t c2,
                            uint32_t c3, uint8_t* bytes) {
  uint32_t counter = static_cast<uint32_t>(begin / 16);
  for (int64_t column = begin; column < end; column += keep_block) {
    keep_bytes(key, counter, c1, c2, c3, bytes);
    counter += keep_counters;
    bytes += keep_block;
  }
}

// W bytes as integers.
static inline vi widen_bytes(const uint8_t* bytes) {
#if defined(__AVX512F__)
  return (vi)_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes)));
#elif defined(__AVX2__)
  return (vi)_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes)));
#elif defined(__x86_64__)
  int32_t word;
  std::memcpy(&word, bytes, sizeof word);
  const __m128i none = _mm_setzero_si128();
  return (vi)_mm_unpacklo_epi16(_mm_unpacklo_epi8(_mm_cvtsi32_si128(word), none), none);
#else
  vb b;
  std::memcpy(&b, bytes, sizeof b);
  return __builtin_convertvector(b, vi);
#endif
}

// x * scale where the bytes keep, else 0. Reads W bytes.
static inline vf drop(vf x, const uint8_t* bytes, vi k, vf scale) {
  const vi keep = widen_bytes(bytes) >= k;
  return float_of(bits_of(x * scale) & keep);
}

// A dropout's constants. An op with k = 0 draws nothing.
struct dropout_rule {
  uint64_t key;
  vi k;
  vf scale;
};
static inline dropout_rule dropout_of(const cpu_context& context, int32_t k, uint32_t op_id) {
  return {stream_key(context, op_id), splat_int(k), splat(256.0f / static_cast<float>(256 - k))};
}

// Columns whose bytes a kernel without workspace makes at once, on its stack.
constexpr int64_t keep_chunk = 512;

}  // namespace graft::GRAFT_ISA
