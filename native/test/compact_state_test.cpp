// AdamW and LAMB on compact state. Oracles: the full form from the same numbers (weights of AdamW:
// the same bits), the formula in double, and the rounding's own probabilities.
#include "optimizer_oracle.h"
#include "support.h"

using namespace graft_test;

namespace {

constexpr float beta1 = 0.9f, beta2 = 0.999f, eps = 1e-8f;

uint32_t bits_of(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}
float from_bits(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}
uint16_t high_half(float x) { return static_cast<uint16_t>((bits_of(x) + 0x8000u) >> 16); }

// A parameter in both forms, of the same numbers.
struct twin {
  std::vector<float> grad, weight, m, v;
  std::vector<uint16_t> weight16, m16, v16, remainder, copy;
  float decay;
  explicit twin(int64_t count, numbers& random, float weight_decay) : decay(weight_decay) {
    for (int64_t i = 0; i < count; ++i) {
      grad.push_back(static_cast<float>(random.normal()));
      weight.push_back(static_cast<float>(random.normal()));
      m16.push_back(float_to_bf16(static_cast<float>(0.1 * random.normal())));
      v16.push_back(float_to_bf16(static_cast<float>(1e-3 * std::abs(random.normal()))));
    }
    split();
    copy = weight16;
    widen();
  }
  int64_t count() const { return static_cast<int64_t>(grad.size()); }
  void split() {
    weight16.clear(), remainder.clear();
    for (float w : weight) {
      weight16.push_back(high_half(w));
      remainder.push_back(static_cast<uint16_t>(bits_of(w)));
    }
  }
  // The full form's moments are the compact one's.
  void widen() {
    m.clear(), v.clear();
    for (uint16_t x : m16) m.push_back(bf16_to_float(x));
    for (uint16_t x : v16) v.push_back(bf16_to_float(x));
  }
  float joined(int64_t i) const {
    const auto at = static_cast<size_t>(i);
    return from_bits((uint32_t{weight16[at]} << 16) +
                     static_cast<uint32_t>(int32_t{static_cast<int16_t>(remainder[at])}));
  }
  graft_parameter full() {
    return {grad.data(), weight.data(), copy.data(), m.data(), v.data(), count(), decay, 1.0f,
            nullptr, nullptr, nullptr};
  }
  // With its master split, or in one.
  graft_parameter compact(bool whole = false) {
    return {grad.data(), whole ? weight.data() : nullptr, weight16.data(), nullptr, nullptr,
            count(), decay, 1.0f, m16.data(), v16.data(), whole ? nullptr : remainder.data()};
  }
};

void step(context& c, rule which, const std::vector<graft_parameter>& list) {
  graft_parameter_set* set = nullptr;
  ASSERT_EQ(GRAFT_OK, graft_parameter_set_create(c, list.data(), static_cast<int64_t>(list.size()),
                                                 &set))
      << graft_last_error();
  auto adam = arguments<graft_adamw_args>();
  adam.parameters = set, adam.beta1 = beta1, adam.beta2 = beta2, adam.eps = eps;
  auto lamb = arguments<graft_lamb_args>();
  lamb.parameters = set, lamb.beta1 = beta1, lamb.beta2 = beta2, lamb.eps = eps;
  ASSERT_EQ(GRAFT_OK, which == rule::lamb ? graft_lamb(c, &lamb) : graft_adamw(c, &adam))
      << graft_last_error();
  graft_parameter_set_destroy(c, set);
}

// The bf16 below or above x, or x.
void expect_neighbour(float x, uint16_t got, const char* what, size_t i) {
  const auto below = static_cast<uint16_t>(bits_of(x) >> 16);
  if (bf16_to_float(below) == x)
    ASSERT_EQ(below, got) << what << "[" << i << "] is exact";
  else
    ASSERT_TRUE(got == below || got == below + 1) << what << "[" << i << "]: " << x;
}

const std::vector<int64_t> sizes = {1, 2, 3, 5, 63, 64, 1023, 1025, 16383, 16384, 16387, 40001};

}  // namespace

