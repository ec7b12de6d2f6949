// Oracle: the formulas in double with libm. Tolerance in units of the largest result's rounding, as
// the accuracy rule (maximum error, not relative error) has it.
#include "support.h"

using namespace graft_test;

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

struct problem {
  int64_t rows, channels;
  int dtype;
  int activation;
  bool bias, dbias, misaligned, in_place;
  int threads = 1;
};

struct outcome {
  std::vector<uint8_t> y, dx, dbias;
};

outcome run(const problem& p) {
  numbers random(17);
  array x(random.normals(p.rows * p.channels, 3), p.dtype, p.misaligned);
  array bias(random.normals(p.channels), p.dtype, p.misaligned);
  array dy(random.normals(p.rows * p.channels), p.dtype, p.misaligned);
  array dbias(random.normals(p.channels), GRAFT_FLOAT32, p.misaligned);
  std::vector<double> y_expected, dx_expected, dbias_expected = dbias.values();
  std::vector<double> magnitude(static_cast<size_t>(p.channels), 1.0);
  for (int64_t i = 0; i < x.count(); ++i) {
    const int64_t c = i % p.channels;
    const double u = x[i] + (p.bias ? bias[c] : 0);
    y_expected.push_back(value_of(p.activation, u));
    dx_expected.push_back(dy[i] * slope_of(p.activation, u));
    dbias_expected[static_cast<size_t>(c)] += dx_expected.back();
    magnitude[static_cast<size_t>(c)] += std::fabs(dx_expected.back());
  }
  array y(x.count(), p.dtype, p.misaligned), dx(x.count(), p.dtype, p.misaligned);
  array forward_x(x.values(), p.dtype, p.misaligned);
  array backward_dy(dy.values(), p.dtype, p.misaligned);

  context c(p.threads);
  auto args = arguments<graft_activation_args>();
  args.rows = p.rows;
  args.channels = p.channels;
  args.activation = p.activation;
  args.dtype = p.dtype;
  args.bias = p.bias ? bias.data() : nullptr;
  args.x = forward_x.data();
  args.y = p.in_place ? forward_x.data() : y.data();
  EXPECT_EQ(GRAFT_OK, graft_activation_forward(c, &args)) << graft_last_error();
  args.x = x.data();
  args.dy = backward_dy.data();
  args.dx = p.in_place ? backward_dy.data() : dx.data();
  args.dbias = p.dbias ? dbias.floats() : nullptr;
  int64_t bytes = 0;
  EXPECT_EQ(GRAFT_OK, graft_activation_workspace(c, &args, &bytes));
  workspace space(bytes);
  args.workspace = space.data();
  args.workspace_bytes = bytes;
  EXPECT_EQ(GRAFT_OK, graft_activation_backward(c, &args)) << graft_last_error();

  const array& y_got = p.in_place ? forward_x : y;
  const array& dx_got = p.in_place ? backward_dy : dx;
  // 2 ulp of results of size 1; bfloat16 rounds once more.
  // The erf form cancels at negative u, where erf's own error (7 ulp of 1) stays: times |u| / 2 <= 2.8,
  // beyond which erf is +-1 exactly.
  const double absolute = p.activation == GRAFT_GELU_ERF ? 1.2e-6 : 2e-7;
  expect_close(y_expected, y_got, absolute, p.dtype == GRAFT_BFLOAT16 ? 0.51 : 3, "y");
  expect_close(dx_expected, dx_got, 4 * absolute, p.dtype == GRAFT_BFLOAT16 ? 0.51 : 4, "dx");
  if (p.dbias) {
    for (int64_t i = 0; i < p.channels; ++i) {
      const auto at = static_cast<size_t>(i);
      EXPECT_NEAR(dbias_expected[at], dbias[i], 1e-6 * magnitude[at]) << "dbias " << i;
    }
  }
  return {y_got.bits(), dx_got.bits(), dbias.bits()};
}

}  // namespace

TEST(Activation, agreesWithDouble) {
  on_every_isa([] {
    for (int dtype : float_dtypes())
      for (int activation : {GRAFT_GELU_TANH, GRAFT_GELU_ERF, GRAFT_TANH, GRAFT_RELU})
        for (auto [rows, channels] : std::vector<std::pair<int64_t, int64_t>>{
                 {1, 1}, {2, 3}, {3, 7}, {5, 8}, {4, 9}, {3, 16}, {2, 17}, {9, 63}, {65, 65},
                 {17, 1000}})
          for (bool bias : {false, true}) {
            SCOPED_TRACE(testing::Message() << "dtype " << dtype << " activation " << activation
                                            << " " << rows << "x" << channels << " bias " << bias);
            run({rows, channels, dtype, activation, bias, bias, channels % 2 == 1, rows % 2 == 1});
          }
  });
}

TEST(Activation, sameBitsForAnyThreads) {
  on_every_isa([] {
    for (int dtype : float_dtypes()) {
      problem p{301, 515, dtype, GRAFT_GELU_TANH, true, true, false, false};
      const outcome one = run(p);
      for (int threads : {2, 3, 7}) {
        p.threads = threads;
        const outcome many = run(p);
        EXPECT_EQ(one.y, many.y);
        EXPECT_EQ(one.dx, many.dx);
        EXPECT_EQ(one.dbias, many.dbias);
      }
    }
  });
}

