// Segment classifier, binary cross-entropy and mean squared error on the CUDA backend. Oracles: the
// formulas of graft.h in double on the values as stored, one rounding away, and the CPU backend, by
// the architecture's rule.
#include <memory>
#include <tuple>

#include "../../cuda/emulation/runtime.h"
#include "cuda_support.h"

using namespace graft_test;
namespace emulation = graft::emulation;

namespace {

constexpr float loss_scale = 0.037f;
constexpr int slot = 1;
constexpr float ignored = -100.0f;

// The gradient is one rounding away from the double result.
double rounding(int dtype) { return dtype == GRAFT_BFLOAT16 ? 0.501 : 0.51; }

#define GRAFT_DEFINE_CALL(op)                                              \
  template <typename Space>                                                \
  int call(graft_context* c, graft_##op##_args args, const Space& space) { \
    const int status = graft_##op##_workspace(c, &args, &args.workspace_bytes); \
    if (status != GRAFT_OK) return status;                                 \
    args.workspace = space(args.workspace_bytes);                          \
    return graft_##op(c, &args);                                           \
  }
GRAFT_DEFINE_CALL(segment_classifier)
GRAFT_DEFINE_CALL(binary_cross_entropy)
GRAFT_DEFINE_CALL(mean_squared_error)
#undef GRAFT_DEFINE_CALL

struct outcome {
  std::vector<uint8_t> gradients, losses;
  graft_step_results sums;
};

struct expectation {
  std::vector<double> gradients, losses;
  double sum = 0;
  int64_t count = 0;
};

// `fill(args, values, losses, on_device)` sets the op's own arguments. Runs both backends on the
// same values and compares.
template <typename Args, typename Fill>
outcome compare(cuda_context& cuda, const expectation& e, const std::vector<double>& values,
                int dtype, int64_t shift, bool forward_only, const Fill& fill) {
  const auto prepare = [&](Args& args) {
    args.slot = slot;
    args.forward_only = forward_only;
    args.dtype = dtype;
  };
  const auto rows = static_cast<int64_t>(e.losses.size());
  array cpu_values(values, dtype), cpu_losses(rows, GRAFT_FLOAT32);
  context cpu;
  cpu.step(1, 1, 0, loss_scale);
  auto args = arguments<Args>();
  prepare(args);
  fill(args, cpu_values.data(), cpu_losses.floats(), false);
  std::vector<workspace> host_space;
  EXPECT_EQ(GRAFT_OK, call(cpu, args, [&](int64_t bytes) {
              host_space.emplace_back(bytes);
              return host_space.back().data();
            })) << graft_last_error();

  array got(values, dtype), losses(rows, GRAFT_FLOAT32);
  device_array d_values(cuda, got, shift * (dtype == GRAFT_BFLOAT16 ? 2 : 4));
  device_array d_losses(cuda, losses, 4 * (shift % 4));
  cuda.step(1, 1, 0, loss_scale);
  EXPECT_EQ(GRAFT_OK, graft_loss_reset(cuda));
  fill(args, d_values.data(), d_losses.data<float>(), true);
  std::vector<std::unique_ptr<device_array>> space;
  EXPECT_EQ(GRAFT_OK, call(cuda, args, [&](int64_t bytes) {
              space.push_back(std::make_unique<device_array>(cuda, bytes));
              return space.back()->data();
            })) << graft_last_error();
  cuda.synchronize();
  d_values.download(got);
  d_losses.download(losses);
  const graft_step_results sums = cuda.results();

  expect_within_rule(e.gradients, cpu_values, got, "gradients");
  expect_within_rule(e.losses, cpu_losses, losses, "losses");
  expect_close(e.gradients, got, 1e-14, forward_only ? 0 : rounding(dtype), "gradients");
  expect_close(e.losses, losses, 1e-12, 0.51, "losses");
  EXPECT_NEAR(e.sum, sums.loss_sum[slot], 1e-9 * (1 + std::fabs(e.sum)));
  EXPECT_EQ(e.count, sums.loss_count[slot]);
  EXPECT_EQ(static_cast<double>(e.count), sums.loss_weight[slot]);
  EXPECT_EQ(0, sums.loss_count[0]);
  return {got.bits(), losses.bits(), sums};
}

outcome segments(cuda_context& cuda, const std::vector<int32_t>& lengths, int64_t stride, int dtype,
                 bool forward_only, double scale) {
  SCOPED_TRACE(testing::Message() << lengths.size() << " segments, dtype " << dtype << ", stride "
                                  << stride << ", forward only " << forward_only);
  numbers random(11);
  // Rows of no segment before and behind.
  std::vector<int32_t> cu = {lengths.empty() ? 0 : 2}, targets;
  for (size_t s = 0; s < lengths.size(); ++s) {
    cu.push_back(cu.back() + lengths[s]);
    const bool none = s % 4 == 3 || lengths[s] == 0;
    const auto length = static_cast<uint64_t>(lengths[s]);
    targets.push_back(none ? -100 : static_cast<int32_t>(random.bits() % length));
  }
  const int64_t rows = cu.back() + 3;
  const auto x = array(random.normals(rows * stride, scale, 2), dtype).values();
  expectation e;
  e.gradients = x;
  for (int64_t r = 0; r < rows && !forward_only; ++r)
    e.gradients[static_cast<size_t>(r * stride)] = 0;
  for (size_t s = 0; s < lengths.size(); ++s) {
    e.losses.push_back(0);
    if (targets[s] < 0) continue;
    const auto at = [&](int64_t r) { return static_cast<size_t>((cu[s] + r) * stride); };
    double top = -INFINITY, total = 0;
    for (int64_t r = 0; r < lengths[s]; ++r) top = std::max(top, x[at(r)]);
    for (int64_t r = 0; r < lengths[s]; ++r) total += std::exp(x[at(r)] - top);
    e.losses.back() = top + std::log(total) - x[at(targets[s])];
    e.sum += e.losses.back();
    ++e.count;
    for (int64_t r = 0; r < lengths[s] && !forward_only; ++r)
      e.gradients[at(r)] = loss_scale * (std::exp(x[at(r)] - top) / total - (r == targets[s]));
  }
  device_array d_cu(cuda, cu, 4), d_targets(cuda, targets, 8);
  return compare<graft_segment_classifier_args>(
      cuda, e, x, dtype, stride, forward_only,
      [&](graft_segment_classifier_args& args, void* values, float* losses, bool device) {
        args.logits = values;
        args.losses = losses;
        args.cu_segments = device ? d_cu.data<int32_t>() : cu.data();
        args.targets = device ? d_targets.data<int32_t>() : targets.data();
        args.rows = rows;
        args.segments = static_cast<int64_t>(lengths.size());
        args.stride = stride;
        args.ignore_index = -100;
      });
}

enum class kind { binary, squared };

// ln(1 / (1 + e^-x)) without overflow.
double log_sigmoid(double x) {
  return x > 0 ? -std::log1p(std::exp(-x)) : x - std::log1p(std::exp(x));
}

outcome elements(cuda_context& cuda, kind k, int64_t rows, int64_t columns, int64_t stride,
                 int dtype, bool weighted, bool forward_only, double scale) {
  SCOPED_TRACE(testing::Message() << (k == kind::binary ? "binary " : "squared ") << rows << " x "
                                  << columns << ", stride " << stride << ", dtype " << dtype);
  numbers random(7);
  const int64_t step = stride == 0 ? columns : stride;
  const auto x = array(random.normals(rows * step, scale), dtype).values();
  std::vector<float> targets, weights;
  for (int64_t i = 0; i < rows * columns; ++i) {
    const double y = k == kind::squared ? 3 * random.normal()
                     : i % 3 == 0       ? random.uniform()  // soft
                                        : static_cast<double>(random.bits() % 2);
    targets.push_back(i % 7 == 5 ? ignored : static_cast<float>(y));
  }
  for (int64_t j = 0; j < columns; ++j)
    weights.push_back(weighted ? static_cast<float>(4 * random.uniform()) : 1.0f);
  expectation e;
  e.gradients = x;
  for (int64_t r = 0; r < rows; ++r) {
    e.losses.push_back(0);
    for (int64_t j = 0; j < step; ++j) {
      const auto at = static_cast<size_t>(r * step + j);
      double gradient = 0;
      if (j < columns && targets[static_cast<size_t>(r * columns + j)] != ignored) {
        const double y = targets[static_cast<size_t>(r * columns + j)], v = x[at];
        const double p = weights[static_cast<size_t>(j)];
        e.losses.back() += k == kind::squared
                               ? (v - y) * (v - y)
                               : -(p * y * log_sigmoid(v) + (1 - y) * log_sigmoid(-v));
        gradient = loss_scale * (k == kind::squared ? 2 * (v - y)
                                                    : (1 - y) * std::exp(log_sigmoid(v)) -
                                                          p * y * std::exp(log_sigmoid(-v)));
        ++e.count;
      }
      if (!forward_only) e.gradients[at] = gradient;
    }
    e.sum += e.losses.back();
  }
  device_array d_targets(cuda, targets, 4), d_weights(cuda, weights, 12);
  const auto fill = [&](auto& args, float* losses, bool device) {
    args.targets = device ? d_targets.data<float>() : targets.data();
    args.losses = losses;
    args.rows = rows;
    args.columns = columns;
    args.row_stride = stride;
    args.ignore_value = ignored;
  };
  if (k == kind::squared)
    return compare<graft_mean_squared_error_args>(
        cuda, e, x, dtype, columns % 8, forward_only,
        [&](graft_mean_squared_error_args& args, void* values, float* losses, bool device) {
          fill(args, losses, device);
          args.predictions = values;
        });
  return compare<graft_binary_cross_entropy_args>(
      cuda, e, x, dtype, columns % 8, forward_only,
      [&](graft_binary_cross_entropy_args& args, void* values, float* losses, bool device) {
        fill(args, losses, device);
        args.logits = values;
        if (weighted) args.positive_weight = device ? d_weights.data<float>() : weights.data();
      });
}

void expect_same(const outcome& one, const outcome& other) {
  EXPECT_EQ(one.gradients, other.gradients);
  EXPECT_EQ(one.losses, other.losses);
  EXPECT_EQ(one.sums.loss_sum[slot], other.sums.loss_sum[slot]);
}

}  // namespace

