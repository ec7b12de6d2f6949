// E4M3 and E5M2 (Micikevicius et al. 2022, arXiv:2209.05433): their scale, and the rounding of float32, by
// integers alone, so that every card and the CPU have the same bits.
#pragma once

#include "device.h"

namespace graft::cuda {

// `largest_bits`: of the largest magnitude. Both formats end at 1.75 * 2^top: 448 and 57344. The exponent
// of the scale; unspecified if the largest is 0 or not finite.
GRAFT_DEVICE int float8_exponent(uint32_t largest_bits, int top) {
  int exponent = static_cast<int>(largest_bits >> 23) - 127 - top;
  if ((largest_bits & 0x007FFFFFu) > 0x00600000u) ++exponent;
  return exponent < -126 ? -126 : exponent;
}

GRAFT_DEVICE float power_of_two(int exponent) {
  return float_from_bits(static_cast<uint32_t>(127 + exponent) << 23);
}

// Nearest, ties to even, of a number within the format's range; its one NaN of NaN.
template <int mantissa, int bias>
GRAFT_DEVICE uint32_t float8_of(float x) {
  const uint32_t bits = bits_from_float(x);
  const uint32_t sign = (bits >> 24) & 0x80u;
  const uint32_t magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return 0x7F;
  constexpr int shift = 23 - mantissa;
  constexpr uint32_t least_normal = static_cast<uint32_t>(128 - bias) << 23;
  if (magnitude >= least_normal) {
    const uint32_t rounded =
        magnitude + ((uint32_t{1} << (shift - 1)) - 1) + ((magnitude >> shift) & 1);
    return sign | ((rounded - least_normal + (uint32_t{1} << 23)) >> shift);
  }
  // Below, the spacing is that of float32 from 2^(23 + 1 - bias - mantissa) on.
  constexpr uint32_t anchor = static_cast<uint32_t>(127 + 24 - bias - mantissa) << 23;
  const float small = float_from_bits(magnitude) + float_from_bits(anchor);
  return sign | (bits_from_float(small) - anchor);
}

struct e4m3 {
  static constexpr int top = 8;
  GRAFT_DEVICE uint32_t of(float x) { return float8_of<3, 7>(x); }
};
struct e5m2 {
  static constexpr int top = 15;
  GRAFT_DEVICE uint32_t of(float x) { return float8_of<2, 15>(x); }
};

}  // namespace graft::cuda