TEST(CompactState, adamwStepsTheMasterAsTheFullFormDoes) {
  for (const bool whole : {false, true}) {
    context c, full;
    c.step(7, 0, 1e-3f);
    full.step(7, 0, 1e-3f);
    numbers random(5);
    std::vector<twin> all, same;
    for (int64_t n : sizes) all.emplace_back(n, random, n % 2 ? 0.1f : 0.0f);
    same = all;
    for (int t = 1; t <= 3; ++t) {
      std::vector<graft_parameter> compact_list, full_list;
      for (auto& x : all) compact_list.push_back(x.compact(whole));
      for (auto& x : same) full_list.push_back(x.full());
      step(c, rule::adamw, compact_list);
      step(full, rule::adamw, full_list);
      for (size_t k = 0; k < all.size(); ++k) {
        SCOPED_TRACE(testing::Message() << "step " << t << ", " << all[k].count() << " elements");
        for (size_t i = 0; i < all[k].grad.size(); ++i) {
          const float w = whole ? all[k].weight[i] : all[k].joined(static_cast<int64_t>(i));
          ASSERT_EQ(bits_of(same[k].weight[i]), bits_of(w)) << i;
          ASSERT_EQ(whole ? float_to_bf16(w) : high_half(w), all[k].weight16[i]) << i;
          expect_neighbour(same[k].m[i], all[k].m16[i], "m", i);
          expect_neighbour(same[k].v[i], all[k].v16[i], "v", i);
        }
        same[k].m16 = all[k].m16, same[k].v16 = all[k].v16;
        same[k].widen();
      }
    }
  }
}

TEST(CompactState, lambStepsByTheRoundedMoments) {
  context c;
  c.step(7, 0, 1e-3f);
  numbers random(6);
  std::vector<twin> all;
  for (int64_t n : sizes) all.emplace_back(n, random, n % 2 ? 0.1f : 0.0f);
  for (int t = 1; t <= 3; ++t) {
    std::vector<twin> before = all;
    std::vector<graft_parameter> list;
    for (auto& x : all) list.push_back(x.compact());
    step(c, rule::lamb, list);
    for (size_t k = 0; k < all.size(); ++k) {
      SCOPED_TRACE(testing::Message() << "step " << t << ", " << all[k].count() << " elements");
      const auto n = all[k].grad.size();
      // One step from moments such that the rounded ones come out: the step of the formula.
      std::vector<double> grad(n, 0.0), w(n), m(n), v(n);
      for (size_t i = 0; i < n; ++i) {
        const float g = before[k].grad[i];
        const float m_next = beta1 * bf16_to_float(before[k].m16[i]) + (1 - beta1) * g;
        ASSERT_NEAR(m_next, bf16_to_float(all[k].m16[i]), 0.0079 * std::abs(m_next) + 1e-7);
        w[i] = before[k].joined(static_cast<int64_t>(i));
        m[i] = bf16_to_float(all[k].m16[i]) / double{beta1};
        v[i] = bf16_to_float(all[k].v16[i]) / double{beta2};
      }
      const step_settings settings = {beta1, beta2, eps, 1.0, double{1e-3f}, all[k].decay, t};
      step_in_double(rule::lamb, settings, grad, w, m, v);
      for (size_t i = 0; i < n; ++i) {
        const float got = all[k].joined(static_cast<int64_t>(i));
        ASSERT_NEAR(w[i], got, 6e-8 * std::abs(w[i]) + 1e-8) << i;
        ASSERT_EQ(high_half(got), all[k].weight16[i]);
      }
    }
  }
}

