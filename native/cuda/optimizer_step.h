// What AdamW and LAMB share: a block's arrays in either form, 128-bit words over them, and the bias
// corrections.
//
// Compact state (graft.h, "Compact forms") is loaded and stored as float32; the step between is the
// full form's. Four elements take 8 bytes of each 16-bit array and one Philox counter.
#pragma once

#include "parameter_set.h"
#include "philox.h"

namespace graft::cuda {

constexpr int optimizer_threads = 256;

// base^exponent by squaring; its error, some ulp of a double, is nothing beside the float it
// becomes.
GRAFT_DEVICE double power(double base, int64_t exponent) {
  double result = 1.0;
  for (; exponent > 0; exponent >>= 1) {
    if ((exponent & 1) != 0) result *= base;
    base *= base;
  }
  return result;
}

constexpr uint32_t rounding_op_id = 0xFFFFFFFFu;

struct block_arrays {
  float* grad;
  float* weight;
  uint16_t* weight16;
  float* m;
  float* v;
  int count;
  uint16_t* m16;
  uint16_t* v16;
  uint16_t* remainder;
  int64_t begin;       // of the block in its parameter
  uint32_t parameter;  // its place in the set
};

// Where the random words of a step's rounding come from.
GRAFT_DEVICE uint64_t rounding_key(const step_state& step, int64_t t) {
  return stream_key(step.inputs.seed, static_cast<uint64_t>(t), rounding_op_id);
}

GRAFT_DEVICE philox_words rounding_words(const block_arrays& a, uint64_t key, int i) {
  const int64_t counter = (a.begin + i) / 4;
  return philox(key, static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32),
                a.parameter, 0);
}

GRAFT_DEVICE uint32_t rounding_word(const block_arrays& a, uint64_t key, int i) {
  const philox_words words = rounding_words(a, key, i);
  // Not by index, which would put the words into memory.
  const uint32_t low = (i & 1) != 0 ? words.w[1] : words.w[0];
  const uint32_t high = (i & 1) != 0 ? words.w[3] : words.w[2];
  return (i & 2) != 0 ? high : low;
}

// Up with the probability of the part cut off; infinities and NaN stay.
GRAFT_DEVICE uint32_t rounded_at_random(float x, uint32_t half) {
  const uint32_t bits = bits_from_float(x);
  return (bits + ((bits & 0x7F800000u) == 0x7F800000u ? 0u : half)) >> 16;
}

GRAFT_DEVICE float joined(uint32_t high, uint32_t low) {
  return float_from_bits((high << 16) +
                         static_cast<uint32_t>(static_cast<int32_t>(static_cast<int16_t>(low))));
}

GRAFT_DEVICE float4 widened(uint2 x) {
  return make_float4(float_of_low(x.x), float_of_high(x.x), float_of_low(x.y),
                     float_of_high(x.y));
}

GRAFT_DEVICE uint2 packed(uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
  return make_uint2(a | (b << 16), c | (d << 16));
}

// Weights and moments of element i, or of the four from i on.
template <bool compact>
GRAFT_DEVICE float weight_at(const block_arrays& a, int i) {
  if constexpr (compact)
    if (a.remainder != nullptr) return joined(a.weight16[i], a.remainder[i]);
  return a.weight[i];
}

template <bool compact>
GRAFT_DEVICE void store_weight(const block_arrays& a, int i, float w) {
  if constexpr (compact)
    if (a.remainder != nullptr) {
      const uint32_t bits = bits_from_float(w);
      a.weight16[i] = static_cast<uint16_t>((bits + 0x8000u) >> 16);
      a.remainder[i] = static_cast<uint16_t>(bits);
      return;
    }
  a.weight[i] = w;
  if (a.weight16 != nullptr) a.weight16[i] = bf16_of(w);
}

GRAFT_DEVICE float4 four_joined(const block_arrays& a, int at) {
  const uint2 high = load_streaming(reinterpret_cast<const uint2*>(a.weight16 + at));
  const uint2 low = load_streaming(reinterpret_cast<const uint2*>(a.remainder + at));
  return make_float4(joined(high.x & 0xFFFFu, low.x & 0xFFFFu), joined(high.x >> 16, low.x >> 16),
                     joined(high.y & 0xFFFFu, low.y & 0xFFFFu), joined(high.y >> 16, low.y >> 16));
}

