// Oracle: residual + dropout + LayerNorm and its derivative in double, on s as stored. The mask comes
// from the tests' own Philox.
#include "support.h"

using namespace graft_test;

namespace {

struct problem {
  int64_t rows, channels;
  int dtype;
  int dropout = 0, out_dropout = 0;
  bool residual = true, misaligned = false;
  double mean = 0;
  int threads = 1;
  bool in_place = false;
};

struct outcome {
  std::vector<std::vector<uint8_t>> bits;
};

constexpr uint32_t op_id = 7, out_op_id = 8;
constexpr uint64_t seed = 0x1234567890ull, step = 3;

outcome run(const problem& p) {
  const int64_t R = p.rows, C = p.channels, n = R * C;
  numbers random(29);
  const bool m = p.misaligned;
  array x(random.normals(n, 1, p.mean), p.dtype, m);
  array residual(random.normals(n), p.dtype, m);
  array gamma(random.normals(C, 0.3, 1), p.dtype, m), beta(random.normals(C), p.dtype, m);
  array sum(n, p.dtype, m), out(n, p.dtype, m);
  array mean(R, GRAFT_FLOAT32, m), rstd(R, GRAFT_FLOAT32, m);
  const std::vector<double> x_before = x.values(), residual_before = residual.values();
  const bool has_sum = p.residual || p.dropout > 0;

  context c(p.threads);
  c.step(seed, step);
  auto f = arguments<graft_add_norm_args>();
  f.x = x.data();
  f.residual = p.residual ? residual.data() : nullptr;
  f.sum = !has_sum ? nullptr : p.in_place ? (p.residual ? residual.data() : x.data()) : sum.data();
  f.out = out.data();
  f.gamma = gamma.data();
  f.beta = beta.data();
  f.mean = mean.floats();
  f.rstd = rstd.floats();
  f.rows = R;
  f.channels = C;
  f.eps = 1e-5f;
  f.dropout = p.dropout;
  f.out_dropout = p.out_dropout;
  f.op_id = op_id;
  f.out_op_id = out_op_id;
  f.dtype = p.dtype;
  EXPECT_EQ(GRAFT_OK, graft_add_norm_forward(c, &f)) << graft_last_error();

  const array& s = !has_sum ? x : p.in_place ? (p.residual ? residual : x) : sum;
  const uint64_t key = stream_key(seed, step, op_id), out_key = stream_key(seed, step, out_op_id);
  std::vector<double> s_expected, out_expected, mean_expected, rstd_expected;
  for (int64_t r = 0; r < R; ++r) {
    double mu = 0, variance = 0;
    for (int64_t i = r * C; i < (r + 1) * C; ++i) {
      const auto at = static_cast<size_t>(i);
      s_expected.push_back(x_before[at] * keep_factor(key, p.dropout, r, i - r * C) +
                           (p.residual ? residual_before[at] : 0));
      mu += s[i] / static_cast<double>(C);
    }
    for (int64_t i = r * C; i < (r + 1) * C; ++i)
      variance += (s[i] - mu) * (s[i] - mu) / static_cast<double>(C);
    const double inverse = 1 / std::sqrt(variance + static_cast<double>(f.eps));
    mean_expected.push_back(mu);
    rstd_expected.push_back(inverse);
    for (int64_t i = r * C; i < (r + 1) * C; ++i)
      out_expected.push_back((gamma[i % C] * (s[i] - mu) * inverse + beta[i % C]) *
                             keep_factor(out_key, p.out_dropout, r, i - r * C));
  }
  const bool half = p.dtype == GRAFT_BFLOAT16;
  // s: dropout's scale and the sum round once each; out: mean, rstd and two operations, all times
  // dropout's scale.
  const double offset = std::fabs(p.mean);
  const double kept = 256.0 / (256 - p.out_dropout);
  expect_close(s_expected, s, 1e-6 * (1 + offset), half ? 0.51 : 1, "sum");
  expect_close(mean_expected, mean, 4e-7 * (1 + offset), 2, "mean");
  expect_close(rstd_expected, rstd, 0, C == 1 ? 2 : 4, "rstd");
  expect_close(out_expected, out, 3e-6 * (1 + offset) * kept, half ? 0.55 : 6, "out");

  array dout(random.normals(n), p.dtype, m), dsum(random.normals(n), p.dtype, m);
  array dresidual(n, p.dtype, m), dx(n, p.dtype, m);
  array dgamma(random.normals(C), GRAFT_FLOAT32, m), dbeta(random.normals(C), GRAFT_FLOAT32, m);
  array dbias(random.normals(C), GRAFT_FLOAT32, m);
  std::vector<double> ds_expected, dx_expected, dgamma_expected = dgamma.values(),
                                                dbeta_expected = dbeta.values(),
                                                dbias_expected = dbias.values();
  for (int64_t r = 0; r < R; ++r) {
    const double mu = mean[r], inverse = rstd[r];
    double g_mean = 0, gx_mean = 0;
    std::vector<double> g, xhat;
    for (int64_t col = 0; col < C; ++col) {
      const int64_t i = r * C + col;
      const auto at = static_cast<size_t>(col);
      const double d = dout[i] * keep_factor(out_key, p.out_dropout, r, col);
      xhat.push_back((s[i] - mu) * inverse);
      g.push_back(d * gamma[col]);
      g_mean += g[at] / static_cast<double>(C);
      gx_mean += g[at] * xhat[at] / static_cast<double>(C);
      dgamma_expected[at] += d * xhat[at];
      dbeta_expected[at] += d;
    }
    for (int64_t col = 0; col < C; ++col) {
      const auto at = static_cast<size_t>(col);
      const double ds = dsum[r * C + col] + inverse * (g[at] - g_mean - xhat[at] * gx_mean);
      ds_expected.push_back(ds);
      dx_expected.push_back(ds * keep_factor(key, p.dropout, r, col));
      dbias_expected[at] += dx_expected.back();
    }
  }
  auto b = arguments<graft_add_norm_backward_args>();
  b.dout = dout.data();
  b.dsum = dsum.data();
  b.sum = s.data();
  b.gamma = gamma.data();
  b.mean = mean.floats();
  b.rstd = rstd.floats();
  b.dresidual = p.in_place ? dsum.data() : dresidual.data();
  b.dx = p.in_place ? dout.data() : dx.data();
  b.dgamma = dgamma.floats();
  b.dbeta = dbeta.floats();
  b.dbias = dbias.floats();
  b.rows = R;
  b.channels = C;
  b.dropout = p.dropout;
  b.out_dropout = p.out_dropout;
  b.op_id = op_id;
  b.out_op_id = out_op_id;
  b.dtype = p.dtype;
  int64_t bytes = 0;
  EXPECT_EQ(GRAFT_OK, graft_add_norm_backward_workspace(c, &b, &bytes)) << graft_last_error();
  workspace space(bytes);
  b.workspace = space.data();
  b.workspace_bytes = bytes;
  EXPECT_EQ(GRAFT_OK, graft_add_norm_backward(c, &b)) << graft_last_error();
  const array& ds_got = p.in_place ? dsum : dresidual;
  const array& dx_got = p.in_place ? dout : dx;
  // A row of one column has rstd of 1 / sqrt(eps): errors grow with it.
  const double scale = (C == 1 ? 300 : 1 + offset) * kept;
  expect_close(ds_expected, ds_got, 4e-6 * scale, half ? 0.55 : 2, "dresidual");
  expect_close(dx_expected, dx_got, 8e-6 * scale, half ? 0.55 : 2, "dx");
  const double sums = 4e-6 * scale * static_cast<double>(R);
  expect_close(dgamma_expected, dgamma, sums, 2, "dgamma");
  expect_close(dbeta_expected, dbeta, sums, 2, "dbeta");
  expect_close(dbias_expected, dbias, sums, 2, "dbias");
  return {{s.bits(), out.bits(), mean.bits(), rstd.bits(), ds_got.bits(), dx_got.bits(),
           dgamma.bits(), dbeta.bits(), dbias.bits()}};
}

}  // namespace

