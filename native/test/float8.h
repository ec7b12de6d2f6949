// Eight-bit floats by their definition, for the tests: a table of all values, and the nearest by search.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "graft/graft.h"

namespace graft_test {

class float8 {
 public:
  explicit float8(int dtype) : mantissa_(dtype == GRAFT_FLOAT8_E4M3 ? 3 : 2) {
    const int bias = dtype == GRAFT_FLOAT8_E4M3 ? 7 : 15;
    for (int code = 0; code < 128; ++code) {
      const int exponent = code >> mantissa_, fraction = code & ((1 << mantissa_) - 1);
      const double unit = std::ldexp(1.0, -mantissa_);
      double value = exponent == 0 ? std::ldexp(fraction * unit, 1 - bias)
                                   : std::ldexp(1 + fraction * unit, exponent - bias);
      if (dtype == GRAFT_FLOAT8_E4M3 ? code == 127 : code > 124)
        value = std::numeric_limits<double>::quiet_NaN();
      if (dtype == GRAFT_FLOAT8_E5M2 && code == 124)
        value = std::numeric_limits<double>::infinity();
      values_.push_back(value);
    }
    while (std::isfinite(values_[static_cast<size_t>(largest_) + 1])) ++largest_;
  }

  double largest() const { return values_[static_cast<size_t>(largest_)]; }
  double value(uint8_t code) const {
    const double magnitude = values_[code & 127];
    return code < 128 ? magnitude : -magnitude;
  }
  // Of a number within +- largest.
  uint8_t nearest(double x) const {
    const double magnitude = std::fabs(x);
    int best = 0;
    for (int code = 1; code <= largest_; ++code) {
      const double now = std::fabs(values_[static_cast<size_t>(code)] - magnitude);
      const double before = std::fabs(values_[static_cast<size_t>(best)] - magnitude);
      if (now < before || (now == before && code % 2 == 0)) best = code;
    }
    return static_cast<uint8_t>(best | (std::signbit(x) ? 128 : 0));
  }
  // The least power of two, at least 2^-126, that keeps `x` in range.
  double scale(double x) const {
    if (x == 0) return 1;
    int exponent = -126;
    while (x > std::ldexp(largest(), exponent)) ++exponent;
    return std::ldexp(1.0, exponent);
  }

 private:
  int mantissa_;
  int largest_ = 0;
  std::vector<double> values_;
};

}  // namespace graft_test