TEST(CudaLosses, segments_oneRoundingFromDouble) {
  cuda_context cuda;
  for (const int dtype : float_dtypes())
    for (const int64_t stride : {1, 2, 3})
      for (const bool forward_only : {false, true})
        for (const double scale : {4.0, 3000.0}) {
          segments(cuda, {5, 1, 0, 8, 530, 2, 17}, stride, dtype, forward_only, scale);
          segments(cuda, {1}, stride, dtype, forward_only, scale);
          segments(cuda, {}, stride, dtype, forward_only, scale);
        }
  // More segments than blocks.
  segments(cuda, std::vector<int32_t>(70, 9), 2, GRAFT_BFLOAT16, false, 4);
}

TEST(CudaLosses, elements_oneRoundingFromDouble) {
  cuda_context cuda;
  for (const kind k : {kind::binary, kind::squared})
    for (const int dtype : float_dtypes())
      for (const auto& [rows, columns, stride] : std::vector<std::tuple<int64_t, int64_t, int64_t>>{
               {1, 1, 0}, {9, 1, 0}, {300, 3, 0}, {33, 28, 64}, {4, 1000, 1003}, {0, 2, 0}})
        for (const bool forward_only : {false, true})
          for (const double scale : {3.0, 300.0})
            elements(cuda, k, rows, columns, stride, dtype, forward_only == (scale > 9),
                     forward_only, scale);
}

