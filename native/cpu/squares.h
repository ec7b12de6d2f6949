// Sums of squares of float32 in double: no element overflows or underflows.
#pragma once

#include "simd.h"

namespace graft::GRAFT_ISA {

typedef float half_vf __attribute__((vector_size(W / 2 * sizeof(float))));
typedef double vd __attribute__((vector_size(W / 2 * sizeof(double))));

static inline double sum_of_squares(const float* g, int64_t count) {
  constexpr int lanes = W / 2;
  vd sums[4] = {};
  int64_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
    for (int k = 0; k < 4; ++k) {
      half_vf x;
      std::memcpy(&x, g + i + k * lanes, sizeof x);
      const vd d = __builtin_convertvector(x, vd);
      sums[k] += d * d;
    }
  }
  const vd sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  double total = 0.0;
  for (int lane = 0; lane < lanes; ++lane) total += sum[lane];
  for (; i < count; ++i) total += static_cast<double>(g[i]) * g[i];
  return total;
}

}  // namespace graft::GRAFT_ISA
