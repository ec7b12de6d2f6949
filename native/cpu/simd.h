// One vector of floats as wide as the instruction set, by GCC vector extensions, so that a kernel is
// written once for all of them. W lanes: 16 (AVX-512), 8 (AVX2), 4 (baseline).
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "cpu.h"

namespace graft::GRAFT_ISA {

#if defined(__AVX512F__)
constexpr int W = 16;
#elif defined(__AVX2__)
constexpr int W = 8;
#else
constexpr int W = 4;
#endif

typedef float vf __attribute__((vector_size(W * sizeof(float))));
typedef int32_t vi __attribute__((vector_size(W * sizeof(int32_t))));
typedef uint32_t vu __attribute__((vector_size(W * sizeof(uint32_t))));
typedef uint16_t vh __attribute__((vector_size(W * sizeof(uint16_t))));

// A bfloat16 in memory.
struct bf16 {
  uint16_t bits;
};

static inline vf splat(float x) { return x - vf{}; }
static inline vf zero() { return vf{}; }
static inline vi splat_int(int32_t x) { return x - vi{}; }

static inline vf fma(vf a, vf b, vf c) {
#if defined(__AVX512F__)
  return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__AVX2__)
  return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
  return a * b + c;
#endif
}

// The second argument where either is NaN, as the instructions have it.
static inline vf max(vf a, vf b) {
#if defined(__AVX512F__)
  return (vf)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
  return (vf)_mm256_max_ps((__m256)a, (__m256)b);
#elif defined(__x86_64__)
  return (vf)_mm_max_ps((__m128)a, (__m128)b);
#else
  return a > b ? a : b;
#endif
}
static inline vf min(vf a, vf b) {
#if defined(__AVX512F__)
  return (vf)_mm512_min_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
  return (vf)_mm256_min_ps((__m256)a, (__m256)b);
#elif defined(__x86_64__)
  return (vf)_mm_min_ps((__m128)a, (__m128)b);
#else
  return a < b ? a : b;
#endif
}

static inline vf sqrt(vf x) {
#if defined(__AVX512F__)
  return (vf)_mm512_sqrt_ps((__m512)x);
#elif defined(__AVX2__)
  return (vf)_mm256_sqrt_ps((__m256)x);
#else
  for (int i = 0; i < W; ++i) x[i] = std::sqrt(x[i]);
  return x;
#endif
}

static inline vi bits_of(vf x) {
  vi y;
  std::memcpy(&y, &x, sizeof y);
  return y;
}
static inline vf float_of(vi x) {
  vf y;
  std::memcpy(&y, &x, sizeof y);
  return y;
}

// ---- float32 <-> bfloat16 -----------------------------------------------------------------------

static inline float to_float(bf16 x) {
  const uint32_t bits = uint32_t{x.bits} << 16;
  float y;
  std::memcpy(&y, &bits, sizeof y);
  return y;
}
static inline float to_float(float x) { return x; }

// Round to nearest even; a NaN stays one (its payload may vanish in the cut, so it is made quiet).
static inline bf16 to_bf16(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return {static_cast<uint16_t>((bits >> 16) | 0x40u)};
  bits += 0x7FFFu + ((bits >> 16) & 1u);
  return {static_cast<uint16_t>(bits >> 16)};
}
static inline void assign(float* to, float x) { *to = x; }
static inline void assign(bf16* to, float x) { *to = to_bf16(x); }

// The generic conversions between vectors of 16 and 32 bits compile to several times the instructions
// these have, hence the intrinsics.
static inline vf widen(vh h) {
#if defined(__AVX512F__)
  return (vf)_mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)h), 16);
#elif defined(__AVX2__)
  return (vf)_mm256_slli_epi32(_mm256_cvtepu16_epi32((__m128i)h), 16);
#elif defined(__x86_64__)
  uint64_t bits;
  std::memcpy(&bits, &h, sizeof bits);
  return (vf)_mm_unpacklo_epi16(_mm_setzero_si128(),
                                _mm_cvtsi64_si128(static_cast<long long>(bits)));
#else
  return float_of((vi)(__builtin_convertvector(h, vu) << 16));
#endif
}

// The bits of x rounded to bfloat16 in the upper half of each lane, anything in the lower half.
static inline vu rounded_bits(vf x) {
  const vu bits = (vu)bits_of(x);
  const vu rounded = bits + 0x7FFFu + ((bits >> 16) & 1u);
  return x == x ? rounded : (bits | 0x400000u);
}

static inline vh round_to_bf16(vf x) {
  const vu upper = rounded_bits(x) >> 16;
#if defined(__AVX512F__)
  return (vh)_mm512_cvtepi32_epi16((__m512i)upper);
#elif defined(__AVX2__)
  const __m256i packed = _mm256_packus_epi32((__m256i)upper, (__m256i)upper);
  return (vh)_mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0x08));
#elif defined(__x86_64__)
  // No unsigned pack before SSE4.1: the signed one keeps values that are sign-extended first.
  const __m128i extended = _mm_srai_epi32(_mm_slli_epi32((__m128i)upper, 16), 16);
  const long long bits = _mm_cvtsi128_si64(_mm_packs_epi32(extended, extended));
  vh h;
  std::memcpy(&h, &bits, sizeof h);
  return h;
#else
  return __builtin_convertvector(upper, vh);
#endif
}

// ---- memory: W elements, or the first n (0 <= n <= W; the rest reads as 0) ------------------------

static inline vf load(const float* p) {
  vf x;
  std::memcpy(&x, p, sizeof x);
  return x;
}
static inline vf load(const bf16* p) {
  vh h;
  std::memcpy(&h, p, sizeof h);
  return widen(h);
}
static inline void store(float* p, vf x) { std::memcpy(p, &x, sizeof x); }
static inline void store(bf16* p, vf x) {
  const vh h = round_to_bf16(x);
  std::memcpy(p, &h, sizeof h);
}

#if defined(__AVX2__) && !defined(__AVX512F__)
static inline __m256i tail_mask(int n) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), lane);
}
#endif

static inline vf load(const float* p, int n) {
#if defined(__AVX512F__)
  return (vf)_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1u), p);
#elif defined(__AVX2__)
  return (vf)_mm256_maskload_ps(p, tail_mask(n));
#else
  vf x{};
  std::memcpy(&x, p, static_cast<size_t>(n) * sizeof(float));
  return x;
#endif
}
static inline void store(float* p, vf x, int n) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1u), (__m512)x);
#elif defined(__AVX2__)
  _mm256_maskstore_ps(p, tail_mask(n), (__m256)x);
#else
  std::memcpy(p, &x, static_cast<size_t>(n) * sizeof(float));
#endif
}
static inline vf load(const bf16* p, int n) {
  vh h{};
  std::memcpy(&h, p, static_cast<size_t>(n) * sizeof(bf16));
  return widen(h);
}
static inline void store(bf16* p, vf x, int n) {
  const vh h = round_to_bf16(x);
  std::memcpy(p, &h, static_cast<size_t>(n) * sizeof(bf16));
}

// ---- reductions: a fixed tree, so the result does not depend on anything but the lanes ------------

static inline float sum_lanes(vf x) {
  float lanes[W];
  store(lanes, x);
  for (int half = W / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  return lanes[0];
}
static inline float max_lanes(vf x) {
  float lanes[W];
  store(lanes, x);
  for (int half = W / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) lanes[i] = lanes[i] > lanes[i + half] ? lanes[i] : lanes[i + half];
  return lanes[0];
}

}  // namespace graft::GRAFT_ISA