// Results above the size from which stores pass the caches by.
TEST(Activation, streamedResultsAreTheSame) {
  on_every_isa([] {
    for (int dtype : float_dtypes())
      run({dtype == GRAFT_BFLOAT16 ? 2100 : 1100, 2048, dtype, GRAFT_RELU, true, true, false, false, 2});
  });
}

// Oracle: tanh in double; small arguments too, where 1 - 2/(e^2x+1) alone would lose digits.
TEST(Activation, tanhIsRelativelyAccurate) {
  on_every_isa([] {
    std::vector<double> xs;
    for (double x = 1e-20; x < 12; x *= 1.0173) {
      xs.push_back(x);
      xs.push_back(-x);
    }
    array x(xs, GRAFT_FLOAT32), y(x.count(), GRAFT_FLOAT32);
    context c;
    auto args = arguments<graft_activation_args>();
    args.x = x.data();
    args.y = y.data();
    args.rows = 1;
    args.channels = x.count();
    args.activation = GRAFT_TANH;
    ASSERT_EQ(GRAFT_OK, graft_activation_forward(c, &args));
    std::vector<double> expected;
    for (int64_t i = 0; i < x.count(); ++i) expected.push_back(std::tanh(x[i]));
    expect_close(expected, y, 0, 2, "tanh");
  });
}

TEST(Activation, extremeValues) {
  on_every_isa([] {
    for (int activation : {GRAFT_GELU_TANH, GRAFT_GELU_ERF, GRAFT_TANH, GRAFT_RELU}) {
      SCOPED_TRACE(activation);
      array x({1e20, -1e20, 3e38, -3e38, 100, -100, 0, NAN}, GRAFT_FLOAT32);
      array y(8, GRAFT_FLOAT32), dx(8, GRAFT_FLOAT32);
      array dy({1, 1, 1, 1, 1, 1, 1, 1}, GRAFT_FLOAT32);
      context c;
      auto args = arguments<graft_activation_args>();
      args.x = x.data();
      args.y = y.data();
      args.dy = dy.data();
      args.dx = dx.data();
      args.rows = 1;
      args.channels = 8;
      args.activation = activation;
      ASSERT_EQ(GRAFT_OK, graft_activation_forward(c, &args));
      ASSERT_EQ(GRAFT_OK, graft_activation_backward(c, &args));
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
  });
}

TEST(Activation, zeroRows) {
  context c;
  auto args = arguments<graft_activation_args>();
  args.channels = 5;
  EXPECT_EQ(GRAFT_OK, graft_activation_forward(c, &args));
  EXPECT_EQ(GRAFT_OK, graft_activation_backward(c, &args));
}

TEST(Activation, errors) {
  context c;
  float x[4] = {}, y[4] = {};
  auto good = arguments<graft_activation_args>();
  good.x = x;
  good.y = y;
  good.dy = x;
  good.dx = y;
  good.rows = 2;
  good.channels = 2;
  auto args = good;
  args.dtype = GRAFT_INT32;
  expect_error(GRAFT_INVALID_DTYPE, graft_activation_forward(c, &args), {"dtype", "got 2"});
  args = good;
  args.activation = 4;
  expect_error(GRAFT_INVALID_SHAPE, graft_activation_forward(c, &args), {"activation", "got 4"});
  args = good;
  args.rows = -1;
  expect_error(GRAFT_INVALID_SHAPE, graft_activation_forward(c, &args), {"rows", "-1"});
  args = good;
  args.channels = 0;
  expect_error(GRAFT_INVALID_SHAPE, graft_activation_backward(c, &args), {"channels", "got 0"});
  args = good;
  args.rows = int64_t{1} << 40;
  args.channels = int64_t{1} << 40;
  expect_error(GRAFT_INVALID_SHAPE, graft_activation_forward(c, &args), {"rows x channels"});
  args = good;
  args.x = nullptr;
  expect_error(GRAFT_INVALID_ARGUMENT, graft_activation_forward(c, &args), {" x:", "NULL"});
  args = good;
  args.y = reinterpret_cast<char*>(y) + 1;
  expect_error(GRAFT_INVALID_ALIGNMENT, graft_activation_forward(c, &args), {" y:", "4 bytes"});
  args = good;
  args.dy = nullptr;
  expect_error(GRAFT_INVALID_ARGUMENT, graft_activation_backward(c, &args), {"dy", "NULL"});
  args = good;
  args.dx = nullptr;
  expect_error(GRAFT_INVALID_ARGUMENT, graft_activation_backward(c, &args), {"dx", "NULL"});
  args = good;
  args.dbias = y;
  expect_error(GRAFT_INVALID_SHAPE, graft_activation_backward(c, &args), {"workspace_bytes"});
  args.workspace_bytes = 1 << 20;
  expect_error(GRAFT_INVALID_ARGUMENT, graft_activation_backward(c, &args), {"workspace", "NULL"});
}
