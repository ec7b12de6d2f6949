// Softmax cross-entropy on the CUDA backend. Oracles: the formula in double on the logits as stored,
// and the CPU backend, by the architecture's rule; single gradients by the CPU test's own bounds.
#include "../../cuda/emulation/runtime.h"
#include "cuda_support.h"

using namespace graft_test;
namespace emulation = graft::emulation;

namespace {

constexpr float loss_scale = 0.037f;
constexpr int slot = 2;

struct problem {
  int64_t rows, vocabulary, padding;
  int dtype;
  int64_t shift = 0;  // elements off the alignment
  bool forward_only = false;
  bool weighted = false;
  float smoothing = 0;
  double scale = 4;
};

struct outcome {
  std::vector<uint8_t> logits, losses;
  graft_step_results sums;
};

// Logits, targets and weights of a problem, and what double makes of them.
struct batch {
  problem p;
  int64_t stride;
  std::vector<double> logits;
  std::vector<int32_t> targets;
  std::vector<float> weights;
  std::vector<double> expected, losses;
  double loss_sum = 0, weight_sum = 0;
  int64_t count = 0;

  explicit batch(const problem& of) : p(of), stride(of.vocabulary + of.padding) {
    numbers random(5);
    const auto V = static_cast<uint64_t>(p.vocabulary);
    logits = array(random.normals(p.rows * stride, p.scale, 2), p.dtype).values();
    for (int64_t r = 0; r < p.rows; ++r)
      targets.push_back(r % 5 == 3 ? -100 : static_cast<int32_t>(random.bits() % V));
    // Every third class does not count.
    for (uint64_t v = 0; v < V; ++v)
      weights.push_back(!p.weighted   ? 1
                        : v % 3 == 2 ? 0
                                     : static_cast<float>(3 * random.uniform()));
  }
  void solve() {
    const double e = p.smoothing, V = static_cast<double>(p.vocabulary);
    double all_weights = 0;
    for (const float w : weights) all_weights += w;
    expected.assign(logits.size(), 0);
    losses.assign(static_cast<size_t>(p.rows), 0);
    for (int64_t r = 0; r < p.rows; ++r) {
      const double* x = logits.data() + r * stride;
      const int32_t target = targets[static_cast<size_t>(r)];
      if (target < 0) continue;
      double top = -INFINITY, total = 0, loss = 0;
      for (int64_t v = 0; v < p.vocabulary; ++v) top = std::max(top, x[v]);
      for (int64_t v = 0; v < p.vocabulary; ++v) total += std::exp(x[v] - top);
      const double w = weights[static_cast<size_t>(target)];
      for (int64_t v = 0; v < p.vocabulary; ++v) {
        const double share =
            (v == target ? (1 - e) * w : 0) + e / V * weights[static_cast<size_t>(v)];
        if (share != 0) loss += share * (top - x[v] + std::log(total));
        expected[static_cast<size_t>(r * stride + v)] =
            loss_scale * (std::exp(x[v] - top) / total * ((1 - e) * w + e / V * all_weights) - share);
      }
      losses[static_cast<size_t>(r)] = loss;
      loss_sum += loss;
      weight_sum += w;
      ++count;
    }
    if (p.forward_only) expected = logits;
  }
  graft_classifier_args arguments_for(void* x, const int32_t* t, const float* w, float* l) const {
    auto args = arguments<graft_classifier_args>();
    args.logits = x;
    args.targets = t;
    args.weights = p.weighted ? w : nullptr;
    args.losses = l;
    args.rows = p.rows;
    args.vocabulary = p.vocabulary;
    args.row_stride = p.padding == 0 ? 0 : stride;
    args.ignore_index = -100;
    args.slot = slot;
    args.forward_only = p.forward_only;
    args.dtype = p.dtype;
    args.label_smoothing = p.smoothing;
    return args;
  }
};

outcome on_cuda(cuda_context& c, const batch& b, array& logits, array& losses, int calls = 1) {
  const int64_t element = b.p.dtype == GRAFT_BFLOAT16 ? 2 : 4;
  device_array d_logits(c, logits, b.p.shift * element);
  device_array d_targets(c, b.targets, 4 * (b.p.shift % 3));
  device_array d_weights(c, b.weights, 4 * (b.p.shift % 2));
  device_array d_losses(c, losses, 4 * (b.p.shift % 4));
  auto args = b.arguments_for(d_logits.data(), d_targets.data<int32_t>(), d_weights.data<float>(),
                              d_losses.data<float>());
  EXPECT_EQ(GRAFT_OK, graft_classifier_workspace(c, &args, &args.workspace_bytes))
      << graft_last_error();
  device_array space(c, args.workspace_bytes);
  args.workspace = space.data();
  c.step(1, 1, 0, loss_scale);
  for (int call = 0; call < calls; ++call) {
    d_logits.upload(logits.data());
    EXPECT_EQ(GRAFT_OK, graft_classifier(c, &args)) << graft_last_error();
  }
  c.synchronize();
  d_logits.download(logits);
  d_losses.download(losses);
  return {logits.bits(), losses.bits(), c.results()};
}

void on_cpu(const batch& b, array& logits, array& losses) {
  context c;
  c.step(1, 1, 0, loss_scale);
  auto args =
      b.arguments_for(logits.data(), b.targets.data(), b.weights.data(), losses.floats());
  ASSERT_EQ(GRAFT_OK, graft_classifier_workspace(c, &args, &args.workspace_bytes));
  workspace space(args.workspace_bytes);
  args.workspace = space.data();
  ASSERT_EQ(GRAFT_OK, graft_classifier(c, &args)) << graft_last_error();
}

outcome check(cuda_context& c, const problem& p) {
  SCOPED_TRACE(testing::Message() << "dtype " << p.dtype << ", " << p.rows << " x " << p.vocabulary
                                  << " + " << p.padding << ", shift " << p.shift << ", smoothing "
                                  << p.smoothing << ", weighted " << p.weighted);
  batch b(p);
  b.solve();
  array logits(b.logits, p.dtype), losses(p.rows, GRAFT_FLOAT32);
  array cpu_logits(b.logits, p.dtype), cpu_losses(p.rows, GRAFT_FLOAT32);
  EXPECT_EQ(GRAFT_OK, graft_loss_reset(c));
  const outcome out = on_cuda(c, b, logits, losses);
  on_cpu(b, cpu_logits, cpu_losses);
  expect_within_rule(b.losses, cpu_losses, losses, "losses");
  expect_within_rule(b.expected, cpu_logits, logits, "dlogits");
  const bool half = p.dtype == GRAFT_BFLOAT16;
  expect_close(b.expected, logits, p.forward_only ? 0 : 4e-8,
               p.forward_only ? 0 : half ? 0.53 : 8, "dlogits");
  EXPECT_NEAR(b.loss_sum, out.sums.loss_sum[slot], 1e-6 * (1 + std::fabs(b.loss_sum)));
  EXPECT_NEAR(b.weight_sum, out.sums.loss_weight[slot], 1e-12 * (1 + b.weight_sum));
  EXPECT_EQ(b.count, out.sums.loss_count[slot]);
  EXPECT_EQ(0, out.sums.loss_count[0]);
  return out;
}

// Rows a warp, rows in shared memory; odd sizes around chunks, warps and blocks.
std::vector<std::pair<int64_t, int64_t>> shapes() {
  std::vector<std::pair<int64_t, int64_t>> all = {{1, 1},   {3, 2},    {70, 3},   {4, 7},
                                                  {4, 8},   {9, 17},   {5, 63},   {33, 65},
                                                  {3, 255}, {7, 1000}, {2, 1024}, {19, 1025},
                                                  {3, 4099}, {2, 8200}};
  if (full_grid())
    for (int64_t v = 4; v < 60000; v = v * 5 / 4 + 3) all.push_back({5, v});
  return all;
}

}  // namespace

