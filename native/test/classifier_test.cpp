// Oracle: log-softmax in double on the logits as stored.
#include "support.h"

using namespace graft_test;

namespace {

struct problem {
  int64_t rows, vocabulary, stride;
  int dtype;
  bool misaligned = false;
  bool forward_only = false;
  int threads = 1;
  double scale = 4;
  bool weighted = false;
  float smoothing = 0;
};

struct outcome {
  std::vector<uint8_t> logits, losses;
  double loss_sum;
};

int call(context& c, graft_classifier_args args) {
  int64_t bytes = 0;
  const int status = graft_classifier_workspace(c, &args, &bytes);
  if (status != GRAFT_OK) return status;
  workspace space(bytes);
  args.workspace = space.data();
  args.workspace_bytes = bytes;
  return graft_classifier(c, &args);
}

outcome run(const problem& p) {
  const int64_t stride = p.stride == 0 ? p.vocabulary : p.stride;
  const double loss_scale = 0.037;
  numbers random(5);
  array logits(random.normals(p.rows * stride, p.scale, 2), p.dtype, p.misaligned);
  array losses(p.rows, GRAFT_FLOAT32, p.misaligned);
  std::vector<int32_t> targets;
  for (int64_t r = 0; r < p.rows; ++r)
    targets.push_back(r % 5 == 3 ? -100
                                 : static_cast<int32_t>(random.bits() %
                                                        static_cast<uint64_t>(p.vocabulary)));
  std::vector<float> weights;
  double all_weights = 0;
  for (int64_t v = 0; v < p.vocabulary; ++v) {
    // Every third class does not count.
    weights.push_back(!p.weighted ? 1 : v % 3 == 2 ? 0 : static_cast<float>(3 * random.uniform()));
    all_weights += static_cast<double>(weights.back());
  }
  const double e = static_cast<double>(p.smoothing), V = static_cast<double>(p.vocabulary);
  const std::vector<double> before = logits.values();
  std::vector<double> expected(before.size(), 0.0), losses_expected;
  double sum = 0, weight_sum = 0;
  int64_t count = 0;
  for (int64_t r = 0; r < p.rows; ++r) {
    const double* x = before.data() + r * stride;
    const int32_t target = targets[static_cast<size_t>(r)];
    double top = -INFINITY, total = 0;
    for (int64_t v = 0; v < p.vocabulary; ++v) top = std::max(top, x[v]);
    for (int64_t v = 0; v < p.vocabulary; ++v) total += std::exp(x[v] - top);
    losses_expected.push_back(0);
    if (target < 0) continue;
    const double w = static_cast<double>(weights[static_cast<size_t>(target)]);
    for (int64_t v = 0; v < p.vocabulary; ++v) {
      const double share = (v == target ? (1 - e) * w : 0) +
                           e / V * static_cast<double>(weights[static_cast<size_t>(v)]);
      losses_expected.back() += share * (top - x[v] + std::log(total));
      expected[static_cast<size_t>(r * stride + v)] =
          static_cast<double>(static_cast<float>(loss_scale)) *
          (std::exp(x[v] - top) / total * ((1 - e) * w + e / V * all_weights) - share);
    }
    sum += losses_expected.back();
    weight_sum += w;
    ++count;
  }
  context c(p.threads);
  c.step(1, 1, 0, static_cast<float>(loss_scale));
  auto args = arguments<graft_classifier_args>();
  args.logits = logits.data();
  args.targets = targets.data();
  args.losses = losses.floats();
  args.rows = p.rows;
  args.vocabulary = p.vocabulary;
  args.row_stride = p.stride;
  args.ignore_index = -100;
  args.slot = 2;
  args.forward_only = p.forward_only;
  args.dtype = p.dtype;
  args.weights = p.weighted ? weights.data() : nullptr;
  args.label_smoothing = p.smoothing;
  EXPECT_EQ(GRAFT_OK, call(c, args)) << graft_last_error();
  // A weight, at most 3, multiplies the error of its row.
  expect_close(losses_expected, losses, p.weighted ? 1.5e-6 : 5e-7, p.smoothing > 0 ? 4 : 2,
               "losses");
  // e^x: t = L x - M rounds at |t| <= ~60 of small terms; the sum and factor add 2 ulp.
  const bool half = p.dtype == GRAFT_BFLOAT16;
  expect_close(p.forward_only ? before : expected, logits, p.forward_only ? 0 : 2e-8,
               p.forward_only ? 0 : half ? 0.53 : 8, "dlogits");
  EXPECT_NEAR(sum, c.results().loss_sum[2], 1e-6 * (1 + std::fabs(sum)));
  EXPECT_NEAR(weight_sum, c.results().loss_weight[2], 1e-12 * (1 + weight_sum));
  EXPECT_EQ(count, c.results().loss_count[2]);
  EXPECT_EQ(0, c.results().loss_count[0]);
  return {logits.bits(), losses.bits(), c.results().loss_sum[2]};
}

}  // namespace

