// Segment classifier, binary cross-entropy and mean squared error. Oracle: the formulas of graft.h in
// double on the values as stored.
#include "support.h"

using namespace graft_test;

namespace {

constexpr float loss_scale = 0.037f;

#define GRAFT_DEFINE_CALL(op)                                            \
  int call(context& c, graft_##op##_args args) {                         \
    int64_t bytes = 0;                                                   \
    const int status = graft_##op##_workspace(c, &args, &bytes);         \
    if (status != GRAFT_OK) return status;                               \
    workspace space(bytes);                                              \
    args.workspace = space.data();                                       \
    args.workspace_bytes = bytes;                                        \
    return graft_##op(c, &args);                                         \
  }
GRAFT_DEFINE_CALL(segment_classifier)
GRAFT_DEFINE_CALL(binary_cross_entropy)
GRAFT_DEFINE_CALL(mean_squared_error)
#undef GRAFT_DEFINE_CALL

struct outcome {
  std::vector<uint8_t> gradients, losses;
  double sum;
};

void expect_results(context& c, double sum, int64_t count) {
  EXPECT_NEAR(sum, c.results().loss_sum[1], 1e-9 * (1 + std::fabs(sum)));
  EXPECT_EQ(count, c.results().loss_count[1]);
  EXPECT_EQ(static_cast<double>(count), c.results().loss_weight[1]);
  EXPECT_EQ(0, c.results().loss_count[0]);
}

// The gradient is one rounding away from the double result.
double rounding(int dtype) { return dtype == GRAFT_BFLOAT16 ? 0.501 : 0.51; }

outcome segments(const std::vector<int32_t>& lengths, int64_t stride, int dtype, bool forward_only,
                 int threads, double scale) {
  numbers random(11);
  const int64_t behind = 3;  // rows of no segment
  std::vector<int32_t> cu = {0}, targets;
  for (size_t s = 0; s < lengths.size(); ++s) {
    cu.push_back(cu.back() + lengths[s]);
    const bool ignored = s % 4 == 3 || lengths[s] == 0;
    targets.push_back(ignored ? -100
                              : static_cast<int32_t>(random.bits() %
                                                     static_cast<uint64_t>(lengths[s])));
  }
  const int64_t rows = cu.back() + behind;
  array logits(random.normals(rows * stride, scale, 2), dtype, stride == 3);
  const std::vector<double> before = logits.values();
  std::vector<double> expected = before, losses_expected;
  double sum = 0;
  int64_t count = 0;
  for (int64_t r = 0; r < rows && !forward_only; ++r) expected[static_cast<size_t>(r * stride)] = 0;
  for (size_t s = 0; s < lengths.size(); ++s) {
    losses_expected.push_back(0);
    if (targets[s] < 0) continue;
    double top = -INFINITY, total = 0;
    const auto x = [&](int64_t r) { return before[static_cast<size_t>((cu[s] + r) * stride)]; };
    for (int64_t r = 0; r < lengths[s]; ++r) top = std::max(top, x(r));
    for (int64_t r = 0; r < lengths[s]; ++r) total += std::exp(x(r) - top);
    losses_expected.back() = top + std::log(total) - x(targets[s]);
    sum += losses_expected.back();
    ++count;
    for (int64_t r = 0; r < lengths[s] && !forward_only; ++r)
      expected[static_cast<size_t>((cu[s] + r) * stride)] =
          static_cast<double>(loss_scale) *
          (std::exp(x(r) - top) / total - (r == targets[s] ? 1 : 0));
  }
  array losses(static_cast<int64_t>(lengths.size()), GRAFT_FLOAT32);
  context c(threads);
  c.step(1, 1, 0, loss_scale);
  auto args = arguments<graft_segment_classifier_args>();
  args.logits = logits.data();
  args.cu_segments = cu.data();
  args.targets = targets.data();
  args.losses = losses.floats();
  args.rows = rows;
  args.segments = static_cast<int64_t>(lengths.size());
  args.stride = stride;
  args.ignore_index = -100;
  args.slot = 1;
  args.forward_only = forward_only;
  args.dtype = dtype;
  EXPECT_EQ(GRAFT_OK, call(c, args)) << graft_last_error();
  expect_close(losses_expected, losses, 1e-12, 0.51, "losses");
  expect_close(expected, logits, 1e-14, forward_only ? 0 : rounding(dtype), "dlogits");
  expect_results(c, sum, count);
  return {logits.bits(), losses.bits(), c.results().loss_sum[1]};
}

enum class kind { binary, squared };

// ln(1 / (1 + e^-x)) without overflow.
double log_sigmoid(double x) { return x > 0 ? -std::log1p(std::exp(-x)) : x - std::log1p(std::exp(x)); }

outcome elements(kind k, int64_t rows, int64_t columns, int64_t stride, int dtype, bool weighted,
                 bool forward_only, int threads, double scale) {
  numbers random(7);
  const int64_t step = stride == 0 ? columns : stride;
  array values(random.normals(rows * step, scale), dtype, stride != 0);
  std::vector<float> targets, weights;
  for (int64_t i = 0; i < rows * columns; ++i) {
    const double y = k == kind::squared ? 3 * random.normal()
                     : i % 3 == 0       ? random.uniform()  // soft
                                        : static_cast<double>(random.bits() % 2);
    targets.push_back(i % 7 == 5 ? -100.0f : static_cast<float>(y));
  }
  for (int64_t j = 0; j < columns; ++j)
    weights.push_back(weighted ? static_cast<float>(4 * random.uniform()) : 1.0f);
  const std::vector<double> before = values.values();
  std::vector<double> expected = before, losses_expected;
  double sum = 0;
  int64_t count = 0;
  for (int64_t r = 0; r < rows; ++r) {
    losses_expected.push_back(0);
    for (int64_t j = 0; j < step; ++j) {
      const auto at = static_cast<size_t>(r * step + j);
      double gradient = 0;
      if (j < columns && targets[static_cast<size_t>(r * columns + j)] != -100.0f) {
        const double x = before[at];
        const double y = static_cast<double>(targets[static_cast<size_t>(r * columns + j)]);
        const double p = static_cast<double>(weights[static_cast<size_t>(j)]);
        losses_expected.back() += k == kind::squared
                                      ? (x - y) * (x - y)
                                      : -(p * y * log_sigmoid(x) + (1 - y) * log_sigmoid(-x));
        gradient = static_cast<double>(loss_scale) *
                   (k == kind::squared ? 2 * (x - y)
                                       : (1 - y) * std::exp(log_sigmoid(x)) -
                                             p * y * std::exp(log_sigmoid(-x)));
        ++count;
      }
      if (!forward_only) expected[at] = gradient;
    }
    sum += losses_expected.back();
  }
  array losses(rows, GRAFT_FLOAT32);
  context c(threads);
  c.step(1, 1, 0, loss_scale);
  const auto fill = [&](auto& args) {
    args.targets = targets.data();
    args.losses = losses.floats();
    args.rows = rows;
    args.columns = columns;
    args.row_stride = stride;
    args.ignore_value = -100.0f;
    args.slot = 1;
    args.forward_only = forward_only;
    args.dtype = dtype;
    return call(c, args);
  };
  if (k == kind::binary) {
    auto args = arguments<graft_binary_cross_entropy_args>();
    args.logits = values.data();
    args.positive_weight = weighted ? weights.data() : nullptr;
    EXPECT_EQ(GRAFT_OK, fill(args)) << graft_last_error();
  } else {
    auto args = arguments<graft_mean_squared_error_args>();
    args.predictions = values.data();
    EXPECT_EQ(GRAFT_OK, fill(args)) << graft_last_error();
  }
  expect_close(losses_expected, losses, 1e-12, 0.51, "losses");
  expect_close(expected, values, 1e-14, forward_only ? 0 : rounding(dtype), "gradients");
  expect_results(c, sum, count);
  return {values.bits(), losses.bits(), c.results().loss_sum[1]};
}

void expect_same(const outcome& one, const outcome& many) {
  EXPECT_EQ(one.gradients, many.gradients);
  EXPECT_EQ(one.losses, many.losses);
  EXPECT_EQ(one.sum, many.sum);
}

}  // namespace

