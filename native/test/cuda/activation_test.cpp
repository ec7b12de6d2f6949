// CUDA activation and column_sum. Oracle: the formulas in double with libm; beside it the CPU backend on
// the same inputs. Tolerance, the architecture's rule: max|got - f64| <= 2 max|CPU - f64| + 2 ulp(max|f64|)
// a tensor.
#include "../../cuda/device.h"
#include "cuda_support.h"

using namespace graft_test;
namespace emulation = graft::emulation;

namespace {

double value_of(int activation, double u) {
  switch (activation) {
    case GRAFT_GELU_TANH:
      return 0.5 * u * (1 + std::tanh(std::sqrt(2 / M_PI) * (u + 0.044715 * u * u * u)));
    case GRAFT_GELU_ERF: return 0.5 * u * (1 + std::erf(u / std::sqrt(2.0)));
    case GRAFT_TANH: return std::tanh(u);
    default: return u > 0 ? u : 0;
  }
}

double slope_of(int activation, double u) {
  switch (activation) {
    case GRAFT_GELU_TANH: {
      const double t = std::tanh(std::sqrt(2 / M_PI) * (u + 0.044715 * u * u * u));
      return 0.5 * (1 + t) +
             0.5 * u * (1 - t * t) * std::sqrt(2 / M_PI) * (1 + 3 * 0.044715 * u * u);
    }
    case GRAFT_GELU_ERF:
      return 0.5 * (1 + std::erf(u / std::sqrt(2.0))) +
             u * std::exp(-u * u / 2) / std::sqrt(2 * M_PI);
    case GRAFT_TANH: return 1 - std::tanh(u) * std::tanh(u);
    default: return u > 0 ? 1 : 0;
  }
}

constexpr int activations[] = {GRAFT_GELU_TANH, GRAFT_GELU_ERF, GRAFT_TANH, GRAFT_RELU};

struct problem {
  int64_t rows, channels;
  int dtype, activation;
  bool bias, dbias, in_place;
  int shift = 0;  // elements that arrays are off their alignment
};

std::string describe(const problem& p) {
  return (testing::Message() << p.rows << "x" << p.channels << " dtype " << p.dtype
                             << " activation " << p.activation << " bias " << p.bias << " dbias "
                             << p.dbias << " in place " << p.in_place << " shift " << p.shift)
      .GetString();
}

using bits = std::vector<std::vector<uint8_t>>;

bits run(const problem& p, bool compare) {
  SCOPED_TRACE(describe(p));
  const int64_t n = p.rows * p.channels, element = p.dtype == GRAFT_BFLOAT16 ? 2 : 4;
  const int64_t shift = p.shift * element;
  numbers random(17);
  array x(random.normals(n, 3), p.dtype), bias(random.normals(p.channels), p.dtype);
  array dy(random.normals(n), p.dtype), dbias(random.normals(p.channels), GRAFT_FLOAT32);
  auto args = arguments<graft_activation_args>();
  args.rows = p.rows;
  args.channels = p.channels;
  args.activation = p.activation;
  args.dtype = p.dtype;

  cuda_context cuda;
  array got_y(n, p.dtype), got_dx(n, p.dtype), got_dbias(p.channels, GRAFT_FLOAT32);
  {
    device_array d_x(cuda, x, shift), d_bias(cuda, bias, shift), d_dy(cuda, dy, shift);
    device_array d_x_too(cuda, x, shift), d_y(cuda, n * element, shift);
    device_array d_dx(cuda, n * element, shift), d_dbias(cuda, dbias, 4 * p.shift);
    const device_array& y_place = p.in_place ? d_x_too : d_y;
    const device_array& dx_place = p.in_place ? d_dy : d_dx;
    args.bias = p.bias ? d_bias.data() : nullptr;
    args.x = d_x_too.data();
    args.y = y_place.data();
    EXPECT_EQ(GRAFT_OK, graft_activation_forward(cuda, &args)) << graft_last_error();
    args.x = d_x.data();
    args.dy = d_dy.data();
    args.dx = dx_place.data();
    args.dbias = p.dbias ? d_dbias.data<float>() : nullptr;
    int64_t bytes = -1;
    EXPECT_EQ(GRAFT_OK, graft_activation_workspace(cuda, &args, &bytes)) << graft_last_error();
    EXPECT_EQ(p.dbias, bytes > 0);
    device_array space(cuda, bytes);
    args.workspace = space.data();
    args.workspace_bytes = bytes;
    EXPECT_EQ(GRAFT_OK, graft_activation_backward(cuda, &args)) << graft_last_error();
    y_place.download(got_y);
    dx_place.download(got_dx);
    d_dbias.download(got_dbias);
  }
  const bits all = {got_y.bits(), got_dx.bits(), got_dbias.bits()};
  if (!compare) return all;

  std::vector<double> y_exact, dx_exact, dbias_exact = dbias.values();
  double terms = 1;  // of a column, by size: each has the error of a dx
  for (int64_t i = 0; i < n; ++i) {
    const int64_t c = i % p.channels;
    const double u = x[i] + (p.bias ? bias[c] : 0);
    y_exact.push_back(value_of(p.activation, u));
    dx_exact.push_back(dy[i] * slope_of(p.activation, u));
    if (p.dbias) dbias_exact[static_cast<size_t>(c)] += dx_exact.back();
    if (c == 0) terms += std::fabs(dx_exact.back());
  }
  context cpu;
  array y(n, p.dtype), dx(n, p.dtype);
  args.bias = p.bias ? bias.data() : nullptr;
  args.x = x.data();
  args.y = y.data();
  args.dy = dy.data();
  args.dx = dx.data();
  args.dbias = p.dbias ? dbias.floats() : nullptr;
  EXPECT_EQ(GRAFT_OK, graft_activation_forward(cpu, &args)) << graft_last_error();
  int64_t bytes = 0;
  EXPECT_EQ(GRAFT_OK, graft_activation_workspace(cpu, &args, &bytes)) << graft_last_error();
  workspace space(bytes);
  args.workspace = space.data();
  args.workspace_bytes = bytes;
  EXPECT_EQ(GRAFT_OK, graft_activation_backward(cpu, &args)) << graft_last_error();
  // 1 + erf and 1 - tanh^2 are differences of numbers of size 1.
  expect_within_rule(y_exact, y, got_y, "y", 1);
  expect_within_rule(dx_exact, dx, got_dx, "dx", 1);
  expect_within_rule(dbias_exact, dbias, got_dbias, "dbias", terms);
  return all;
}

bits column_sums(int64_t rows, int64_t channels, int dtype, int64_t shift, bool compare) {
  SCOPED_TRACE(testing::Message() << rows << "x" << channels << " dtype " << dtype << " shift "
                                  << shift);
  numbers random(19);
  const int64_t element = dtype == GRAFT_BFLOAT16 ? 2 : 4;
  array x(random.normals(rows * channels), dtype), out(random.normals(channels), GRAFT_FLOAT32);
  std::vector<double> exact = out.values();
  for (int64_t i = 0; i < x.count(); ++i) exact[static_cast<size_t>(i % channels)] += x[i];
  auto args = arguments<graft_column_sum_args>();
  args.rows = rows;
  args.channels = channels;
  args.dtype = dtype;
  array got(channels, GRAFT_FLOAT32);
  {
    cuda_context cuda;
    device_array d_x(cuda, x, shift * element), d_out(cuda, out, 4 * shift);
    args.x = d_x.data();
    args.out = d_out.data<float>();
    int64_t bytes = 0;
    EXPECT_EQ(GRAFT_OK, graft_column_sum_workspace(cuda, &args, &bytes)) << graft_last_error();
    device_array space(cuda, bytes);
    args.workspace = space.data();
    args.workspace_bytes = bytes;
    EXPECT_EQ(GRAFT_OK, graft_column_sum(cuda, &args)) << graft_last_error();
    d_out.download(got);
  }
  if (!compare) return {got.bits()};
  context cpu;
  args.x = x.data();
  args.out = out.floats();
  int64_t bytes = 0;
  EXPECT_EQ(GRAFT_OK, graft_column_sum_workspace(cpu, &args, &bytes));
  workspace space(bytes);
  args.workspace = space.data();
  args.workspace_bytes = bytes;
  EXPECT_EQ(GRAFT_OK, graft_column_sum(cpu, &args)) << graft_last_error();
  expect_within_rule(exact, out, got, "column sums");
  return {got.bits()};
}

}  // namespace