TEST(CudaLosses, sameBitsInAnyOrderOfBlocksAndWarps) {
  outcome first[3];
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    emulation::set_seed(1000 * seed);
    cuda_context cuda;
    const outcome now[3] = {
        segments(cuda, std::vector<int32_t>(50, 100), 2, GRAFT_FLOAT32, false, 4),
        elements(cuda, kind::binary, 300, 37, 0, GRAFT_FLOAT32, true, false, 3),
        elements(cuda, kind::squared, 300, 37, 0, GRAFT_BFLOAT16, false, false, 3)};
    for (int i = 0; i < 3; ++i) {
      if (seed == 1) first[i] = now[i];
      expect_same(first[i], now[i]);
    }
  }
}

// What the CPU backend refuses by name, because it can look at it, gives NaN here.
TEST(CudaLosses, foreignTargetsAndInfinitiesGiveNaN) {
  cuda_context cuda;
  const auto space = [](device_array& memory) {
    return [&memory](int64_t bytes) {
      EXPECT_LE(bytes, memory.bytes());
      return memory.data();
    };
  };
  device_array memory(cuda, 1024);
  cuda.step(1, 1, 0, 1);

  array logits({-INFINITY, 1, 1, -INFINITY, -INFINITY, NAN, 2, 2, INFINITY, 3, 4, 5, 6},
               GRAFT_FLOAT32);
  device_array d_logits(cuda, logits), d_losses(cuda, 6 * 4);
  device_array cu(cuda, std::vector<int32_t>{0, 3, 5, 7, 9, 11, 13});
  device_array targets(cuda, std::vector<int32_t>{1, 0, 1, 0, 2, -1});
  auto segment = arguments<graft_segment_classifier_args>();
  segment.logits = d_logits.data();
  segment.cu_segments = cu.data<int32_t>();
  segment.targets = targets.data<int32_t>();
  segment.losses = d_losses.data<float>();
  segment.rows = 13;
  segment.segments = 6;
  segment.ignore_index = -100;
  ASSERT_EQ(GRAFT_OK, call(cuda, segment, space(memory))) << graft_last_error();
  cuda.synchronize();
  d_logits.download(logits);
  array losses(6, GRAFT_FLOAT32);
  d_losses.download(losses);
  EXPECT_NEAR(std::log(2.0), losses[0], 1e-7);
  EXPECT_EQ(0.0, logits[0]);
  EXPECT_NEAR(-0.5, logits[1], 1e-7);
  for (int64_t s : {1, 2, 3, 4, 5}) EXPECT_TRUE(std::isnan(losses[s])) << s;
  for (int64_t r : {3, 4, 5, 6, 8, 9, 10, 11, 12}) EXPECT_TRUE(std::isnan(logits[r])) << r;

  array values({1, 2, 3}, GRAFT_FLOAT32);
  device_array d_values(cuda, values);
  device_array y(cuda, std::vector<float>{1.0f, 1.5f, ignored});
  auto binary = arguments<graft_binary_cross_entropy_args>();
  binary.logits = d_values.data();
  binary.targets = y.data<float>();
  binary.rows = 3;
  binary.columns = 1;
  binary.ignore_value = ignored;
  ASSERT_EQ(GRAFT_OK, call(cuda, binary, space(memory))) << graft_last_error();
  cuda.synchronize();
  d_values.download(values);
  EXPECT_NEAR(-std::exp(log_sigmoid(-1)), values[0], 1e-7);
  EXPECT_TRUE(std::isnan(values[1]));
  EXPECT_EQ(0, values[2]);
}

