// Oracle: AdamW, LAMB and the gradient norm in double, from the float32 state before each step.
#include "optimizer_oracle.h"
#include "support.h"

#include <memory>

using namespace graft_test;

namespace {

constexpr float beta1 = 0.9f, beta2 = 0.999f, eps = 1e-8f;

struct tensor {
  array grad, weight, weight16, m, v;
  float weight_decay, lr_scale;
  bool has16;
  tensor(int64_t count, numbers& random, float decay, float scale, bool copy, bool misaligned)
      : grad(random.normals(count), GRAFT_FLOAT32, misaligned),
        weight(random.normals(count), GRAFT_FLOAT32, misaligned),
        weight16(count, GRAFT_BFLOAT16, misaligned),
        m(count, GRAFT_FLOAT32, misaligned),
        v(count, GRAFT_FLOAT32, misaligned),
        weight_decay(decay),
        lr_scale(scale),
        has16(copy) {}
};

struct model {
  std::vector<std::unique_ptr<tensor>> tensors;
  graft_parameter_set* set = nullptr;
  graft_context* owner = nullptr;
  explicit model(const std::vector<int64_t>& counts) {
    numbers random(41);
    int i = 0;
    for (int64_t count : counts) {
      tensors.push_back(std::make_unique<tensor>(count, random, i % 2 ? 0.1f : 0.0f,
                                                 i % 3 == 2 ? 0.0f : 1.0f - 0.1f * i, i % 2 == 0,
                                                 i % 4 == 1));
      ++i;
    }
  }
  void bind(graft_context* c) {
    owner = c;
    std::vector<graft_parameter> list;
    for (auto& t : tensors)
      list.push_back({t->grad.floats(), t->weight.floats(), t->has16 ? t->weight16.data() : nullptr,
                      t->m.floats(), t->v.floats(), t->grad.count(), t->weight_decay, t->lr_scale,
                      nullptr, nullptr, nullptr});
    ASSERT_EQ(GRAFT_OK, graft_parameter_set_create(c, list.data(),
                                                   static_cast<int64_t>(list.size()), &set));
  }
  ~model() {
    if (set != nullptr) graft_parameter_set_destroy(owner, set);
  }
  std::vector<uint8_t> bits() const {
    std::vector<uint8_t> all;
    for (const auto& t : tensors)
      for (const array* a : {&t->grad, &t->weight, &t->weight16, &t->m, &t->v}) {
        const auto part = a->bits();
        all.insert(all.end(), part.begin(), part.end());
      }
    return all;
  }
};

int norm(context& c, model& m, float max_norm) {
  auto args = arguments<graft_grad_norm_args>();
  args.parameters = m.set;
  args.max_norm = max_norm;
  return graft_grad_norm(c, &args);
}
template <typename Args>
Args step_arguments(model& m, int zero_grad) {
  auto args = arguments<Args>();
  args.parameters = m.set;
  args.beta1 = beta1;
  args.beta2 = beta2;
  args.eps = eps;
  args.zero_grad = zero_grad;
  return args;
}
int adamw(context& c, model& m, int zero_grad = 0) {
  const auto args = step_arguments<graft_adamw_args>(m, zero_grad);
  return graft_adamw(c, &args);
}
int lamb(context& c, model& m, int zero_grad = 0) {
  const auto args = step_arguments<graft_lamb_args>(m, zero_grad);
  return graft_lamb(c, &args);
}
int step(rule which, context& c, model& m, int zero_grad = 0) {
  return which == rule::lamb ? lamb(c, m, zero_grad) : adamw(c, m, zero_grad);
}

const std::vector<int64_t> sizes = {1, 2, 63, 65, 1000, 16384, 16385, 40000, 0, 7};

void steps_agree_with_double(rule which) {
  context c;
  model m(sizes);
  m.bind(c);
  const float lr = 1e-3f, max_norm = 0.5f;
  c.step(1, 1, lr);
  numbers random(43);
  for (int t = 1; t <= 3; ++t) {
    double squares = 0;
    for (auto& x : m.tensors)
      for (int64_t i = 0; i < x->grad.count(); ++i) {
        x->grad.set(i, random.normal());
        if (x->lr_scale != 0) squares += x->grad[i] * x->grad[i];
      }
    ASSERT_EQ(GRAFT_OK, norm(c, m, max_norm)) << graft_last_error();
    EXPECT_NEAR(std::sqrt(squares), c.results().grad_norm, 1e-7 * std::sqrt(squares));
    const double clip = max_norm / std::sqrt(squares);
    EXPECT_NEAR(clip, c.results().clip_coefficient, 1e-7 * clip);
    EXPECT_EQ(0, c.results().skip);
    std::vector<std::vector<double>> w_expected, m_expected, v_expected;
    for (auto& x : m.tensors) {
      std::vector<double> w = x->weight.values(), mm = x->m.values(), vv = x->v.values();
      const step_settings settings = {beta1, beta2, eps, clip, double{lr} * x->lr_scale,
                                      x->weight_decay, t};
      if (x->lr_scale != 0) step_in_double(which, settings, x->grad.values(), w, mm, vv);
      w_expected.push_back(w);
      m_expected.push_back(mm);
      v_expected.push_back(vv);
    }
    ASSERT_EQ(GRAFT_OK, step(which, c, m)) << graft_last_error();
    EXPECT_EQ(t, c.results().adam_t);
    for (size_t k = 0; k < m.tensors.size(); ++k) {
      SCOPED_TRACE(testing::Message() << "step " << t << " tensor " << k);
      tensor& x = *m.tensors[k];
      // One rounding of w; the update (about lr) carries a relative 1e-6.
      expect_close(w_expected[k], x.weight, 1e-9, 0.51, "weight");
      expect_close(m_expected[k], x.m, 1e-10, 2, "m");
      expect_close(v_expected[k], x.v, 1e-14, 3, "v");
      if (x.has16 && x.lr_scale != 0) {
        for (int64_t i = 0; i < x.weight.count(); ++i)
          ASSERT_EQ(bf16_to_float(float_to_bf16(static_cast<float>(x.weight[i]))), x.weight16[i]);
      }
    }
  }
}

}  // namespace