TEST(SegmentClassifier, agreesWithDouble) {
  on_every_isa([] {
    for (int dtype : float_dtypes())
      for (int64_t stride : {1, 2, 3})
        for (bool forward_only : {false, true})
          for (double scale : {4.0, 3000.0}) {
            SCOPED_TRACE(testing::Message() << "dtype " << dtype << " stride " << stride);
            segments({5, 1, 0, 8, 130, 2, 17}, stride, dtype, forward_only, 1, scale);
            segments({1}, stride, dtype, forward_only, 1, scale);
            segments({}, stride, dtype, forward_only, 1, scale);
          }
  });
}

TEST(SegmentClassifier, sameBitsForAnyThreads) {
  on_every_isa([] {
    const std::vector<int32_t> lengths(64, 100);
    const outcome one = segments(lengths, 2, GRAFT_FLOAT32, false, 1, 4);
    for (int threads : {2, 3, 7})
      expect_same(one, segments(lengths, 2, GRAFT_FLOAT32, false, threads, 4));
  });
}

TEST(SegmentClassifier, infinitiesAndNaN) {
  on_every_isa([] {
    array logits({-INFINITY, 1, 1, -INFINITY, -INFINITY, NAN, 2, 2, INFINITY}, GRAFT_FLOAT32);
    array losses(4, GRAFT_FLOAT32);
    const std::vector<int32_t> cu = {0, 3, 5, 7, 9}, targets = {1, 0, 1, 0};
    context c;
    c.step(1, 1, 0, 1);
    auto args = arguments<graft_segment_classifier_args>();
    args.logits = logits.data();
    args.cu_segments = cu.data();
    args.targets = targets.data();
    args.losses = losses.floats();
    args.rows = 9;
    args.segments = 4;
    args.ignore_index = -100;
    ASSERT_EQ(GRAFT_OK, call(c, args)) << graft_last_error();
    EXPECT_NEAR(std::log(2.0), losses[0], 1e-7);
    EXPECT_EQ(0.0, logits[0]);
    EXPECT_NEAR(-0.5, logits[1], 1e-7);
    for (int64_t s : {1, 2, 3}) EXPECT_TRUE(std::isnan(losses[s])) << s;
    for (int64_t r : {3, 4, 5, 6, 8}) EXPECT_TRUE(std::isnan(logits[r])) << r;
  });
}