TEST(CudaActivation, agreesWithDoubleAndTheCpu) {
  std::vector<std::pair<int64_t, int64_t>> shapes = {
      {1, 1}, {2, 3}, {3, 8}, {4, 9}, {65, 65}, {17, 264}, {130, 16}};
  if (full_grid())
    for (int64_t rows : {1, 2, 15, 16, 17, 33, 300})
      for (int64_t channels : {1, 2, 7, 8, 15, 16, 24, 31, 255, 256, 257, 264, 520, 768})
        shapes.emplace_back(rows, channels);
  for (int dtype : float_dtypes())
    for (int activation : activations)
      for (auto [rows, channels] : shapes)
        for (bool bias : {false, true})
          run({rows, channels, dtype, activation, bias, bias, rows % 2 == 1}, true);
}

TEST(CudaActivation, everyAlignmentWithAndWithoutColumns) {
  for (int dtype : float_dtypes())
    for (int shift : {1, 2, 4, 5, 8})
      for (bool bias : {false, true})
        for (bool dbias : {false, true})
          run({5, 40, dtype, GRAFT_GELU_TANH, bias, dbias, shift == 2, shift}, true);
}

// More rows than the grid has warps, so that blocks go round and their sums are joined.
TEST(CudaActivation, manyRows) {
  for (int dtype : float_dtypes()) {
    run({2000, 8, dtype, GRAFT_GELU_ERF, true, true, false}, true);
    run({1500, 7, dtype, GRAFT_GELU_TANH, true, true, false}, true);
    run({333, 101, dtype, GRAFT_RELU, false, false, false}, true);
  }
}