TEST(Optimizer, stepsAgreeWithDouble) {
  on_every_isa([] { steps_agree_with_double(rule::adamw); });
}

TEST(Optimizer, lambAgreesWithDouble) {
  on_every_isa([] { steps_agree_with_double(rule::lamb); });
}

// A parameter of zeroes has no length to be trusted by: it steps as with Adam.
TEST(Optimizer, lambOfZeroWeights_stepsAsAdam) {
  context c;
  model adam({40}), own({40});
  for (model* m : {&adam, &own}) {
    for (int64_t i = 0; i < 40; ++i) m->tensors[0]->weight.set(i, 0);
    m->tensors[0]->weight_decay = 0.1f;
    m->bind(c);
  }
  c.step(1, 1, 1e-2f);
  ASSERT_EQ(GRAFT_OK, norm(c, adam, 0));
  ASSERT_EQ(GRAFT_OK, adamw(c, adam));
  auto start = arguments<graft_step_results>();
  ASSERT_EQ(GRAFT_OK, graft_step_restore(c, &start));
  ASSERT_EQ(GRAFT_OK, lamb(c, own));
  for (int64_t i = 0; i < 40; ++i)
    EXPECT_NEAR(adam.tensors[0]->weight[i], own.tensors[0]->weight[i], 1e-8);
  EXPECT_NE(0.0, own.tensors[0]->weight[3]);
}

class Rules : public testing::TestWithParam<rule> {};
INSTANTIATE_TEST_SUITE_P(Optimizer, Rules, testing::Values(rule::adamw, rule::lamb),
                         [](const auto& info) {
                           return info.param == rule::lamb ? "lamb" : "adamw";
                         });

TEST_P(Rules, sameBitsForAnyThreads) {
  on_every_isa([] {
    std::vector<uint8_t> one;
    float one_norm = 0;
    for (int threads : {1, 2, 3, 7}) {
      context c(threads);
      model m(sizes);
      m.bind(c);
      c.step(1, 1, 1e-3f);
      ASSERT_EQ(GRAFT_OK, norm(c, m, 1));
      ASSERT_EQ(GRAFT_OK, step(GetParam(), c, m, 1));
      if (threads == 1) {
        one = m.bits();
        one_norm = c.results().grad_norm;
      }
      EXPECT_EQ(one, m.bits());
      EXPECT_EQ(one_norm, c.results().grad_norm);
    }
  });
}

// A gradient that is not finite skips the step: nothing but skipped_steps (and zeroed gradients) moves.
TEST_P(Rules, nonFiniteNormSkips) {
  on_every_isa([] {
    for (double bad : {static_cast<double>(NAN), static_cast<double>(INFINITY)}) {
      context c;
      model m(sizes);
      m.bind(c);
      c.step(1, 1, 1e-3f);
      m.tensors[7]->grad.set(39999, bad);
      ASSERT_EQ(GRAFT_OK, norm(c, m, 1));
      EXPECT_EQ(1, c.results().skip);
      const auto before = m.bits();
      ASSERT_EQ(GRAFT_OK, step(GetParam(), c, m, 0));
      EXPECT_EQ(before, m.bits());
      EXPECT_EQ(0, c.results().adam_t);
      EXPECT_EQ(1, c.results().skipped_steps);
      ASSERT_EQ(GRAFT_OK, step(GetParam(), c, m, 1));
      for (auto& t : m.tensors)
        for (int64_t i = 0; i < t->grad.count(); ++i) ASSERT_EQ(0.0, t->grad[i]);
      ASSERT_EQ(GRAFT_OK, norm(c, m, 1));
      EXPECT_EQ(0, c.results().skip);
      ASSERT_EQ(GRAFT_OK, step(GetParam(), c, m, 0));
      EXPECT_EQ(1, c.results().adam_t);
      EXPECT_EQ(2, c.results().skipped_steps);
    }
  });
}

