// AdamW, LAMB and the gradient norm on the CUDA backend. Oracle: the CPU backend and the formula in
// double, by the architecture's rule. The step state decides (lr, clip, skip, t), so it is compared
// after each step.
#include <memory>

#include "../../cuda/parameter_set.h"
#include "../optimizer_oracle.h"
#include "cuda_support.h"

using namespace graft_test;
namespace emulation = graft::emulation;

namespace {

constexpr float beta1 = 0.9f, beta2 = 0.999f, eps = 1e-8f;
constexpr int64_t block = graft::cuda::optimizer_block;

// One tensor, on the host for the CPU backend and on the device.
struct tensor {
  array grad, weight, weight16, m, v;
  device_array d_grad, d_weight, d_weight16, d_m, d_v;
  float weight_decay, lr_scale;
  bool has16;

  struct shifts {
    int grad = 0, weight = 0, weight16 = 0, m = 0, v = 0;  // elements off the alignment
  };
  tensor(cuda_context& c, int64_t count, numbers& random, float decay, float scale, bool copy,
         shifts shift)
      : grad(random.normals(count), GRAFT_FLOAT32),
        weight(random.normals(count), GRAFT_FLOAT32),
        weight16(count, GRAFT_BFLOAT16),
        m(count, GRAFT_FLOAT32),
        v(count, GRAFT_FLOAT32),
        d_grad(c, grad, 4 * shift.grad),
        d_weight(c, weight, 4 * shift.weight),
        d_weight16(c, weight16, 2 * shift.weight16),
        d_m(c, m, 4 * shift.m),
        d_v(c, v, 4 * shift.v),
        weight_decay(decay),
        lr_scale(scale),
        has16(copy) {}

  int64_t count() const { return grad.count(); }
  graft_parameter on_host() {
    return {grad.floats(), weight.floats(), has16 ? weight16.data() : nullptr,
            m.floats(),    v.floats(),      count(),
            weight_decay,  lr_scale,        nullptr,
            nullptr,       nullptr};
  }
  graft_parameter on_device() {
    return {d_grad.data<float>(),
            d_weight.data<float>(),
            has16 ? d_weight16.data() : nullptr,
            d_m.data<float>(),
            d_v.data<float>(),
            count(),
            weight_decay,
            lr_scale,
            nullptr,
            nullptr,
            nullptr};
  }
};

class optimizer_pair {
 public:
  optimizer_pair() = default;
  ~optimizer_pair() {
    graft_parameter_set_destroy(cpu, cpu_set);
    graft_parameter_set_destroy(cuda, cuda_set);
  }

  void add(int64_t count, float decay, float scale, bool copy, tensor::shifts shift = {}) {
    tensors.push_back(std::make_unique<tensor>(cuda, count, random, decay, scale, copy, shift));
  }
  void bind() {
    std::vector<graft_parameter> host, device;
    for (auto& t : tensors) {
      host.push_back(t->on_host());
      device.push_back(t->on_device());
    }
    const auto count = static_cast<int64_t>(tensors.size());
    ASSERT_EQ(GRAFT_OK, graft_parameter_set_create(cpu, host.data(), count, &cpu_set));
    ASSERT_EQ(GRAFT_OK, graft_parameter_set_create(cuda, device.data(), count, &cuda_set))
        << graft_last_error();
  }
  void new_gradients() {
    for (auto& t : tensors) {
      for (int64_t i = 0; i < t->count(); ++i) t->grad.set(i, random.normal());
      t->d_grad.upload(t->grad.data());
    }
  }
  void norm(float max_norm) {
    auto args = arguments<graft_grad_norm_args>();
    args.max_norm = max_norm;
    args.parameters = cpu_set;
    ASSERT_EQ(GRAFT_OK, graft_grad_norm(cpu, &args));
    args.parameters = cuda_set;
    ASSERT_EQ(GRAFT_OK, graft_grad_norm(cuda, &args)) << graft_last_error();
  }
  template <typename Args>
  void both(int (*op)(graft_context*, const Args*), bool zero_grad) {
    auto args = arguments<Args>();
    args.beta1 = beta1;
    args.beta2 = beta2;
    args.eps = eps;
    args.zero_grad = zero_grad ? 1 : 0;
    args.parameters = cpu_set;
    ASSERT_EQ(GRAFT_OK, op(cpu, &args));
    args.parameters = cuda_set;
    ASSERT_EQ(GRAFT_OK, op(cuda, &args)) << graft_last_error();
  }
  void adamw(bool zero_grad) { both(graft_adamw, zero_grad); }
  void lamb(bool zero_grad) { both(graft_lamb, zero_grad); }
  void step(uint64_t n, float lr) {
    cpu.step(1, n, lr);
    cuda.step(1, n, lr);
  }

