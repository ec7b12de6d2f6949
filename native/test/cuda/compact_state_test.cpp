// AdamW and LAMB on compact state on the CUDA backend. Oracle: the CPU backend from the same bits: the
// same random words, so the same roundings, but where the numbers before them differ in a last bit.
#include <memory>

#include "../../cuda/parameter_set.h"
#include "cuda_support.h"

using namespace graft_test;
namespace emulation = graft::emulation;

namespace {

constexpr float beta1 = 0.9f, beta2 = 0.999f, eps = 1e-8f;
constexpr int64_t block = graft::cuda::optimizer_block;

enum class rule { adamw, lamb };

uint32_t bits_of(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

// A parameter whose master is split, on the host and on the device.
struct parameter {
  std::vector<float> grad;
  std::vector<uint16_t> weight16, m16, v16, remainder;
  float decay, scale;
  device_array d_grad, d_weight16, d_m16, d_v16, d_remainder;

  static std::vector<uint16_t> halves(int64_t count, numbers& random, double size, bool positive) {
    std::vector<uint16_t> x;
    for (int64_t i = 0; i < count; ++i) {
      const double value = size * random.normal();
      x.push_back(float_to_bf16(static_cast<float>(positive ? std::abs(value) : value)));
    }
    return x;
  }
  static std::vector<float> normals(int64_t count, numbers& random) {
    std::vector<float> x;
    for (int64_t i = 0; i < count; ++i) x.push_back(static_cast<float>(random.normal()));
    return x;
  }
  // Arrays of 16 bits begin `shift` elements off the alignment.
  parameter(cuda_context& c, int64_t count, numbers& random, float weight_decay, float lr_scale,
            int shift)
      : grad(normals(count, random)),
        weight16(halves(count, random, 1.0, false)),
        m16(halves(count, random, 0.1, false)),
        v16(halves(count, random, 1e-3, true)),
        remainder(halves(count, random, 1.0, false)),
        decay(weight_decay),
        scale(lr_scale),
        d_grad(c, grad, 4 * shift),
        d_weight16(c, weight16, 2 * shift),
        d_m16(c, m16, 2 * shift),
        d_v16(c, v16, 2 * shift),
        d_remainder(c, remainder, 2 * shift) {}

  int64_t count() const { return static_cast<int64_t>(grad.size()); }
  graft_parameter on_host() {
    return {grad.data(), nullptr, weight16.data(), nullptr, nullptr, count(),
            decay,       scale,   m16.data(),      v16.data(), remainder.data()};
  }
  graft_parameter on_device() {
    return {d_grad.data<float>(), nullptr,     d_weight16.data(), nullptr,
            nullptr,              count(),     decay,             scale,
            d_m16.data(),         d_v16.data(), d_remainder.data<uint16_t>()};
  }
};

float joined(uint16_t high, uint16_t low) {
  const uint32_t bits =
      (uint32_t{high} << 16) + static_cast<uint32_t>(int32_t{static_cast<int16_t>(low)});
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

void step(graft_context* c, rule which, const std::vector<graft_parameter>& list, bool zero_grad) {
  graft_parameter_set* set = nullptr;
  ASSERT_EQ(GRAFT_OK, graft_parameter_set_create(c, list.data(), static_cast<int64_t>(list.size()),
                                                 &set))
      << graft_last_error();
  auto adam = arguments<graft_adamw_args>();
  adam.parameters = set, adam.beta1 = beta1, adam.beta2 = beta2, adam.eps = eps;
  adam.zero_grad = zero_grad;
  auto lamb = arguments<graft_lamb_args>();
  lamb.parameters = set, lamb.beta1 = beta1, lamb.beta2 = beta2, lamb.eps = eps;
  lamb.zero_grad = zero_grad;
  ASSERT_EQ(GRAFT_OK, which == rule::lamb ? graft_lamb(c, &lamb) : graft_adamw(c, &adam))
      << graft_last_error();
  ASSERT_EQ(GRAFT_OK, graft_synchronize(c)) << graft_last_error();
  graft_parameter_set_destroy(c, set);
}

std::vector<uint16_t> downloaded(const device_array& from, size_t count) {
  std::vector<uint16_t> x(count);
  from.download(x.data());
  return x;
}

}  // namespace

class CudaCompactState : public testing::TestWithParam<rule> {};
INSTANTIATE_TEST_SUITE_P(Rules, CudaCompactState, testing::Values(rule::adamw, rule::lamb),
                         [](const auto& info) {
                           return info.param == rule::lamb ? "lamb" : "adamw";
                         });

TEST_P(CudaCompactState, everySizeAndAlignment_asOnTheCpu) {
  context cpu;
  cuda_context cuda;
  numbers random(11);
  std::vector<std::unique_ptr<parameter>> all;
  int k = 0;
  for (int64_t count : {1, 2, 3, 4, 5, 7, 8, 31, 33, 1023, 1025, 16383, 16384, 16386, 33000}) {
    // Every fourth all aligned, so that words are taken; else one by one.
    all.push_back(std::make_unique<parameter>(cuda, count, random, k % 2 ? 0.1f : 0.0f,
                                              k % 7 == 6 ? 0.0f : 1.0f, k % 2 ? 0 : k % 8));
    ++k;
  }
  int64_t different = 0, elements = 0;
  for (int t = 1; t <= 3; ++t) {
    cpu.step(5, 0, 1e-3f);
    cuda.step(5, 0, 1e-3f);
    std::vector<graft_parameter> host, device;
    for (auto& p : all) {
      host.push_back(p->on_host());
      device.push_back(p->on_device());
    }
    step(cpu, GetParam(), host, t == 3);
    step(cuda, GetParam(), device, t == 3);
    for (auto& p : all) {
      const auto n = p->grad.size();
      SCOPED_TRACE(testing::Message() << "step " << t << ", " << n << " elements");
      const auto weight16 = downloaded(p->d_weight16, n), m16 = downloaded(p->d_m16, n);
      const auto v16 = downloaded(p->d_v16, n), remainder = downloaded(p->d_remainder, n);
      std::vector<float> grad(n);
      p->d_grad.download(grad.data());
      ASSERT_EQ(p->grad, grad);
      for (size_t i = 0; i < n; ++i) {
        const float expected = joined(p->weight16[i], p->remainder[i]);
        const float got = joined(weight16[i], remainder[i]);
        // An ulp of the weight, and one of a step whose moments may have been rounded otherwise.
        ASSERT_NEAR(expected, got, 1.2e-7 * std::abs(expected) + 1e-8) << i;
        ASSERT_EQ(static_cast<uint16_t>((bits_of(got) + 0x8000u) >> 16), weight16[i]) << i;
        ASSERT_NEAR(p->m16[i], m16[i], 1) << i;
        ASSERT_NEAR(p->v16[i], v16[i], 1) << i;
        different += (p->m16[i] != m16[i]) + (p->v16[i] != v16[i]);
        ++elements;
      }
      p->d_weight16.upload(p->weight16.data());
      p->d_remainder.upload(p->remainder.data());
      p->d_m16.upload(p->m16.data());
      p->d_v16.upload(p->v16.data());
    }
  }
  EXPECT_LT(different, elements / 1000 + 1);
}

TEST_P(CudaCompactState, sameBitsInAnyOrderOfBlocksAndWarps) {
  std::vector<uint16_t> first;
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    emulation::set_seed(1000 * seed);
    cuda_context c;
    numbers random(12);
    parameter p(c, 2 * block + 5, random, 0.1f, 1.0f, 0);
    c.step(5, 0, 1e-3f);
    step(c, GetParam(), {p.on_device()}, false);
    std::vector<uint16_t> bits;
    for (const device_array* from : {&p.d_weight16, &p.d_remainder, &p.d_m16, &p.d_v16}) {
      const auto part = downloaded(*from, p.grad.size());
      bits.insert(bits.end(), part.begin(), part.end());
    }
    if (seed == 1) first = bits;
    EXPECT_EQ(first, bits) << "seed " << seed;
  }
}
