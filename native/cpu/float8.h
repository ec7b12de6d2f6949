// E4M3 and E5M2 (Micikevicius et al. 2022, arXiv:2209.05433): their scale, and the rounding of float32.
#pragma once

#include "simd.h"

namespace graft::GRAFT_ISA {

struct float8_scale {
  float scale;
  float inverse; /* both NaN if a value is not finite */
};

// `largest_bits`: of the largest magnitude. Both formats end at 1.75 * 2^top: 448 and 57344.
static inline float8_scale float8_scale_of(uint32_t largest_bits, int top) {
  if (largest_bits >= 0x7F800000u) return {__builtin_nanf(""), __builtin_nanf("")};
  if (largest_bits == 0) return {1.0f, 1.0f};
  int exponent = static_cast<int>(largest_bits >> 23) - 127 - top;
  if ((largest_bits & 0x007FFFFFu) > 0x00600000u) ++exponent;
  if (exponent < -126) exponent = -126;
  const auto scale = static_cast<uint32_t>(127 + exponent) << 23;
  const auto inverse = static_cast<uint32_t>(127 - exponent) << 23;
  float8_scale result;
  std::memcpy(&result.scale, &scale, sizeof scale);
  std::memcpy(&result.inverse, &inverse, sizeof inverse);
  return result;
}

// Nearest, ties to even, of a number within the format's range; its one NaN of NaN.
template <int mantissa, int bias>
static inline uint8_t float8_of(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  const uint32_t sign = (bits >> 24) & 0x80u;
  const uint32_t magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return 0x7F;
  constexpr int shift = 23 - mantissa;
  constexpr uint32_t least_normal = static_cast<uint32_t>(128 - bias) << 23;
  if (magnitude >= least_normal) {
    const uint32_t rounded =
        magnitude + ((uint32_t{1} << (shift - 1)) - 1) + ((magnitude >> shift) & 1);
    return static_cast<uint8_t>(sign | ((rounded - least_normal + (uint32_t{1} << 23)) >> shift));
  }
  // Below, the spacing is that of float32 from 2^(23 + 1 - bias - mantissa) on.
  constexpr uint32_t anchor = static_cast<uint32_t>(127 + 24 - bias - mantissa) << 23;
  float small, base;
  std::memcpy(&small, &magnitude, sizeof small);
  std::memcpy(&base, &anchor, sizeof base);
  small += base;
  std::memcpy(&bits, &small, sizeof bits);
  return static_cast<uint8_t>(sign | (bits - anchor));
}

struct e4m3 {
  static constexpr int top = 8;
  static uint8_t of(float x) { return float8_of<3, 7>(x); }
};
struct e5m2 {
  static constexpr int top = 15;
  static uint8_t of(float x) { return float8_of<2, 15>(x); }
};

}  // namespace graft::GRAFT_ISA