  void expect_same_state() {
    const graft_step_results a = cpu.results(), b = cuda.results();
    EXPECT_EQ(a.adam_t, b.adam_t);
    EXPECT_EQ(a.skipped_steps, b.skipped_steps);
    EXPECT_EQ(a.skip, b.skip);
    if (std::isnan(a.grad_norm))
      EXPECT_TRUE(std::isnan(b.grad_norm));
    else
      EXPECT_FLOAT_EQ(a.grad_norm, b.grad_norm);
    EXPECT_FLOAT_EQ(a.clip_coefficient, b.clip_coefficient);
  }
  // One step of both backends, from the same bits, against double.
  void step_and_compare(int64_t t, float lr, float max_norm, bool zero_grad,
                        rule which = rule::adamw) {
    step(static_cast<uint64_t>(t), lr);
    new_gradients();
    norm(max_norm);
    expect_same_state();
    const double clip = cpu.results().clip_coefficient;
    std::vector<std::vector<double>> weights, ms, vs;
    for (auto& x : tensors) {
      std::vector<double> w = x->weight.values(), m = x->m.values(), v = x->v.values();
      const step_settings settings = {beta1, beta2, eps, clip, double{lr} * x->lr_scale,
                                      x->weight_decay, t};
      if (x->lr_scale != 0) step_in_double(which, settings, x->grad.values(), w, m, v);
      weights.push_back(w);
      ms.push_back(m);
      vs.push_back(v);
    }
    which == rule::lamb ? lamb(zero_grad) : adamw(zero_grad);
    expect_same_state();
    for (size_t k = 0; k < tensors.size(); ++k) {
      SCOPED_TRACE(testing::Message()
                   << "tensor " << k << " of " << tensors[k]->count() << " elements, step " << t);
      tensor& x = *tensors[k];
      compare(weights[k], x.weight, x.d_weight, "weight");
      compare(ms[k], x.m, x.d_m, "m");
      compare(vs[k], x.v, x.d_v, "v");
      array grad(x.count(), GRAFT_FLOAT32);
      x.d_grad.download(grad);
      EXPECT_EQ(x.grad.bits(), grad.bits());
      array got16(x.count(), GRAFT_BFLOAT16);
      x.d_weight16.download(got16);
      for (int64_t i = 0; i < x.count(); ++i) {
        const double expected = x.has16 && x.lr_scale != 0
                                    ? bf16_to_float(float_to_bf16(static_cast<float>(x.weight[i])))
                                    : 0.0;
        ASSERT_EQ(expected, got16[i]) << "weight16[" << i << "]";
      }
    }
  }

  context cpu;
  cuda_context cuda;
  std::vector<std::unique_ptr<tensor>> tensors;
  graft_parameter_set* cpu_set = nullptr;
  graft_parameter_set* cuda_set = nullptr;
  numbers random{47};

 private:
  // Both backends go on from the CPU's bits, so that each step is judged alone.
  void compare(const std::vector<double>& exact, array& reference, device_array& on_device,
               const char* what) {
    array got(reference.count(), GRAFT_FLOAT32);
    on_device.download(got);
    expect_within_rule(exact, reference, got, what);
    on_device.upload(reference.data());
  }
};

std::vector<int64_t> sizes() {
  std::vector<int64_t> all;
  for (int64_t n = 1; n <= 33; ++n) all.push_back(n);
  for (int64_t near : {int64_t{1024}, block, 2 * block})
    for (int64_t off : {-1, 0, 1}) all.push_back(near + off);
  if (full_grid())
    for (int64_t n = 34; n <= 2100; n += 7) all.push_back(n);
  all.push_back(0);
  return all;
}

}  // namespace