GRAFT_DEVICE void store_four_moments(const block_arrays& a, int at, const philox_words& r, float4 m,
                                     float4 v) {
  const auto low = [](float x, uint32_t word) { return rounded_at_random(x, word & 0xFFFFu); };
  const auto high = [](float x, uint32_t word) { return rounded_at_random(x, word >> 16); };
  store(reinterpret_cast<uint2*>(a.m16 + at), packed(low(m.x, r.w[0]), low(m.y, r.w[1]),
                                                     low(m.z, r.w[2]), low(m.w, r.w[3])));
  store(reinterpret_cast<uint2*>(a.v16 + at), packed(high(v.x, r.w[0]), high(v.y, r.w[1]),
                                                     high(v.z, r.w[2]), high(v.w, r.w[3])));
}

GRAFT_DEVICE void store_four_weights(const block_arrays& a, int at, float4 w) {
  store_streaming(reinterpret_cast<float4*>(a.weight + at), w);
  if (a.weight16 != nullptr)
    store(reinterpret_cast<uint2*>(a.weight16 + at),
          make_uint2(bf16x2_of(w.x, w.y), bf16x2_of(w.z, w.w)));
}

GRAFT_DEVICE void store_four_split(const block_arrays& a, int at, float4 w) {
  const uint32_t x = bits_from_float(w.x), y = bits_from_float(w.y);
  const uint32_t z = bits_from_float(w.z), u = bits_from_float(w.w);
  const auto high = [](uint32_t bits) { return (bits + 0x8000u) >> 16; };
  const auto low = [](uint32_t bits) { return bits & 0xFFFFu; };
  store(reinterpret_cast<uint2*>(a.weight16 + at), packed(high(x), high(y), high(z), high(u)));
  store_streaming(reinterpret_cast<uint2*>(a.remainder + at),
                  packed(low(x), low(y), low(z), low(u)));
}

// Elements before the first 128-bit word, if one offset suits all arrays; else all of them.
GRAFT_DEVICE int head_of(const block_arrays& a) {
  const auto offset = [](const float* x) { return (reinterpret_cast<uintptr_t>(x) & 15) / 4; };
  const unsigned first = static_cast<unsigned>(offset(a.grad));
  const int head = static_cast<int>((4 - first) & 3);
  const bool suits =
      offset(a.weight) == first && offset(a.m) == first && offset(a.v) == first &&
      (a.weight16 == nullptr || (reinterpret_cast<uintptr_t>(a.weight16 + head) & 7) == 0);
  return suits && head < a.count ? head : a.count;
}

// The same in the compact form, whose random words are those of four elements that begin at a
// multiple of four: from the first element on or not at all.
GRAFT_DEVICE int compact_head_of(const block_arrays& a) {
  const auto bits = [](const void* x) { return reinterpret_cast<uintptr_t>(x); };
  const uintptr_t words = bits(a.grad) | (a.remainder == nullptr ? bits(a.weight) : 0);
  const uintptr_t halves = bits(a.m16) | bits(a.v16) | bits(a.remainder) | bits(a.weight16);
  return ((words & 15) | (halves & 7)) == 0 ? 0 : a.count;
}

template <typename T>
GRAFT_DEVICE T* from(T* array, int64_t begin) {
  return array == nullptr ? nullptr : array + begin;
}

GRAFT_DEVICE block_arrays arrays_of(const graft_parameter& p, const parameter_block& block) {
  return {p.grad + block.begin,
          from(p.weight, block.begin),
          from(static_cast<uint16_t*>(p.weight16), block.begin),
          from(p.m, block.begin),
          from(p.v, block.begin),
          static_cast<int>(block.end - block.begin),
          from(static_cast<uint16_t*>(p.m16), block.begin),
          from(static_cast<uint16_t*>(p.v16), block.begin),
          from(p.remainder, block.begin),
          block.begin,
          static_cast<uint32_t>(block.parameter)};
}

// one(i) for each element outside of 128-bit words, four(i) for each word's first element.
template <bool compact, typename One, typename Four>
GRAFT_DEVICE void over_block(const block_arrays& a, const One& one, const Four& four) {
  const int head = compact ? compact_head_of(a) : head_of(a);
  const int vectors = (a.count - head) / 4;
  const int self = static_cast<int>(threadIdx.x);
  for (int i = self; i < head; i += optimizer_threads) one(i);
  for (int i = self; i < vectors; i += optimizer_threads) four(head + 4 * i);
  for (int i = head + 4 * vectors + self; i < a.count; i += optimizer_threads) one(i);
}

// Ends a launch of the step: the last of its blocks counts it. Every block has read t before.
GRAFT_DEVICE void count_step(const graft_parameter_set& set, step_state* step, bool skip,
                             int64_t t) {
  sync_threads();
  if (threadIdx.x != 0) return;
  thread_fence();
  if (atomic_add(set.finished, 1) != static_cast<int>(gridDim.x) - 1) return;
  *set.finished = 0;
  if (skip)
    ++step->results.skipped_steps;
  else
    step->results.adam_t = t;
}

}  // namespace graft::cuda