TEST(Optimizer, frozenParametersAreOutsideTheNorm) {
  context c;
  model m({5, 5, 5});  // the third is frozen
  m.bind(c);
  for (int64_t i = 0; i < 5; ++i) m.tensors[2]->grad.set(i, NAN);
  ASSERT_EQ(GRAFT_OK, norm(c, m, 0));
  EXPECT_EQ(0, c.results().skip);
  EXPECT_EQ(1.0f, c.results().clip_coefficient);
  const auto before = m.tensors[2]->weight.bits();
  ASSERT_EQ(GRAFT_OK, adamw(c, m, 1));
  EXPECT_EQ(before, m.tensors[2]->weight.bits());
  EXPECT_EQ(0.0, m.tensors[2]->grad[4]);
}

// Squares beyond float32's range, both ways.
TEST(Optimizer, normOfHugeAndTinyGradients) {
  on_every_isa([] {
    for (double size : {1e30, 1e-30}) {
      context c;
      model m({1000, 1000});
      m.bind(c);
      for (auto& t : m.tensors)
        for (int64_t i = 0; i < 1000; ++i) t->grad.set(i, size);
      ASSERT_EQ(GRAFT_OK, norm(c, m, 1));
      EXPECT_NEAR(1, c.results().grad_norm / (size * std::sqrt(2000.0)), 1e-6);
    }
  });
}

TEST(Optimizer, resumesItsCount) {
  context c;
  model m({4});
  m.bind(c);
  auto restored = arguments<graft_step_results>();
  restored.adam_t = 10;
  ASSERT_EQ(GRAFT_OK, graft_step_restore(c, &restored));
  ASSERT_EQ(GRAFT_OK, adamw(c, m));
  EXPECT_EQ(11, c.results().adam_t);
}

TEST(Optimizer, errors) {
  context c;
  model m({4});
  m.bind(c);
  auto n = arguments<graft_grad_norm_args>();
  expect_error(GRAFT_INVALID_ARGUMENT, graft_grad_norm(c, &n), {"parameters", "NULL"});
  n.parameters = m.set;
  n.max_norm = NAN;
  expect_error(GRAFT_INVALID_SHAPE, graft_grad_norm(c, &n), {"max_norm"});
  auto good = arguments<graft_adamw_args>();
  good.parameters = m.set;
  good.eps = 1e-8f;
  auto a = good;
  a.beta1 = 1;
  expect_error(GRAFT_INVALID_SHAPE, graft_adamw(c, &a), {"beta1", "[0, 1)"});
  a = good;
  a.beta2 = -0.5f;
  expect_error(GRAFT_INVALID_SHAPE, graft_adamw(c, &a), {"beta2", "-0.5"});
  a = good;
  a.eps = 0;
  expect_error(GRAFT_INVALID_SHAPE, graft_adamw(c, &a), {"eps"});
  a = good;
  a.zero_grad = 2;
  expect_error(GRAFT_INVALID_SHAPE, graft_adamw(c, &a), {"zero_grad", "2"});
  a = good;
  a.parameters = nullptr;
  expect_error(GRAFT_INVALID_ARGUMENT, graft_adamw(c, &a), {"parameters"});
  auto l = arguments<graft_lamb_args>();
  l.parameters = m.set;
  expect_error(GRAFT_INVALID_SHAPE, graft_lamb(c, &l), {"lamb", "eps"});
  graft_parameter p{};
  graft_parameter_set* set = nullptr;
  p.count = 3;
  expect_error(GRAFT_INVALID_ARGUMENT, graft_parameter_set_create(c, &p, 1, &set), {"grad"});
  p.count = -1;
  expect_error(GRAFT_INVALID_SHAPE, graft_parameter_set_create(c, &p, 1, &set), {"count", "-1"});
  p.count = 0;
  p.lr_scale = -1;
  expect_error(GRAFT_INVALID_SHAPE, graft_parameter_set_create(c, &p, 1, &set), {"lr_scale", "-1"});
}