class CudaRules : public testing::TestWithParam<rule> {};
INSTANTIATE_TEST_SUITE_P(CudaOptimizer, CudaRules, testing::Values(rule::adamw, rule::lamb),
                         [](const auto& info) {
                           return info.param == rule::lamb ? "lamb" : "adamw";
                         });

TEST_P(CudaRules, everySizeAndAlignment_withinTwiceTheCpusError) {
  optimizer_pair p;
  int i = 0;
  for (int64_t count : sizes()) {
    // Equal offsets (a common head), then unequal ones (no vectors at all).
    tensor::shifts shift = {i % 4, i % 4, 4 - i % 4, i % 4, i % 4};
    if (i % 5 == 4) shift = {i % 4, 0, i % 3, 1, 0};
    p.add(count, i % 2 ? 0.1f : 0.0f, i % 7 == 6 ? 0.0f : 1.0f - 0.01f * (i % 50), i % 3 != 0,
          shift);
    ++i;
  }
  p.bind();
  for (int t = 1; t <= 3; ++t) p.step_and_compare(t, 1e-3f, 0.5f, t == 2, GetParam());
}

TEST(CudaOptimizer, manyStepsCountTheBiasCorrections) {
  optimizer_pair p;
  p.add(100, 0.01f, 1.0f, true);
  p.bind();
  for (int t = 1; t <= 40; ++t) p.step_and_compare(t, 1e-2f / t, 0.0f, true);
}

TEST(CudaOptimizer, nonFiniteNormSkips) {
  for (const double bad : {static_cast<double>(NAN), static_cast<double>(INFINITY)}) {
    optimizer_pair p;
    p.add(7, 0.1f, 1.0f, true);
    p.add(block + 5, 0.0f, 1.0f, false);
    p.bind();
    p.step(1, 1e-3f);
    p.tensors[1]->grad.set(block + 4, bad);
    p.tensors[1]->d_grad.upload(p.tensors[1]->grad.data());
    p.norm(1.0f);
    p.expect_same_state();
    EXPECT_EQ(1, p.cuda.results().skip);
    for (const bool zero : {false, true}) {
      p.adamw(zero);
      p.expect_same_state();
      for (auto& t : p.tensors) {
        array weight(t->count(), GRAFT_FLOAT32), m(t->count(), GRAFT_FLOAT32),
            grad(t->count(), GRAFT_FLOAT32);
        t->d_weight.download(weight);
        t->d_m.download(m);
        t->d_grad.download(grad);
        EXPECT_EQ(t->weight.bits(), weight.bits());
        EXPECT_EQ(t->m.bits(), m.bits());
        EXPECT_EQ(t->grad.bits(), grad.bits());
      }
    }
    EXPECT_EQ(0, p.cuda.results().adam_t);
    EXPECT_EQ(2, p.cuda.results().skipped_steps);
    p.norm(1.0f);  // of zeros
    p.adamw(false);
    p.expect_same_state();
    EXPECT_EQ(1, p.cuda.results().adam_t);
  }
}

TEST(CudaOptimizer, frozenParametersAreOutsideTheNorm) {
  optimizer_pair p;
  p.add(50, 0.0f, 1.0f, false);
  p.add(50, 0.0f, 0.0f, false);
  p.bind();
  p.tensors[1]->grad.set(3, NAN);
  p.tensors[1]->d_grad.upload(p.tensors[1]->grad.data());
  p.norm(0.0f);
  p.expect_same_state();
  EXPECT_EQ(0, p.cuda.results().skip);
  EXPECT_EQ(1.0f, p.cuda.results().clip_coefficient);
}

// Squares beyond float32's range, both ways.
TEST(CudaOptimizer, normOfHugeAndTinyGradients) {
  for (const double size : {1e30, 1e-30}) {
    optimizer_pair p;
    p.add(1000, 0.0f, 1.0f, false, {3});
    p.add(1000, 0.0f, 1.0f, false);
    p.bind();
    for (auto& t : p.tensors) {
      for (int64_t i = 0; i < t->count(); ++i) t->grad.set(i, size);
      t->d_grad.upload(t->grad.data());
    }
    p.norm(1.0f);
    EXPECT_NEAR(1, p.cuda.results().grad_norm / (size * std::sqrt(2000.0)), 1e-6);
  }
}