TEST(AddNorm, agreesWithDouble) {
  on_every_isa([] {
    for (int dtype : float_dtypes())
      for (auto [rows, channels] : std::vector<std::pair<int64_t, int64_t>>{
               {1, 1}, {3, 2}, {2, 3}, {5, 7}, {3, 8}, {2, 9}, {2, 15}, {3, 16}, {2, 17}, {9, 63},
               {33, 65}, {65, 768}, {5, 1000}})
        for (int dropout : {0, 26, 128})
          for (bool residual : {false, true}) {
            SCOPED_TRACE(testing::Message() << "dtype " << dtype << " " << rows << "x" << channels
                                            << " dropout " << dropout << " residual " << residual);
            run({rows, channels, dtype, dropout, dropout == 128 ? 255 : dropout, residual,
                 channels % 2 == 1, 0, 1, rows % 2 == 1});
          }
  });
}

TEST(AddNorm, meanFarFromZero) {
  on_every_isa([] { run({7, 768, GRAFT_FLOAT32, 0, 0, true, false, 1000}); });
}

TEST(AddNorm, sameBitsForAnyThreads) {
  on_every_isa([] {
    for (int dtype : float_dtypes()) {
      problem p{257, 300, dtype, 26, 13};
      const outcome one = run(p);
      for (int threads : {2, 3, 7}) {
        p.threads = threads;
        EXPECT_EQ(one.bits, run(p).bits) << threads;
      }
    }
  });
}

