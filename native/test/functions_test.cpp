// The vector functions and the mask generator by themselves (compiled here for the processor's
// baseline; the ops' tests run them on the other instruction sets).
#define GRAFT_ISA functions_under_test
#include "../cpu/functions.h"
#include "../cpu/keep_mask.h"
#include "../cpu/philox.h"
#include "support.h"

namespace kernels = graft::functions_under_test;
using graft_test::ulp;

namespace {

// Largest error of f in ulps of the exact value over [low, high], by a stride through all floats.
template <typename Vector, typename Exact>
double worst_ulps(float low, float high, uint32_t stride, const Vector& f, const Exact& exact) {
  double worst = 0;
  uint32_t bits, last;
  std::memcpy(&bits, &low, sizeof bits);
  std::memcpy(&last, &high, sizeof last);
  for (; bits <= last; bits += stride) {
    float x;
    std::memcpy(&x, &bits, sizeof x);
    for (float sign : {1.0f, -1.0f}) {
      const double got = f(kernels::splat(sign * x))[0];
      const double e = exact(static_cast<double>(sign * x));
      worst = std::max(worst, std::fabs(got - e) / ulp(e, GRAFT_FLOAT32));
    }
  }
  return worst;
}

}  // namespace

// Random123's published vectors, kat_vectors: all zeros, all ones, digits of pi.
TEST(Philox, knownAnswers) {
  const auto zeros = kernels::philox(0, 0, 0, 0, 0);
  EXPECT_EQ(0x6627e8d5u, zeros.w[0]);
  EXPECT_EQ(0xe169c58du, zeros.w[1]);
  EXPECT_EQ(0xbc57ac4cu, zeros.w[2]);
  EXPECT_EQ(0x9b00dbd8u, zeros.w[3]);
  const auto ones = kernels::philox(~uint64_t{0}, ~0u, ~0u, ~0u, ~0u);
  EXPECT_EQ(0x408f276du, ones.w[0]);
  EXPECT_EQ(0x41c83b0eu, ones.w[1]);
  EXPECT_EQ(0xa20bc7c6u, ones.w[2]);
  EXPECT_EQ(0x6d5451fdu, ones.w[3]);
  const auto pi = kernels::philox(0x299f31d0a4093822u, 0x243f6a88u, 0x85a308d3u, 0x13198a2eu,
                                  0x03707344u);
  EXPECT_EQ(0xd16cfe09u, pi.w[0]);
  EXPECT_EQ(0x94fdccebu, pi.w[1]);
  EXPECT_EQ(0x5001e420u, pi.w[2]);
  EXPECT_EQ(0x24126ea1u, pi.w[3]);
}

TEST(Philox, rowsOfBytesEqualSingleCounters) {
  const uint64_t key = 0x0123456789ABCDEFu;
  for (uint32_t row : {0u, 1u, 0xFFFFFFFFu}) {
    std::vector<uint8_t> bytes(static_cast<size_t>(kernels::padded_keep_bytes(1000)));
    kernels::keep_row(key, 32, 1032, row, 5, 9, bytes.data());
    for (int64_t column = 32; column < 1032; ++column) {
      const auto words = kernels::philox(key, static_cast<uint32_t>(column / 16), row, 5, 9);
      ASSERT_EQ(kernels::philox_byte(words, static_cast<int>(column % 16)),
                bytes[static_cast<size_t>(column - 32)])
          << "column " << column;
    }
  }
}

// Oracle: libm in double. Bound 2 ulp: polynomial 0.1 ulp, evaluation about 1.
TEST(Functions, tanhWithin2Ulp) {
  const auto f = [](kernels::vf x) { return kernels::tanh(x); };
  EXPECT_LE(worst_ulps(1e-30f, 20.0f, 997, f, [](double x) { return std::tanh(x); }), 2.0);
  EXPECT_TRUE(std::isnan(kernels::tanh(kernels::splat(NAN))[0]));
  EXPECT_EQ(1.0f, kernels::tanh(kernels::splat(INFINITY))[0]);
  EXPECT_EQ(-1.0f, kernels::tanh(kernels::splat(-INFINITY))[0]);
}

// Bound 7 ulp: numerator, denominator, product and quotient round, without fused operations here.
TEST(Functions, erfWithin7Ulp) {
  const auto f = [](kernels::vf x) { return kernels::erf(x); };
  EXPECT_LE(worst_ulps(1e-30f, 10.0f, 997, f, [](double x) { return std::erf(x); }), 7.0);
  EXPECT_TRUE(std::isnan(kernels::erf(kernels::splat(NAN))[0]));
  EXPECT_EQ(1.0f, kernels::erf(kernels::splat(INFINITY))[0]);
  EXPECT_EQ(-1.0f, kernels::erf(kernels::splat(-INFINITY))[0]);
}

TEST(Functions, exp2Within2Ulp) {
  const auto f = [](kernels::vf x) { return kernels::exp2<6>(x); };
  EXPECT_LE(worst_ulps(1e-6f, 125.0f, 997, f, [](double x) { return std::exp2(x); }), 2.0);
  EXPECT_EQ(0.0f, kernels::exp2<6>(kernels::splat(-INFINITY))[0]);
  EXPECT_EQ(INFINITY, kernels::exp2<6>(kernels::splat(INFINITY))[0]);
  EXPECT_TRUE(std::isnan(kernels::exp2<6>(kernels::splat(NAN))[0]));
}

// The backward pass of attention stands on this one: relative errors of P do not cancel in dS.
TEST(Functions, expLowWithin2Ulp_withoutFusedOperations) {
  const auto f = [](kernels::vf x) { return kernels::exp_low(x); };
  EXPECT_LE(worst_ulps(1e-6f, 87.0f, 997, f, [](double x) { return std::exp(x); }), 2.0);
  EXPECT_EQ(0.0f, kernels::exp_low(kernels::splat(-INFINITY))[0]);
  EXPECT_EQ(1.0f, kernels::exp_low(kernels::splat(0.0f))[0]);
  EXPECT_TRUE(std::isnan(kernels::exp_low(kernels::splat(NAN))[0]));
}