TEST(Classifier, agreesWithDouble) {
  on_every_isa([] {
    for (int dtype : float_dtypes())
      for (auto [rows, vocabulary] : std::vector<std::pair<int64_t, int64_t>>{
               {1, 1}, {3, 2}, {5, 3}, {4, 7}, {4, 8}, {4, 9}, {3, 15}, {3, 17}, {9, 63}, {65, 65},
               {7, 1000}, {3, 1024}, {5, 2049}, {2, 50257}})
        for (bool forward_only : {false, true}) {
          SCOPED_TRACE(testing::Message() << "dtype " << dtype << " " << rows << "x" << vocabulary);
          run({rows, vocabulary, rows % 2 ? vocabulary + 7 : 0, dtype, vocabulary % 2 == 1,
               forward_only});
        }
  });
}

TEST(Classifier, weightsAndSmoothing_agreeWithDouble) {
  on_every_isa([] {
    for (int dtype : float_dtypes())
      for (auto [rows, vocabulary] : std::vector<std::pair<int64_t, int64_t>>{
               {1, 2}, {5, 3}, {4, 9}, {65, 17}, {7, 1000}, {5, 2049}})
        for (float smoothing : {0.0f, 0.1f, 1.0f})
          for (bool weighted : {false, true})
            for (bool forward_only : {false, true}) {
              SCOPED_TRACE(testing::Message() << "dtype " << dtype << " " << rows << "x" << vocabulary
                                              << " smoothing " << smoothing);
              problem p{rows, vocabulary, rows % 2 ? vocabulary + 7 : 0, dtype, vocabulary % 2 == 1,
                        forward_only};
              p.weighted = weighted;
              p.smoothing = smoothing;
              run(p);
            }
  });
}

TEST(Classifier, sameBitsForAnyThreads) {
  on_every_isa([] {
    problem p{97, 1031, 1040, GRAFT_FLOAT32};
    p.weighted = true;
    p.smoothing = 0.1f;
    const outcome one = run(p);
    for (int threads : {2, 3, 7}) {
      p.threads = threads;
      const outcome many = run(p);
      EXPECT_EQ(one.logits, many.logits);
      EXPECT_EQ(one.losses, many.losses);
      EXPECT_EQ(one.loss_sum, many.loss_sum);
    }
  });
}

TEST(Classifier, largeLogitsDoNotOverflow) {
  on_every_isa([] { run({8, 300, 0, GRAFT_FLOAT32, false, false, 1, 3000}); });
}

