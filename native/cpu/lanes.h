// Loops over a row by whole vectors and one part of a vector at the end, written once: the body gets
// the column and `all_lanes` or `first_lanes{n}`, and hands that on to load and store.
#pragma once

#include "simd.h"

namespace graft::GRAFT_ISA {

struct all_lanes {};
struct first_lanes {
  int n;
};

template <typename T>
static inline vf load(const T* p, all_lanes) {
  return load(p);
}
template <typename T>
static inline vf load(const T* p, first_lanes lanes) {
  return load(p, lanes.n);
}
template <typename T>
static inline void store(T* p, vf x, all_lanes) {
  store(p, x);
}
template <typename T>
static inline void store(T* p, vf x, first_lanes lanes) {
  store(p, x, lanes.n);
}

static inline vi lane_numbers() {
  vi lane;
  for (int i = 0; i < W; ++i) lane[i] = i;
  return lane;
}

// x in the lanes in use, `other` in the rest.
static inline vf or_else(vf x, vf, all_lanes) { return x; }
static inline vf or_else(vf x, vf other, first_lanes lanes) {
  return lane_numbers() < splat_int(lanes.n) ? x : other;
}

#define GRAFT_INLINE __attribute__((always_inline))

// body(column, lanes) for [begin, end).
template <typename Body>
GRAFT_INLINE static inline void for_lanes(int64_t begin, int64_t end, const Body& body) {
  int64_t column = begin;
  for (; column + W <= end; column += W) body(column, all_lanes{});
  if (column < end) body(column, first_lanes{static_cast<int>(end - column)});
}

// Sums over a row go by spans of 16 vectors: a lane adds at most 16 numbers before its sum joins the
// others, so rounding does not pile up along the row (half of a row under dropout is one number, and
// adding that again and again rounds the same way each time).
constexpr int64_t sum_span = 16 * W;

// The value a store of T would leave, as float.
static inline vf rounded_to(vf x, const float*) { return x; }
static inline vf rounded_to(vf x, const bf16*) {
  return float_of((vi)(rounded_bits(x) & 0xFFFF0000u));
}

// ---- stores that pass the caches by -------------------------------------------------------------
// For results larger than the last-level cache: a plain store would first read the line it fills.
// The address must be aligned to the bytes stored. A block ends with stream_fence().

static inline void store_streaming(float* p, vf x) {
#if defined(__AVX512F__)
  _mm512_stream_ps(p, (__m512)x);
#elif defined(__AVX2__)
  _mm256_stream_ps(p, (__m256)x);
#elif defined(__x86_64__)
  _mm_stream_ps(p, (__m128)x);
#else
  store(p, x);
#endif
}
static inline void store_streaming(bf16* p, vf x) {
#if defined(__AVX512F__)
  _mm256_stream_si256(reinterpret_cast<__m256i*>(p), (__m256i)round_to_bf16(x));
#elif defined(__AVX2__)
  _mm_stream_si128(reinterpret_cast<__m128i*>(p), (__m128i)round_to_bf16(x));
#elif defined(__x86_64__)
  const vh h = round_to_bf16(x);
  long long bits;
  std::memcpy(&bits, &h, sizeof bits);
  _mm_stream_si64(reinterpret_cast<long long*>(p), bits);
#else
  store(p, x);
#endif
}
static inline void stream_fence() {
#if defined(__x86_64__)
  _mm_sfence();
#endif
}

// Results of at least this many bytes are streamed. Less is likely to be read again from the cache.
constexpr int64_t streaming_bytes = int64_t{8} << 20;

template <typename T>
static inline bool is_streamed(const T* to, int64_t count, int64_t row) {
  const auto vector_bytes = static_cast<uintptr_t>(W * sizeof(T));
  return count * static_cast<int64_t>(sizeof(T)) >= streaming_bytes && row % W == 0 &&
         reinterpret_cast<uintptr_t>(to) % vector_bytes == 0;
}

// How a kernel writes its result: plain or streaming (template argument).
template <bool streaming, typename T>
static inline void put(T* p, vf x, all_lanes) {
  if constexpr (streaming)
    store_streaming(p, x);
  else
    store(p, x);
}
template <bool streaming, typename T>
static inline void put(T* p, vf x, first_lanes lanes) {
  store(p, x, lanes.n);
}

}  // namespace graft::GRAFT_ISA