TEST(CudaClassifier, everyShapeAndAlignment_withinTwiceTheCpusError) {
  cuda_context c;
  int i = 0;
  for (const int dtype : float_dtypes())
    for (const auto& [rows, vocabulary] : shapes())
      for (const bool forward_only : {false, true}) {
        // Paddings that keep the rows' alignment, and such that every row has another one.
        const int64_t padding = std::vector<int64_t>{0, 7, 64 - vocabulary % 64, 1}[i % 4];
        check(c, {rows, vocabulary, padding, dtype, i % 8, forward_only});
        ++i;
      }
}

TEST(CudaClassifier, weightsAndSmoothing_withinTwiceTheCpusError) {
  cuda_context c;
  int i = 0;
  // Maxima over a few numbers are luck: of short rows there are more.
  for (const int dtype : float_dtypes())
    for (const auto& [rows, vocabulary] : std::vector<std::pair<int64_t, int64_t>>{
             {60, 2}, {50, 3}, {20, 17}, {11, 1000}, {11, 2049}})
      for (const float smoothing : {0.0f, 0.1f, 1.0f})
        for (const bool weighted : {false, true}) {
          if (smoothing == 0 && !weighted) continue;
          check(c, {rows, vocabulary, i % 3, dtype, i % 8, i % 5 == 4, weighted, smoothing});
          ++i;
        }
}

// Rows that do not fit in shared memory are read twice, and give the same.
TEST(CudaClassifier, rowsBeyondSharedMemory) {
  GRAFT_SKIP_ON_REAL_CARD();
  emulation::machine small;
  small.shared_bytes = 4 * 1024;
  for (const int dtype : float_dtypes())
    for (const float smoothing : {0.0f, 0.1f}) {
      const problem p = {11, 4099, 3, dtype, 1, false, true, smoothing};
      emulation::set_machine(small);
      outcome twice;
      {
        cuda_context c;
        twice = check(c, p);
      }
      emulation::set_machine({});
      cuda_context c;
      const outcome once = check(c, p);
      EXPECT_EQ(once.logits, twice.logits);
      EXPECT_EQ(once.losses, twice.losses);
    }
}

