// Optimizer state of 16 bits (graft.h, "Compact forms") as float32, a piece at a time: a piece is
// widened into buffers that stay in the cache, the step is that of the full form, and what came out is
// rounded back.
#pragma once

#include "keep_mask.h"

namespace graft::GRAFT_ISA {

constexpr uint32_t rounding_op_id = 0xFFFFFFFFu;
// Elements of a piece; its random words are whole blocks of keep_bytes.
constexpr int64_t compact_piece = 1024;
static_assert(4 * compact_piece % keep_block == 0, "a piece's words are whole blocks");

static inline uint32_t bits_of(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

static inline float from_bits(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

// Up with the probability of the part cut off; infinities and NaN stay.
static inline uint16_t rounded_at_random(float x, uint32_t half) {
  const uint32_t bits = bits_of(x);
  const uint32_t added = (bits & 0x7F800000u) == 0x7F800000u ? 0 : half;
  return static_cast<uint16_t>((bits + added) >> 16);
}

// A float32 view of elements [begin, begin + count) of a parameter: its own arrays, or buffers.
class state_piece {
 public:
  // `begin` is a multiple of compact_piece, count at most that.
  state_piece(const graft_parameter& p, int64_t begin, int64_t count)
      : p_(p), begin_(begin), count_(count) {
    if (p.m16 != nullptr) {
      widen(halves(p.m16), m_);
      widen(halves(p.v16), v_);
    }
    if (p.remainder != nullptr) {
      const uint16_t* high = halves(p.weight16);
      const uint16_t* low = p.remainder + begin;
      for (int64_t i = 0; i < count; ++i) {
        const auto rest = static_cast<uint32_t>(static_cast<int32_t>(static_cast<int16_t>(low[i])));
        w_[i] = from_bits((uint32_t{high[i]} << 16) + rest);
      }
    }
  }

  float* weight() { return p_.remainder != nullptr ? w_ : p_.weight + begin_; }
  float* m() { return p_.m16 != nullptr ? m_ : p_.m + begin_; }
  float* v() { return p_.v16 != nullptr ? v_ : p_.v + begin_; }
  // Where a copy of the weights in bfloat16 goes; NULL if there is none, or store_weight makes it.
  bf16* weight16() const {
    return p_.weight16 == nullptr || p_.remainder != nullptr
               ? nullptr
               : static_cast<bf16*>(p_.weight16) + begin_;
  }

  // Rounds the moments into their arrays; with `back`, m() and v() are the rounded ones then.
  void store_moments(uint64_t key, int64_t parameter, bool back) {
    if (p_.m16 == nullptr) return;
    alignas(64) uint32_t words[compact_piece];
    auto* bytes = reinterpret_cast<uint8_t*>(words);
    const int64_t first = begin_ / 4;
    for (int64_t done = 0; 16 * done < 4 * count_; done += keep_counters)
      keep_bytes(key, static_cast<uint32_t>(first + done), static_cast<uint32_t>(first >> 32),
                 static_cast<uint32_t>(parameter), 0, bytes + 16 * done);
    uint16_t* m16 = halves(p_.m16);
    uint16_t* v16 = halves(p_.v16);
    for (int64_t i = 0; i < count_; ++i) m16[i] = rounded_at_random(m_[i], words[i] & 0xFFFFu);
    for (int64_t i = 0; i < count_; ++i) v16[i] = rounded_at_random(v_[i], words[i] >> 16);
    if (!back) return;
    widen(m16, m_);
    widen(v16, v_);
  }

  // Splits the weights into their two halves.
  void store_weight() {
    if (p_.remainder == nullptr) return;
    uint16_t* high = halves(p_.weight16);
    uint16_t* low = p_.remainder + begin_;
    for (int64_t i = 0; i < count_; ++i) {
      const uint32_t bits = bits_of(w_[i]);
      high[i] = static_cast<uint16_t>((bits + 0x8000u) >> 16);
      low[i] = static_cast<uint16_t>(bits);
    }
  }

 private:
  uint16_t* halves(void* array) const { return static_cast<uint16_t*>(array) + begin_; }
  void widen(const uint16_t* from, float* to) const {
    for (int64_t i = 0; i < count_; ++i) to[i] = from_bits(uint32_t{from[i]} << 16);
  }

  const graft_parameter& p_;
  int64_t begin_, count_;
  alignas(64) float w_[compact_piece];
  alignas(64) float m_[compact_piece];
  alignas(64) float v_[compact_piece];
};

}  // namespace graft::GRAFT_ISA