TEST(CudaLosses, aSmallWorkspaceIsRefused) {
  cuda_context cuda;
  device_array memory(cuda, 256);
  const auto refuse = [&](auto args, auto op, auto&& logits) {
    logits(args) = memory.data();
    args.targets = memory.data<std::remove_pointer_t<decltype(args.targets)>>();
    args.rows = 2;
    args.workspace = memory.data();
    args.workspace_bytes = 15;
    return op(cuda, &args);
  };
  auto binary = arguments<graft_binary_cross_entropy_args>();
  binary.columns = 1;
  expect_error(GRAFT_INVALID_SHAPE,
               refuse(binary, graft_binary_cross_entropy,
                      [](auto& a) -> void*& { return a.logits; }),
               {"binary_cross_entropy", "workspace_bytes", "32", "15"});
  auto squared = arguments<graft_mean_squared_error_args>();
  squared.columns = 1;
  expect_error(
      GRAFT_INVALID_SHAPE,
      refuse(squared, graft_mean_squared_error, [](auto& a) -> void*& { return a.predictions; }),
      {"mean_squared_error", "workspace_bytes", "32", "15"});
  auto segment = arguments<graft_segment_classifier_args>();
  segment.cu_segments = memory.data<int32_t>();
  segment.segments = 2;
  expect_error(GRAFT_INVALID_SHAPE,
               refuse(segment, graft_segment_classifier,
                      [](auto& a) -> void*& { return a.logits; }),
               {"segment_classifier", "workspace_bytes", "16", "15"});
}