TEST(SegmentClassifier, badSegmentsAndTargets_leaveTheLogits) {
  array logits(numbers(3).normals(6), GRAFT_FLOAT32);
  const auto before = logits.bits();
  context c;
  auto good = arguments<graft_segment_classifier_args>();
  const std::vector<int32_t> cu = {0, 2, 2, 6}, targets = {1, -1, 3};
  good.logits = logits.data();
  good.cu_segments = cu.data();
  good.targets = targets.data();
  good.rows = 6;
  good.segments = 3;
  good.ignore_index = -1;
  auto args = good;
  for (int32_t wrong : {4, -2}) {
    const std::vector<int32_t> wrong_targets = {1, -1, wrong};
    args.targets = wrong_targets.data();
    expect_error(GRAFT_INVALID_SHAPE, call(c, args),
                 {"targets", "0..3", "got " + std::to_string(wrong), "segment 2"});
  }
  const std::vector<int32_t> empty = {1, 0, 3};  // the empty segment is not ignored
  args.targets = empty.data();
  expect_error(GRAFT_INVALID_SHAPE, call(c, args), {"targets", "segment 1"});
  for (const std::vector<int32_t>& wrong :
       std::vector<std::vector<int32_t>>{{0, 2, 1, 6}, {0, 2, 2, 7}, {-1, 2, 2, 6}}) {
    args = good;
    args.cu_segments = wrong.data();
    expect_error(GRAFT_INVALID_SHAPE, call(c, args), {"cu_segments", "expected"});
  }
  args = good;
  args.cu_segments = nullptr;
  expect_error(GRAFT_INVALID_ARGUMENT, call(c, args), {"cu_segments", "NULL"});
  args = good;
  args.stride = -1;
  expect_error(GRAFT_INVALID_SHAPE, call(c, args), {"stride"});
  args = good;
  args.rows = int64_t{1} << 32;
  expect_error(GRAFT_INVALID_SHAPE, call(c, args), {"rows"});
  args = good;
  expect_error(GRAFT_INVALID_SHAPE, graft_segment_classifier(c, &args), {"workspace_bytes"});
  EXPECT_EQ(before, logits.bits());
  EXPECT_EQ(0, c.results().loss_count[0]);
}

