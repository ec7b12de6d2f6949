// erf and tanh in float32. The polynomials are the CPU backend's (native/cpu/functions.h): own fits,
// with the errors named there. Clamps are written so that NaN stays.
#pragma once

#include "device.h"

namespace graft::cuda {

constexpr float log2_e = 1.44269504f;

GRAFT_DEVICE float absolute(float x) { return float_from_bits(bits_from_float(x) & 0x7FFFFFFFu); }
GRAFT_DEVICE float with_sign_of(float magnitude, float sign) {
  return float_from_bits(bits_from_float(magnitude) | (bits_from_float(sign) & 0x80000000u));
}
GRAFT_DEVICE float at_most(float limit, float x) { return x > limit ? limit : x; }
GRAFT_DEVICE float clamp(float x, float limit) {
  const float upper = at_most(limit, x);
  return upper < -limit ? -limit : upper;
}

// Below 0.625 x + x^3 P(x^2), which keeps small results exact to the last bits; above
// 1 - 2 / (e^2x + 1).
GRAFT_DEVICE float tanh_of(float x) {
  const float z = x * x;
  float p = -5.6662173e-3f;
  p = fma_rn(p, z, 2.0605514e-2f);
  p = fma_rn(p, z, -5.372981e-2f);
  p = fma_rn(p, z, 0.13331328f);
  p = fma_rn(p, z, -0.33333278f);
  const float near = fma_rn(x * z, p, x);
  const float magnitude = absolute(x);
  const float e = exp2_approx(magnitude * (2.0f * log2_e));
  const float far = 1.0f - 2.0f * rcp_approx(e + 1.0f);
  return magnitude < 0.625f ? near : with_sign_of(far, x);
}

// x P(x^2) / Q(x^2) up to 3.92, beyond that +-1.
GRAFT_DEVICE float erf_of(float x) {
  const float c = clamp(x, 3.92f);
  const float z = c * c;
  float p = 2.0448927e-6f;
  p = fma_rn(p, z, 2.8483197e-4f);
  p = fma_rn(p, z, 3.7744711e-3f);
  p = fma_rn(p, z, 5.2774996e-2f);
  p = fma_rn(p, z, 0.19064575f);
  p = fma_rn(p, z, 1.1283791f);
  float q = 3.8035461e-5f;
  q = fma_rn(q, z, 1.1642228e-3f);
  q = fma_rn(q, z, 1.4987072e-2f);
  q = fma_rn(q, z, 0.11420315f);
  q = fma_rn(q, z, 0.5022881f);
  q = fma_rn(q, z, 1.0f);
  const float y = c * p * rcp_approx(q);
  return absolute(x) >= 3.92f ? with_sign_of(1.0f, x) : y;
}

}  // namespace graft::cuda