TEST(CudaActivation, sameBitsUnderEveryOrder) {
  GRAFT_SKIP_ON_REAL_CARD();
  const problem p{700, 24, GRAFT_FLOAT32, GRAFT_GELU_TANH, true, true, false};
  emulation::set_seed(1);
  const bits first = run(p, false), sums = column_sums(1000, 40, GRAFT_FLOAT32, 0, false);
  for (uint64_t seed : {5u, 77u, 1234567u}) {
    emulation::set_seed(seed);
    EXPECT_EQ(first, run(p, false)) << seed;
    EXPECT_EQ(sums, column_sums(1000, 40, GRAFT_FLOAT32, 0, false)) << seed;
  }
}

// Oracle: tanh in double; small arguments too, where 1 - 2 / (e^2x + 1) alone would lose digits.
TEST(CudaActivation, tanhIsRelativelyAccurate) {
  std::vector<double> xs;
  for (double x = 1e-20; x < 12; x *= 1.0173) {
    xs.push_back(x);
    xs.push_back(-x);
  }
  cuda_context cuda;
  const array x(xs, GRAFT_FLOAT32);
  array y(x.count(), GRAFT_FLOAT32);
  const device_array d_x(cuda, x), d_y(cuda, 4 * x.count());
  auto args = arguments<graft_activation_args>();
  args.x = d_x.data();
  args.y = d_y.data();
  args.rows = 1;
  args.channels = x.count();
  args.activation = GRAFT_TANH;
  ASSERT_EQ(GRAFT_OK, graft_activation_forward(cuda, &args)) << graft_last_error();
  d_y.download(y);
  std::vector<double> expected;
  for (int64_t i = 0; i < x.count(); ++i) expected.push_back(std::tanh(x[i]));
  expect_close(expected, y, 0, 4, "tanh");
}

