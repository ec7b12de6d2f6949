// exp2, tanh and erf on vectors. The coefficients are this project's own fits (weighted least
// squares on Chebyshev nodes, reweighted until the largest relative error stops falling: Lawson 1961);
// the errors named below are of the polynomials, rounding comes on top.
// Polynomials go by pairs of terms (Estrin): the chain of dependent operations, not their number, is
// what bounds these loops.
// Clamps are written limit first: min(limit, x) then gives x where x is NaN.
#pragma once

#include "simd.h"

namespace graft::GRAFT_ISA {

constexpr float log2_e = 1.44269504f;
constexpr float ln_2 = 0.693147181f;

// 2^n, n the integer in the low bits of 1.5 * 2^23 + n. 127 is the exponent's bias; -127 gives 0, 128
// infinity. (Unsigned, for what is shifted out.)
static inline vf power_of_two(vf shifted) {
  return float_of((vi)(((vu)bits_of(shifted) << 23) + (127u << 23)));
}

// 2^t for t <= 128, with 0 below -126.5 and +inf from 127.5. Relative error of the polynomial
// 2.0e-9 (degree 6), 9.2e-8 (degree 5, where the result joins a sum) or 2.8e-6 (degree 4, where it
// becomes bfloat16).
template <int degree>
static inline vf exp2_low(vf t) {
  t = max(splat(-127.0f), t);
  const vf shifter = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  const vf shifted = t + shifter;
  const vf r = t - (shifted - shifter);
  const vf r2 = r * r;
  vf p = fma(splat(0.6931472f), r, splat(1.0f));
  if constexpr (degree == 6) {
    const vf middle = fma(splat(5.5503324e-2f), r, splat(0.24022648f));
    const vf upper = fma(splat(1.3398874e-3f), r, splat(9.618437e-3f));
    p = fma(fma(fma(splat(1.5353362e-4f), r2, upper), r2, middle), r2, p);
  } else if constexpr (degree == 5) {
    p = fma(splat(0.693147f), r, splat(1.0f));
    const vf middle = fma(splat(5.5507336e-2f), r, splat(0.24022242f));
    const vf upper = fma(splat(1.3264727e-3f), r, splat(9.671513e-3f));
    p = fma(fma(upper, r2, middle), r2, p);
  } else {
    static_assert(degree == 4);
    p = fma(splat(0.69312418f), r, splat(1.0f));
    const vf middle = fma(splat(5.5906426e-2f), r, splat(0.240241f));
    p = fma(fma(splat(9.582853e-3f), r2, middle), r2, p);
  }
  return p * power_of_two(shifted);
}
template <int degree>
static inline vf exp2(vf t) {
  return exp2_low<degree>(min(splat(128.0f), t));
}

// e^x for x <= 88, with 0 below -87.7, within an ulp (fused). exp2(x log2(e)) would carry the rounding
// of its argument, up to 8 ulp at x = -20; here ln 2 comes off x in two parts (Cody & Waite 1980),
// whose upper one is exact in every product. The polynomial's relative error is 3.1e-9.
static inline vf exp_low(vf x) {
  x = max(splat(-88.0f), x);
  const vf shifter = splat(12582912.0f);
  const vf shifted = fma(x, splat(log2_e), shifter);
  const vf n = shifted - shifter;
  vf r = fma(n, splat(-0.693145752f), x);
  r = fma(n, splat(-1.42860677e-6f), r);
  const vf r2 = r * r;
  const vf lower = r + splat(1.0f);
  const vf middle = fma(splat(0.1666652f), r, splat(0.49999994f));
  const vf upper = fma(splat(8.368781e-3f), r, splat(4.1668393e-2f));
  const vf p = fma(fma(fma(splat(1.3814467e-3f), r2, upper), r2, middle), r2, lower);
  return p * power_of_two(shifted);
}

static inline vf absolute(vf x) { return float_of(bits_of(x) & 0x7FFFFFFF); }
static inline vf with_sign_of(vf magnitude, vf sign) {
  return float_of(bits_of(magnitude) | (bits_of(sign) & INT32_MIN));
}
static inline vf clamp(vf x, float limit) {
  return max(splat(-limit), min(splat(limit), x));
}

// Below 0.625 x + x^3 P(x^2) (relative error 4.8e-9), which keeps small results exact to the last
// bits; above 1 - 2 / (e^2x + 1).
static inline vf tanh(vf x) {
  const vf z = x * x;
  vf p = splat(-5.6662173e-3f);
  p = fma(p, z, splat(2.0605514e-2f));
  p = fma(p, z, splat(-5.372981e-2f));
  p = fma(p, z, splat(0.13331328f));
  p = fma(p, z, splat(-0.33333278f));
  const vf near = fma(x * z, p, x);
  const vf magnitude = absolute(x);
  const vf e = exp2<6>(magnitude * splat(2.0f * log2_e));
  const vf far = splat(1.0f) - splat(2.0f) / (e + splat(1.0f));
  return magnitude < splat(0.625f) ? near : with_sign_of(far, x);
}

// x P(x^2) / Q(x^2) up to 3.92, beyond that +-1. The approximation's relative error is 1.9e-8;
// evaluation adds up to 4 ulp with fused operations, 6 without. (A polynomial up to 0.85 and
// 1 - 2^polynomial above stays within 2 ulp, at twice the time; GELU's largest error then falls by
// less than an ulp of its largest result.)
static inline vf erf(vf x) {
  const vf c = clamp(x, 3.92f);
  const vf z = c * c;
  const vf z2 = z * z;
  const vf p0 = fma(splat(0.19064575f), z, splat(1.1283791f));
  const vf p1 = fma(splat(3.7744711e-3f), z, splat(5.2774996e-2f));
  const vf p2 = fma(splat(2.0448927e-6f), z, splat(2.8483197e-4f));
  const vf p = fma(fma(p2, z2, p1), z2, p0);
  const vf q0 = fma(splat(0.5022881f), z, splat(1.0f));
  const vf q1 = fma(splat(1.4987072e-2f), z, splat(0.11420315f));
  const vf q2 = fma(splat(3.8035461e-5f), z, splat(1.1642228e-3f));
  const vf q = fma(fma(q2, z2, q1), z2, q0);
  const vf y = c * p / q;
  return absolute(x) >= splat(3.92f) ? with_sign_of(splat(1.0f), x) : y;
}

}  // namespace graft::GRAFT_ISA