TEST(ElementLosses, agreeWithDouble) {
  on_every_isa([] {
    for (kind k : {kind::binary, kind::squared})
      for (int dtype : float_dtypes())
        for (auto [rows, columns, stride] :
             std::vector<std::tuple<int64_t, int64_t, int64_t>>{
                 {1, 1, 0}, {9, 1, 0}, {5, 3, 0}, {33, 28, 64}, {4, 1000, 1003}, {0, 2, 0}})
          for (bool weighted : {false, true})
            for (bool forward_only : {false, true})
              for (double scale : {3.0, 300.0}) {
                SCOPED_TRACE(testing::Message() << "dtype " << dtype << " " << rows << "x" << columns);
                elements(k, rows, columns, stride, dtype, weighted, forward_only, 1, scale);
              }
  });
}

TEST(ElementLosses, sameBitsForAnyThreads) {
  on_every_isa([] {
    for (kind k : {kind::binary, kind::squared}) {
      const outcome one = elements(k, 70, 1000, 0, GRAFT_FLOAT32, true, false, 1, 3);
      for (int threads : {2, 3, 7})
        expect_same(one, elements(k, 70, 1000, 0, GRAFT_FLOAT32, true, false, threads, 3));
    }
  });
}

TEST(ElementLosses, badTargetsAndWeights_leaveTheValues) {
  array values(numbers(3).normals(6), GRAFT_FLOAT32);
  const auto before = values.bits();
  context c;
  auto binary = arguments<graft_binary_cross_entropy_args>();
  std::vector<float> targets = {0, 1, 0.5f, -100, 1, 0};
  binary.logits = values.data();
  binary.targets = targets.data();
  binary.rows = 2;
  binary.columns = 3;
  binary.ignore_value = -100;
  auto squared = arguments<graft_mean_squared_error_args>();
  squared.predictions = values.data();
  squared.targets = targets.data();
  squared.rows = 2;
  squared.columns = 3;
  squared.ignore_value = -100;
  for (float wrong : {-0.5f, 1.5f, NAN}) {
    targets[4] = wrong;
    expect_error(GRAFT_INVALID_SHAPE, call(c, binary), {"targets", "0..1", "row 1", "column 1"});
  }
  for (float wrong : {INFINITY, NAN}) {
    targets[4] = wrong;
    expect_error(GRAFT_INVALID_SHAPE, call(c, squared), {"targets", "finite", "row 1", "column 1"});
  }
  targets[4] = 1;
  const float weights[3] = {1, -2, 1};
  auto args = binary;
  args.positive_weight = weights;
  expect_error(GRAFT_INVALID_SHAPE, call(c, args), {"positive_weight", "-2", "at 1"});
  args = binary;
  args.ignore_value = NAN;
  expect_error(GRAFT_INVALID_SHAPE, call(c, args), {"ignore_value"});
  args = binary;
  args.slot = 4;
  expect_error(GRAFT_INVALID_SHAPE, call(c, args), {"slot", "0..3"});
  args = binary;
  args.row_stride = 2;
  expect_error(GRAFT_INVALID_SHAPE, call(c, args), {"row_stride"});
  auto other = squared;
  other.targets = nullptr;
  expect_error(GRAFT_INVALID_ARGUMENT, call(c, other), {"targets", "NULL"});
  other = squared;
  other.dtype = GRAFT_INT32;
  expect_error(GRAFT_INVALID_DTYPE, call(c, other), {"dtype"});
  expect_error(GRAFT_INVALID_SHAPE, graft_mean_squared_error(c, &squared), {"workspace_bytes"});
  expect_error(GRAFT_INVALID_SHAPE, graft_binary_cross_entropy(c, &binary), {"workspace_bytes"});
  EXPECT_EQ(before, values.bits());
  EXPECT_EQ(0, c.results().loss_count[0]);
}