// Results above the size from which stores pass the caches by (8 MiB), the same numbers.
TEST(AddNorm, streamedResultsAreTheSame) {
  for (int dtype : float_dtypes()) run({dtype == GRAFT_BFLOAT16 ? 4100 : 2100, 1024, dtype, 26, 0, true, false, 0, 2});
}

TEST(AddNorm, constantRowGivesBeta) {
  on_every_isa([] {
    array x(std::vector<double>(24, 5.0), GRAFT_FLOAT32), out(24, GRAFT_FLOAT32);
    array gamma(std::vector<double>(24, 2.0), GRAFT_FLOAT32);
    array beta(std::vector<double>(24, 0.25), GRAFT_FLOAT32);
    float mean, rstd;
    context c;
    auto args = arguments<graft_add_norm_args>();
    args.x = x.data();
    args.out = out.data();
    args.gamma = gamma.data();
    args.beta = beta.data();
    args.mean = &mean;
    args.rstd = &rstd;
    args.rows = 1;
    args.channels = 24;
    args.eps = 1e-12f;
    ASSERT_EQ(GRAFT_OK, graft_add_norm_forward(c, &args));
    EXPECT_EQ(5.0f, mean);
    EXPECT_NEAR(1e6, rstd, 1);
    for (int64_t i = 0; i < 24; ++i) EXPECT_EQ(0.25, out[i]);
  });
}

TEST(AddNorm, zeroRows) {
  context c;
  auto f = arguments<graft_add_norm_args>();
  f.channels = 8;
  EXPECT_EQ(GRAFT_OK, graft_add_norm_forward(c, &f)) << graft_last_error();
  auto b = arguments<graft_add_norm_backward_args>();
  b.channels = 8;
  EXPECT_EQ(GRAFT_OK, graft_add_norm_backward(c, &b)) << graft_last_error();
}

TEST(AddNorm, errors) {
  context c;
  float a[8] = {}, out[8];
  auto good = arguments<graft_add_norm_args>();
  good.x = a;
  good.out = out;
  good.gamma = good.beta = a;
  good.mean = good.rstd = out;
  good.rows = 2;
  good.channels = 4;
  good.eps = 1e-5f;
  auto args = good;
  args.residual = a;
  expect_error(GRAFT_INVALID_ARGUMENT, graft_add_norm_forward(c, &args), {"sum", "residual"});
  args = good;
  args.dropout = 256;
  expect_error(GRAFT_INVALID_SHAPE, graft_add_norm_forward(c, &args), {"dropout", "0..255", "256"});
  args = good;
  args.out_dropout = -1;
  expect_error(GRAFT_INVALID_SHAPE, graft_add_norm_forward(c, &args), {"out_dropout", "-1"});
  args = good;
  args.eps = NAN;
  expect_error(GRAFT_INVALID_SHAPE, graft_add_norm_forward(c, &args), {"eps"});
  args = good;
  args.gamma = nullptr;
  expect_error(GRAFT_INVALID_ARGUMENT, graft_add_norm_forward(c, &args), {"gamma"});
  args = good;
  args.channels = 0;
  expect_error(GRAFT_INVALID_SHAPE, graft_add_norm_forward(c, &args), {"channels"});
  args = good;
  args.dtype = 9;
  expect_error(GRAFT_INVALID_DTYPE, graft_add_norm_forward(c, &args), {"dtype", "9"});

  auto b = arguments<graft_add_norm_backward_args>();
  b.dout = b.sum = b.gamma = a;
  b.mean = b.rstd = a;
  b.dresidual = out;
  b.rows = 2;
  b.channels = 4;
  expect_error(GRAFT_INVALID_SHAPE, graft_add_norm_backward(c, &b), {"workspace_bytes"});
  b.workspace_bytes = 1 << 20;
  expect_error(GRAFT_INVALID_ARGUMENT, graft_add_norm_backward(c, &b), {"workspace", "NULL"});
  b.dout = nullptr;
  expect_error(GRAFT_INVALID_ARGUMENT, graft_add_norm_backward(c, &b), {"dout"});
  int64_t bytes;
  b.channels = -4;
  expect_error(GRAFT_INVALID_SHAPE, graft_add_norm_backward_workspace(c, &b, &bytes), {"channels"});
}