TEST(CudaOptimizer, sameBitsInAnyOrderOfBlocksAndWarps) {
  std::vector<uint8_t> first;
  float first_norm = 0;
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    emulation::set_seed(1000 * seed);
    optimizer_pair p;
    for (const int64_t count : {int64_t{1}, block + 1, int64_t{300}, 3 * block})
      p.add(count, 0.1f, 1.0f, true);
    p.bind();
    p.step(1, 1e-3f);
    p.norm(1.0f);
    p.adamw(true);
    std::vector<uint8_t> bits;
    for (auto& t : p.tensors) {
      std::vector<uint8_t> part(static_cast<size_t>(4 * t->count()));
      t->d_weight.download(part.data());
      bits.insert(bits.end(), part.begin(), part.end());
    }
    const float norm = p.cuda.results().grad_norm;
    if (seed == 1) {
      first = bits;
      first_norm = norm;
    }
    EXPECT_EQ(first, bits) << "seed " << seed;
    EXPECT_EQ(first_norm, norm) << "seed " << seed;
  }
}

TEST(CudaOptimizer, anEmptySetCountsItsSteps) {
  optimizer_pair p;
  p.bind();
  p.step(1, 1e-3f);
  p.norm(1.0f);
  p.adamw(false);
  p.expect_same_state();
  EXPECT_EQ(1, p.cuda.results().adam_t);
  EXPECT_EQ(0.0f, p.cuda.results().grad_norm);
}

// A tensor of 6 billion elements: its blocks, and the update of the two that lie around 2^32, for
// which only these elements are there.
TEST(CudaOptimizer, largeOffsets) {
  const int64_t count = int64_t{6} << 30, middle = int64_t{1} << 32;
  graft_parameter huge{};
  huge.count = count + 3;
  const auto blocks = graft::cuda::cut_in_blocks(&huge, 1);
  ASSERT_EQ(count / block + 1, static_cast<int64_t>(blocks.size()));
  EXPECT_EQ(count, blocks.back().begin);
  EXPECT_EQ(count + 3, blocks.back().end);
  const auto before = blocks[static_cast<size_t>(middle / block) - 1];
  const auto after = blocks[static_cast<size_t>(middle / block)];
  EXPECT_EQ(middle - block, before.begin);
  EXPECT_EQ(middle, before.end);
  EXPECT_EQ(middle, after.begin);

  optimizer_pair p;
  p.add(2 * block, 0.1f, 1.0f, true);
  p.bind();
  p.step(1, 1e-3f);
  // The same launch as the set's own, with the arrays said to begin 4 billion elements earlier.
  graft_parameter far = p.tensors[0]->on_device();
  const int64_t gap = middle - block;
  for (float** base : {&far.grad, &far.weight, &far.m, &far.v})
    *base = reinterpret_cast<float*>(reinterpret_cast<uintptr_t>(*base) -
                                     static_cast<uintptr_t>(gap) * sizeof(float));
  far.weight16 = reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(far.weight16) -
                                         static_cast<uintptr_t>(gap) * sizeof(uint16_t));
  far.count = huge.count;
  const device_array parameters(p.cuda, std::vector<graft_parameter>{far});
  const device_array table(p.cuda, std::vector<graft::cuda::parameter_block>{before, after});
  const device_array sums(p.cuda, std::vector<double>(2));
  const device_array finished(p.cuda, std::vector<int>(1));
  graft_parameter_set far_set = {parameters.data<const graft_parameter>(),
                                 table.data<const graft::cuda::parameter_block>(),
                                 sums.data<double>(), finished.data<int>(), 2, false};
  graft_parameter_set* own = p.cuda_set;
  p.cuda_set = &far_set;
  p.step_and_compare(1, 1e-3f, 0.5f, true);
  p.cuda_set = own;
}