TEST(CudaActivation, extremeValues) {
  for (int activation : activations) {
    SCOPED_TRACE(activation);
    cuda_context cuda;
    const array x({1e20, -1e20, 3e38, -3e38, 100, -100, 0, NAN}, GRAFT_FLOAT32);
    const device_array d_x(cuda, x), d_dy(cuda, std::vector<float>(8, 1.0f));
    const device_array d_y(cuda, 32), d_dx(cuda, 32);
    auto args = arguments<graft_activation_args>();
    args.x = d_x.data();
    args.y = d_y.data();
    args.dy = d_dy.data();
    args.dx = d_dx.data();
    args.rows = 1;
    args.channels = 8;
    args.activation = activation;
    ASSERT_EQ(GRAFT_OK, graft_activation_forward(cuda, &args)) << graft_last_error();
    ASSERT_EQ(GRAFT_OK, graft_activation_backward(cuda, &args)) << graft_last_error();
    array y(8, GRAFT_FLOAT32), dx(8, GRAFT_FLOAT32);
    d_y.download(y);
    d_dx.download(dx);
    const bool bounded = activation == GRAFT_TANH;
    EXPECT_EQ(bounded ? 1.0 : x[0], y[0]);
    EXPECT_EQ(bounded ? -1.0 : 0.0, y[1]);
    EXPECT_EQ(bounded ? 1.0 : x[2], y[2]);
    EXPECT_EQ(bounded ? -1.0 : 0.0, y[3]);
    EXPECT_EQ(bounded ? -1.0 : 0.0, y[5]);
    EXPECT_EQ(0.0, y[6]);
    EXPECT_TRUE(std::isnan(y[7]));
    for (int64_t i : {0, 2, 4}) EXPECT_NEAR(bounded ? 0 : 1, dx[i], 1e-6) << i;
    for (int64_t i : {1, 3, 5}) EXPECT_NEAR(0, dx[i], 1e-6) << i;
    if (activation != GRAFT_RELU) {
      EXPECT_TRUE(std::isnan(dx[7]));
    }
  }
}

TEST(CudaActivation, zeroRowsAndTheWorkspace) {
  cuda_context cuda;
  auto args = arguments<graft_activation_args>();
  args.channels = 5;
  EXPECT_EQ(GRAFT_OK, graft_activation_forward(cuda, &args));
  EXPECT_EQ(GRAFT_OK, graft_activation_backward(cuda, &args));
  const device_array memory(cuda, 256);
  args.x = args.dy = memory.data();
  args.dx = memory.data();
  args.dbias = memory.data<float>();
  args.rows = 2;
  expect_error(GRAFT_INVALID_SHAPE, graft_activation_backward(cuda, &args), {"workspace_bytes"});
  args.workspace_bytes = 1 << 20;
  expect_error(GRAFT_INVALID_ARGUMENT, graft_activation_backward(cuda, &args), {"workspace", "NULL"});
}

TEST(CudaColumnSum, agreesWithDoubleAndTheCpu) {
  std::vector<int64_t> lengths = {1, 7, 8, 33, 264};
  if (full_grid()) lengths = {1, 2, 3, 7, 8, 9, 31, 32, 33, 64, 255, 256, 257, 520, 768, 3072};
  for (int dtype : float_dtypes())
    for (int64_t channels : lengths)
      for (int64_t rows : {1, 15, 16, 17, 40, 700}) column_sums(rows, channels, dtype, 0, true);
}

TEST(CudaColumnSum, everyAlignment) {
  for (int dtype : float_dtypes())
    for (int64_t shift : {1, 2, 3, 4, 7, 8}) column_sums(37, 48, dtype, shift, true);
}

TEST(CudaColumnSum, emptyAndTheWorkspace) {
  cuda_context cuda;
  const device_array out(cuda, std::vector<float>{3.0f, 4.0f});
  auto args = arguments<graft_column_sum_args>();
  args.out = out.data<float>();
  args.channels = 2;
  EXPECT_EQ(GRAFT_OK, graft_column_sum(cuda, &args)) << graft_last_error();
  std::vector<float> got(2);
  out.download(got.data());
  EXPECT_EQ((std::vector<float>{3.0f, 4.0f}), got);
  args.channels = 0;
  args.rows = 3;
  EXPECT_EQ(GRAFT_OK, graft_column_sum(cuda, &args)) << graft_last_error();
  args.x = out.data();
  args.channels = 2;
  args.rows = 1;
  expect_error(GRAFT_INVALID_SHAPE, graft_column_sum(cuda, &args), {"workspace_bytes"});
}