// A prefix of -inf (masked vocabulary) counts as probability 0; a row of nothing else is NaN.
TEST(Classifier, infinitiesAndNaN) {
  on_every_isa([] {
    const int64_t V = 2100;
    std::vector<double> values(static_cast<size_t>(4 * V), 0.0);
    for (int64_t v = 0; v < V - 2; ++v) values[static_cast<size_t>(v)] = -INFINITY;
    for (int64_t v = 0; v < V; ++v) values[static_cast<size_t>(V + v)] = -INFINITY;
    values[static_cast<size_t>(2 * V + 5)] = NAN;
    values[static_cast<size_t>(3 * V + 5)] = INFINITY;
    array logits(values, GRAFT_FLOAT32), losses(4, GRAFT_FLOAT32);
    const std::vector<int32_t> targets = {static_cast<int32_t>(V - 1), 0, 0, 0};
    context c;
    c.step(1, 1, 0, 1);
    auto args = arguments<graft_classifier_args>();
    args.logits = logits.data();
    args.targets = targets.data();
    args.losses = losses.floats();
    args.rows = 4;
    args.vocabulary = V;
    args.ignore_index = -100;
    ASSERT_EQ(GRAFT_OK, call(c, args)) << graft_last_error();
    EXPECT_NEAR(std::log(2.0), losses[0], 1e-7);
    EXPECT_EQ(0.0, logits[0]);
    EXPECT_NEAR(0.5, logits[V - 2], 1e-7);
    EXPECT_NEAR(-0.5, logits[V - 1], 1e-7);
    for (int64_t r = 1; r < 4; ++r) {
      EXPECT_TRUE(std::isnan(losses[r])) << r;
      EXPECT_TRUE(std::isnan(logits[r * V + 7])) << r;
    }
  });
}

// GRAFT_INVALID_SHAPE names row and value, and nothing is written.
TEST(Classifier, targetOutOfRange) {
  array logits(numbers(3).normals(12), GRAFT_FLOAT32);
  const auto before = logits.bits();
  context c;
  auto args = arguments<graft_classifier_args>();
  args.logits = logits.data();
  args.rows = 3;
  args.vocabulary = 4;
  args.ignore_index = -1;
  for (int32_t wrong : {4, -2, -100}) {
    const std::vector<int32_t> targets = {0, -1, wrong};
    args.targets = targets.data();
    expect_error(GRAFT_INVALID_SHAPE, call(c, args),
                 {"targets", "0..3", "got " + std::to_string(wrong), "row 2"});
    EXPECT_EQ(before, logits.bits());
    EXPECT_EQ(0, c.results().loss_count[0]);
  }
}

TEST(Classifier, zeroRowsAndErrors) {
  context c;
  auto good = arguments<graft_classifier_args>();
  good.vocabulary = 4;
  EXPECT_EQ(GRAFT_OK, graft_classifier(c, &good)) << graft_last_error();
  float logits[8] = {};
  int32_t targets[2] = {};
  good.logits = logits;
  good.targets = targets;
  good.rows = 2;
  auto args = good;
  expect_error(GRAFT_INVALID_SHAPE, graft_classifier(c, &args), {"workspace_bytes"});
  args = good;
  args.slot = 4;
  expect_error(GRAFT_INVALID_SHAPE, call(c, args), {"slot", "0..3", "4"});
  args = good;
  args.row_stride = 3;
  expect_error(GRAFT_INVALID_SHAPE, call(c, args), {"row_stride", "4", "3"});
  args = good;
  args.vocabulary = 0;
  expect_error(GRAFT_INVALID_SHAPE, call(c, args), {"vocabulary"});
  for (float smoothing : {-0.1f, 1.1f, NAN}) {
    args = good;
    args.label_smoothing = smoothing;
    expect_error(GRAFT_INVALID_SHAPE, call(c, args), {"label_smoothing", "0..1"});
  }
  for (float weight : {-1.0f, NAN, INFINITY}) {
    const float weights[4] = {1, 1, weight, 1};
    args = good;
    args.weights = weights;
    expect_error(GRAFT_INVALID_SHAPE, call(c, args), {"weights", "finite", "at 2"});
  }
  args = good;
  args.targets = nullptr;
  expect_error(GRAFT_INVALID_ARGUMENT, call(c, args), {"targets", "NULL"});
  args = good;
  args.dtype = GRAFT_INT32;
  expect_error(GRAFT_INVALID_DTYPE, call(c, args), {"dtype"});
}