// A step of v is a thousandth of it, and bfloat16 is 128 steps to a factor of two: rounded to nearest,
// v would stay where it is.
TEST(CompactState, smallStepsOfV_growAsInDouble) {
  context c;
  constexpr int64_t count = 4096;
  numbers random(7);
  twin x(count, random, 0.0f);
  for (auto& g : x.grad) g = 0.125f;
  for (auto& m : x.m16) m = 0;
  for (auto& v : x.v16) v = float_to_bf16(0.0078125f);
  double expected = 0.0078125;
  for (int t = 1; t <= 100; ++t) {
    c.step(9, 0, 0.0f);
    step(c, rule::adamw, {x.compact()});
    expected = beta2 * expected + (1 - double{beta2}) * 0.125 * 0.125;
  }
  double sum = 0;
  for (uint16_t v : x.v16) sum += bf16_to_float(v);
  const double grown = expected - 0.0078125;
  // A step's deviation is below half a spacing, 2^-14: after 100 steps, of the mean of 4,096 elements,
  // four deviations are this.
  EXPECT_NEAR(expected, sum / count, 4 * 0.5 * 0x1p-14 * std::sqrt(100.0 / count));
  EXPECT_GT(grown, 5e-4);
}

TEST(CompactState, sameBitsWithAnyNumberOfThreads_othersWithAnotherSeedOrStep) {
  std::vector<std::vector<uint16_t>> moments;
  for (const auto& [threads, seed, steps] :
       std::vector<std::tuple<int, uint64_t, int>>{{1, 3, 1}, {4, 3, 1}, {4, 4, 1}, {1, 3, 2}}) {
    context c(threads);
    numbers random(8);
    twin x(50000, random, 0.1f);
    const twin first = x;
    for (int s = 0; s < steps; ++s) {
      x = first;
      c.step(seed, 0, 1e-3f);
      step(c, rule::adamw, {x.compact()});
    }
    moments.push_back(x.m16);
  }
  EXPECT_EQ(moments[0], moments[1]);
  EXPECT_NE(moments[0], moments[2]);
  EXPECT_NE(moments[0], moments[3]);
}

TEST(CompactState, aSkippedStepChangesNothing) {
  context c;
  numbers random(9);
  twin x(100, random, 0.1f);
  x.grad[7] = NAN;
  const twin before = x;
  const graft_parameter p = x.compact();
  graft_parameter_set* set = nullptr;
  ASSERT_EQ(GRAFT_OK, graft_parameter_set_create(c, &p, 1, &set));
  auto norm = arguments<graft_grad_norm_args>();
  norm.parameters = set;
  ASSERT_EQ(GRAFT_OK, graft_grad_norm(c, &norm));
  graft_parameter_set_destroy(c, set);
  for (const rule which : {rule::adamw, rule::lamb}) {
    step(c, which, {p});
    EXPECT_EQ(before.m16, x.m16);
    EXPECT_EQ(before.v16, x.v16);
    EXPECT_EQ(before.weight16, x.weight16);
    EXPECT_EQ(before.remainder, x.remainder);
  }
}

TEST(CompactState, formsThatDoNotFitAreRefused) {
  context c;
  numbers random(10);
  twin x(4, random, 0.1f);
  graft_parameter_set* set = nullptr;
  const auto create = [&](const graft_parameter& p) {
    return graft_parameter_set_create(c, &p, 1, &set);
  };
  graft_parameter p = x.compact();
  p.m = x.m.data();
  expect_error(GRAFT_INVALID_ARGUMENT, create(p), {"parameter_set_create", "m, v", "m16 and v16"});
  p = x.compact();
  p.v16 = nullptr;
  expect_error(GRAFT_INVALID_ARGUMENT, create(p), {"v16"});
  p = x.compact();
  p.weight = x.weight.data();
  expect_error(GRAFT_INVALID_ARGUMENT, create(p), {"remainder", "no weight"});
  p = x.compact();
  p.weight16 = nullptr;
  expect_error(GRAFT_INVALID_ARGUMENT, create(p), {"remainder", "weight16"});
  p = x.full();
  p.weight = nullptr;
  p.remainder = x.remainder.data();
  expect_error(GRAFT_INVALID_ARGUMENT, create(p), {"remainder", "m16"});
  p = x.compact();
  p.remainder = nullptr;
  expect_error(GRAFT_INVALID_ARGUMENT, create(p), {"weight"});
}