TEST(CudaClassifier, sameBitsInAnyOrderOfBlocksAndWarps) {
  for (const int64_t vocabulary : {37, 1031}) {
    const batch b({53, vocabulary, 2, GRAFT_BFLOAT16, 3, false, true, 0.1f});
    outcome first;
    for (uint64_t seed = 1; seed <= 6; ++seed) {
      emulation::set_seed(1000 * seed);
      cuda_context c;
      array logits(b.logits, b.p.dtype), losses(b.p.rows, GRAFT_FLOAT32);
      const outcome out = on_cuda(c, b, logits, losses);
      if (seed == 1) first = out;
      EXPECT_EQ(first.logits, out.logits);
      EXPECT_EQ(first.losses, out.losses);
      EXPECT_EQ(first.sums.loss_sum[slot], out.sums.loss_sum[slot]);
      EXPECT_EQ(first.sums.loss_weight[slot], out.sums.loss_weight[slot]);
    }
  }
}

TEST(CudaClassifier, sumsGrowFromCallToCall) {
  for (const int64_t vocabulary : {9, 1100}) {
    const batch b({40, vocabulary, 0, GRAFT_FLOAT32, 0, false, true});
    cuda_context c;
    array logits(b.logits, b.p.dtype), losses(b.p.rows, GRAFT_FLOAT32);
    const auto once = on_cuda(c, b, logits, losses).sums;
    array again(b.logits, b.p.dtype);
    const auto thrice = on_cuda(c, b, again, losses, 2).sums;
    EXPECT_DOUBLE_EQ(3 * once.loss_sum[slot], thrice.loss_sum[slot]);
    EXPECT_DOUBLE_EQ(3 * once.loss_weight[slot], thrice.loss_weight[slot]);
    EXPECT_EQ(3 * once.loss_count[slot], thrice.loss_count[slot]);
  }
}

TEST(CudaClassifier, allRowsIgnored_andNoRows) {
  cuda_context c;
  for (const int64_t vocabulary : {5, 1500}) {
    batch b({9, vocabulary, 3, GRAFT_BFLOAT16, 1});
    b.targets.assign(9, -100);
    array logits(b.logits, b.p.dtype), losses(9, GRAFT_FLOAT32);
    const outcome out = on_cuda(c, b, logits, losses);
    EXPECT_EQ(std::vector<uint8_t>(out.logits.size()), out.logits);
    EXPECT_EQ(std::vector<uint8_t>(out.losses.size()), out.losses);
    EXPECT_EQ(0, out.sums.loss_count[slot]);
  }
  auto none = arguments<graft_classifier_args>();
  none.vocabulary = 7;
  EXPECT_EQ(GRAFT_OK, graft_classifier(c, &none)) << graft_last_error();
  EXPECT_EQ(0, c.results().loss_count[0]);
}

// -inf has probability 0; without a largest number, with a NaN or without a class all is NaN, and
// the rows beside stay as they are.
TEST(CudaClassifier, infinitiesNaNAndForeignTargets) {
  cuda_context c;
  for (const int64_t vocabulary : {40, 1300}) {
    batch b({8, vocabulary, 5, GRAFT_FLOAT32, 2});
    b.targets = {1, 2, 3, 4, 5, static_cast<int32_t>(vocabulary), -7, 6};
    const auto row = [&](int64_t r) { return b.logits.begin() + r * b.stride; };
    std::fill(row(0) + 2, row(0) + vocabulary - 1, -INFINITY);
    std::fill(row(1), row(1) + vocabulary, -INFINITY);
    row(2)[vocabulary - 2] = INFINITY;
    row(3)[17] = NAN;
    b.solve();
    array logits(b.logits, b.p.dtype), losses(8, GRAFT_FLOAT32);
    EXPECT_EQ(GRAFT_OK, graft_loss_reset(c));
    const outcome out = on_cuda(c, b, logits, losses);
    EXPECT_TRUE(std::isnan(out.sums.loss_sum[slot]));
    EXPECT_EQ(8, out.sums.loss_count[slot]);
    for (int64_t r = 0; r < 8; ++r) {
      SCOPED_TRACE(testing::Message() << "row " << r << " of " << vocabulary);
      const bool bad = r >= 1 && r <= 6 && r != 4;
      EXPECT_EQ(bad, std::isnan(losses[r]));
      for (int64_t v = 0; v < b.stride; ++v) {
        const double got = logits[r * b.stride + v];
        if (v >= vocabulary)
          ASSERT_EQ(0, got);
        else if (bad)
          ASSERT_TRUE(std::isnan(got)) << v;
        else
          ASSERT_NEAR(b.expected[static_cast<size_t>(r * b.stride + v)], got, 1e-8) << v;
      }
    }
  }
}

TEST(CudaClassifier, aSmallWorkspaceIsRefused) {
  cuda_context c;
  const batch b({3, 9, 0, GRAFT_FLOAT32});
  device_array logits(c, 3 * 9 * 4), targets(c, 12), space(c, 16);
  auto args = b.arguments_for(logits.data(), targets.data<int32_t>(), nullptr, nullptr);
  args.workspace = space.data();
  args.workspace_bytes = 16;
  expect_error(GRAFT_INVALID_SHAPE, graft_classifier(c, &args), {"workspace_bytes", "24", "16"});
}
