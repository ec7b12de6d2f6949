// The errors hardware makes where the emulation by itself is exact: with GRAFT_EMULATED_ROUGH=1 (2, 3, ...)
// in the environment approximate functions and tensor cores err as the worst card does, so that a
// tolerance that only exact arithmetic meets is found without one.
//   *_approx       within the bound that the PTX ISA 9.0 states for the instruction, the error a
//                  function of the argument's bits and of that number; powers of two stay exact
//   mma            eight products at a time are added to the sum, all cut to one bit below the last
//                  place of the largest, and the result is cut, not rounded (sm_80; Fasi, Higham,
//                  Mikaitis & Pranesh, "Numerical behavior of NVIDIA tensor cores", PeerJ CS 2021)
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>

namespace graft::emulation {

// Which errors; 0: none.
inline uint32_t rough() {
  static const uint32_t pattern = [] {
    const char* text = std::getenv("GRAFT_EMULATED_ROUGH");
    return text == nullptr ? 0 : static_cast<uint32_t>(std::strtoul(text, nullptr, 10));
  }();
  return pattern;
}

// The result `exact` of the argument x, off by up to `bound` of itself.
inline float approximately(float x, float exact, double bound) {
  int exponent;
  if (rough() == 0 || !std::isfinite(exact) || exact == 0.0f ||
      std::fabs(std::frexp(exact, &exponent)) == 0.5f)
    return exact;
  uint32_t hash = std::bit_cast<uint32_t>(x) * 0x9E3779B1u + rough() * 0x85EBCA77u;
  hash = (hash ^ hash >> 15) * 0xC2B2AE3Du >> 8;
  const double share = static_cast<double>(hash) / 0x800000 - 1.0;  // [-1, 1)
  return static_cast<float>(exact * (1.0 + share * bound));
}

// sum + a[0] b[0] + ... + a[depth - 1] b[depth - 1].
template <int depth>
float roughly_add(float sum, const float* a, const float* b, int b_stride) {
  for (int first = 0; first < depth; first += 8) {
    double terms[9] = {sum};
    double largest = std::fabs(terms[0]);
    for (int k = 0; k < 8; ++k) {
      terms[k + 1] = double{a[first + k]} * double{b[(first + k) * b_stride]};
      largest = std::fmax(largest, std::fabs(terms[k + 1]));
    }
    double total = 0;
    for (const double term : terms) total += term;
    if (std::isfinite(total) && largest > 0) {
      // Whole multiples of the last place kept: sums of nine are exact.
      const double place = std::ldexp(1.0, std::ilogb(largest) - 24);
      total = 0;
      for (const double term : terms) total += std::trunc(term / place);
      total *= place;
    }
    sum = static_cast<float>(total);
    if (std::isfinite(sum) && std::fabs(double{sum}) > std::fabs(total))
      sum = std::nextafter(sum, 0.0f);
  }
  return sum;
}

}  // namespace graft::emulation
