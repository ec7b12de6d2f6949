// CUDA add_norm. Oracle: residual + dropout + LayerNorm and its derivative by their formulas, in double,
// on s as stored and with the mask of the tests' own Philox; beside it the CPU backend on the same
// inputs. Tolerance, the architecture's rule: max|got - f64| <= 2 max|CPU - f64| + 2 ulp(max|f64|) a
// tensor.
#include "../../cuda/device.h"
#include "cuda_support.h"

using namespace graft_test;
namespace emulation = graft::emulation;

namespace {

constexpr uint32_t op_id = 7, out_op_id = 8;
constexpr uint64_t seed = 0x1234567890ull, step = 3;

struct problem {
  int64_t rows, channels;
  int dtype = GRAFT_BFLOAT16;
  int dropout = 0, out_dropout = 0;
  bool residual = true;
  bool in_place = false;   // sum over residual or x, dresidual over dsum, dx over dout
  int shift = 0;           // elements that arrays are off their alignment
  bool dsum = true, outputs = true, sums = true;
  double mean = 0;
};

std::string describe(const problem& p) {
  return (testing::Message() << p.rows << "x" << p.channels << " dtype " << p.dtype << " dropout "
                             << p.dropout << ", " << p.out_dropout << " residual " << p.residual
                             << " in place " << p.in_place << " shift " << p.shift)
      .GetString();
}

using bits = std::vector<std::vector<uint8_t>>;

struct exact_forward {
  std::vector<double> out, mean, rstd;
};

class add_norm_case {
 public:
  explicit add_norm_case(const problem& problem)
      : p(problem),
        n(p.rows * p.channels),
        x(random.normals(n, 1, p.mean), p.dtype),
        residual(random.normals(n), p.dtype),
        gamma(random.normals(p.channels, 0.3, 1), p.dtype),
        beta(random.normals(p.channels), p.dtype),
        dout(random.normals(n), p.dtype),
        dsum(random.normals(n), p.dtype),
        old_sums(random.normals(3 * p.channels), GRAFT_FLOAT32) {}

  // Both passes on the device; compared, or only their bits taken.
  bits run(bool compare) {
    SCOPED_TRACE(describe(p));
    bits got = run_forward(compare);
    for (auto& more : run_backward(compare)) got.push_back(more);
    return got;
  }

 private:
  int64_t element() const { return p.dtype == GRAFT_BFLOAT16 ? 2 : 4; }
  int64_t shift() const { return p.shift * element(); }
  bool has_sum() const { return p.residual || p.dropout > 0; }
  double kept(uint64_t key, int k, int64_t i) const {
    return keep_factor(key, k, i / p.channels, i % p.channels);
  }

  graft_add_norm_args forward_arguments() const {
    auto f = arguments<graft_add_norm_args>();
    f.rows = p.rows;
    f.channels = p.channels;
    f.eps = 1e-5f;
    f.dropout = p.dropout;
    f.out_dropout = p.out_dropout;
    f.op_id = op_id;
    f.out_op_id = out_op_id;
    f.dtype = p.dtype;
    return f;
  }

  bits run_forward(bool compare) {
    device_array d_x(cuda, x, shift()), d_residual(cuda, residual, shift());
    device_array d_gamma(cuda, gamma, shift()), d_beta(cuda, beta, shift());
    device_array d_sum(cuda, n * element(), shift()), d_out(cuda, n * element(), shift());
    device_array d_mean(cuda, 4 * p.rows, 4 * p.shift), d_rstd(cuda, 4 * p.rows, 4 * p.shift);
    const device_array& s_place = !has_sum()    ? d_x
                                  : !p.in_place ? d_sum
                                  : p.residual  ? d_residual
                                                : d_x;
    cuda.step(seed, step);
    graft_add_norm_args f = forward_arguments();
    f.x = d_x.data();
    f.residual = p.residual ? d_residual.data() : nullptr;
    f.sum = has_sum() ? s_place.data() : nullptr;
    f.out = d_out.data();
    f.gamma = d_gamma.data();
    f.beta = d_beta.data();
    f.mean = d_mean.data<float>();
    f.rstd = d_rstd.data<float>();
    EXPECT_EQ(GRAFT_OK, graft_add_norm_forward(cuda, &f)) << graft_last_error();
    array got_s(n, p.dtype), got_out(n, p.dtype);
    array got_mean(p.rows, GRAFT_FLOAT32), got_rstd(p.rows, GRAFT_FLOAT32);
    s_place.download(got_s);
    d_out.download(got_out);
    d_mean.download(got_mean);
    d_rstd.download(got_rstd);
    const bits all = {got_s.bits(), got_out.bits(), got_mean.bits(), got_rstd.bits()};
    if (!compare) return all;

    array s(n, p.dtype), out(n, p.dtype), mean(p.rows, GRAFT_FLOAT32), rstd(p.rows, GRAFT_FLOAT32);
    cpu.step(seed, step);
    f.x = x.data();
    f.residual = p.residual ? residual.data() : nullptr;
    f.sum = has_sum() ? s.data() : nullptr;
    f.out = out.data();
    f.gamma = gamma.data();
    f.beta = beta.data();
    f.mean = mean.floats();
    f.rstd = rstd.floats();
    EXPECT_EQ(GRAFT_OK, graft_add_norm_forward(cpu, &f)) << graft_last_error();

    const uint64_t key = stream_key(seed, step, op_id);
    std::vector<double> s_exact;
    for (int64_t i = 0; i < n; ++i)
      s_exact.push_back(x[i] * kept(key, p.dropout, i) + (p.residual ? residual[i] : 0));
    expect_within_rule(s_exact, has_sum() ? s : x, got_s, "sum");
    const exact_forward on_host = exact(has_sum() ? s : x), on_device = exact(got_s);
    // Each is judged on the s it stored.
    expect_errors_within_rule(on_host.out, out, on_device.out, got_out, "out");
    // A mean near 0 of numbers that are not: its unit is theirs, 1 / rstd.
    double deviation = 0;
    for (double inverse : on_device.rstd) deviation = std::max(deviation, 1 / inverse);
    expect_errors_within_rule(on_host.mean, mean, on_device.mean, got_mean, "mean", deviation);
    expect_errors_within_rule(on_host.rstd, rstd, on_device.rstd, got_rstd, "rstd");
    return all;
  }

  exact_forward exact(const array& s) const {
    const uint64_t key = stream_key(seed, step, out_op_id);
    const auto count = static_cast<double>(p.channels);
    exact_forward e;
    for (int64_t r = 0; r < p.rows; ++r) {
      double mu = 0, variance = 0;
      const int64_t begin = r * p.channels, end = begin + p.channels;
      for (int64_t i = begin; i < end; ++i) mu += s[i] / count;
      for (int64_t i = begin; i < end; ++i) variance += (s[i] - mu) * (s[i] - mu) / count;
      const double rstd = 1 / std::sqrt(variance + static_cast<double>(1e-5f));
      e.mean.push_back(mu);
      e.rstd.push_back(rstd);
      for (int64_t i = begin; i < end; ++i)
        e.out.push_back((gamma[i - begin] * (s[i] - mu) * rstd + beta[i - begin]) *
                        kept(key, p.out_dropout, i));
    }
    return e;
  }

  // expect_within_rule where the two results have exact values of their own.
  static void expect_errors_within_rule(const std::vector<double>& reference_exact,
                                        const array& reference, const std::vector<double>& exact,
                                        const array& got, const char* what, double unit = 0) {
    double largest = unit, reference_error = 0, error = 0;
    for (int64_t i = 0; i < got.count(); ++i) {
      const auto at = static_cast<size_t>(i);
      largest = std::max(largest, std::fabs(exact[at]));
      reference_error = std::max(reference_error, std::fabs(reference[i] - reference_exact[at]));
      error = std::max(error, std::fabs(got[i] - exact[at]));
      ASSERT_FALSE(std::isnan(got[i])) << what << "[" << i << "]";
    }
    EXPECT_LE(error, 2 * reference_error + 2 * ulp(largest, got.dtype())) << what;
  }

  graft_add_norm_backward_args backward_arguments() const {
    auto b = arguments<graft_add_norm_backward_args>();
    b.rows = p.rows;
    b.channels = p.channels;
    b.dropout = p.dropout;
    b.out_dropout = p.out_dropout;
    b.op_id = op_id;
    b.out_op_id = out_op_id;
    b.dtype = p.dtype;
    return b;
  }

  bits run_backward(bool compare) {
    // From the same s and statistics, those of x: any are right for a derivative's formula.
    const exact_forward statistics = exact(x);
    array mean(statistics.mean, GRAFT_FLOAT32), rstd(statistics.rstd, GRAFT_FLOAT32);
    device_array d_dout(cuda, dout, shift()), d_dsum(cuda, dsum, shift());
    device_array d_s(cuda, x, shift()), d_gamma(cuda, gamma, shift());
    device_array d_mean(cuda, mean, 4 * p.shift), d_rstd(cuda, rstd, 4 * p.shift);
    device_array d_dresidual(cuda, n * element(), shift()), d_dx(cuda, n * element(), shift());
    device_array d_sums(cuda, old_sums, 4 * p.shift);
    cuda.step(seed, step);
    graft_add_norm_backward_args b = backward_arguments();
    const bool in_place = p.in_place;
    b.dout = d_dout.data();
    b.dsum = p.dsum ? d_dsum.data() : nullptr;
    b.sum = d_s.data();
    b.gamma = d_gamma.data();
    b.mean = d_mean.data<float>();
    b.rstd = d_rstd.data<float>();
    const device_array& ds_place = in_place ? d_dsum : d_dresidual;
    const device_array& dx_place = in_place ? d_dout : d_dx;
    if (p.outputs) {
      b.dresidual = ds_place.data();
      b.dx = dx_place.data();
    }
    if (p.sums) {
      b.dgamma = d_sums.data<float>();
      b.dbeta = b.dgamma + p.channels;
      b.dbias = b.dbeta + p.channels;
    }
    int64_t bytes = 0;
    EXPECT_EQ(GRAFT_OK, graft_add_norm_backward_workspace(cuda, &b, &bytes)) << graft_last_error();
    device_array space(cuda, bytes);
    b.workspace = space.data();
    b.workspace_bytes = bytes;
    EXPECT_EQ(GRAFT_OK, graft_add_norm_backward(cuda, &b)) << graft_last_error();
    array got_ds(n, p.dtype), got_dx(n, p.dtype), got_sums(3 * p.channels, GRAFT_FLOAT32);
    ds_place.download(got_ds);
    dx_place.download(got_dx);
    d_sums.download(got_sums);
    bits all = {got_sums.bits()};
    if (p.outputs) {
      all.push_back(got_ds.bits());
      all.push_back(got_dx.bits());
    }
    if (!compare) return all;

    array ds(n, p.dtype), dx(n, p.dtype), sums(old_sums.values(), GRAFT_FLOAT32);
    cpu.step(seed, step);
    b.dout = dout.data();
    b.dsum = p.dsum ? dsum.data() : nullptr;
    b.sum = x.data();
    b.gamma = gamma.data();
    b.mean = mean.floats();
    b.rstd = rstd.floats();
    b.dresidual = ds.data();
    b.dx = dx.data();
    if (p.sums) {
      b.dgamma = sums.floats();
      b.dbeta = b.dgamma + p.channels;
      b.dbias = b.dbeta + p.channels;
    }
    EXPECT_EQ(GRAFT_OK, graft_add_norm_backward_workspace(cpu, &b, &bytes)) << graft_last_error();
    workspace cpu_space(bytes);
    b.workspace = cpu_space.data();
    b.workspace_bytes = bytes;
    EXPECT_EQ(GRAFT_OK, graft_add_norm_backward(cpu, &b)) << graft_last_error();

    const std::vector<std::vector<double>> e = exact_backward(mean, rstd);
    if (p.outputs) {
      expect_within_rule(e[0], ds, got_ds, "dresidual");
      expect_within_rule(e[1], dx, got_dx, "dx");
    }
    if (p.sums)
      expect_within_rule(e[2], sums, got_sums, "dgamma, dbeta, dbias");
    else
      EXPECT_EQ(old_sums.bits(), got_sums.bits());
    return all;
  }

  // ds, dx, and the sums of dgamma, dbeta and dbias one after the other.
  std::vector<std::vector<double>> exact_backward(const array& mean, const array& rstd) const {
    const uint64_t key = stream_key(seed, step, op_id), out_key = stream_key(seed, step, out_op_id);
    const int64_t C = p.channels;
    const auto width = static_cast<size_t>(C);
    std::vector<double> ds, dx, sums = old_sums.values();
    for (int64_t r = 0; r < p.rows; ++r) {
      double g_mean = 0, g_xhat_mean = 0;
      std::vector<double> g, xhat;
      for (int64_t c = 0; c < C; ++c) {
        const auto at = static_cast<size_t>(c);
        const double d = dout[r * C + c] * keep_factor(out_key, p.out_dropout, r, c);
        xhat.push_back((x[r * C + c] - mean[r]) * rstd[r]);
        g.push_back(d * gamma[c]);
        g_mean += g[at] / static_cast<double>(C);
        g_xhat_mean += g[at] * xhat[at] / static_cast<double>(C);
        sums[at] += d * xhat[at];
        sums[width + at] += d;
      }
      for (int64_t c = 0; c < C; ++c) {
        const auto at = static_cast<size_t>(c);
        ds.push_back((p.dsum ? dsum[r * C + c] : 0) +
                     rstd[r] * (g[at] - g_mean - xhat[at] * g_xhat_mean));
        dx.push_back(ds.back() * keep_factor(key, p.dropout, r, c));
        sums[2 * width + at] += dx.back();
      }
    }
    return {ds, dx, sums};
  }

  problem p;
  int64_t n;
  numbers random{29};
  context cpu;
  cuda_context cuda;
  array x, residual, gamma, beta, dout, dsum, old_sums;
};

void compare(const problem& p) { add_norm_case(p).run(true); }

}  // namespace

// One row length a team, its ends, and lengths that no team takes.
TEST(CudaAddNorm, agreesWithDoubleAndTheCpu) {
  std::vector<int64_t> lengths = {1, 3, 8, 9, 17, 64, 250, 256, 264, 512, 768, 1000, 1024, 1032, 1600};
  if (full_grid())
    lengths = {1,   2,   3,   4,    5,    7,    8,    9,    15,   16,   17,   31,  32,
               63,  64,  65,  248,  255,  256,  257,  264,  504,  512,  520,  760, 768,
               776, 769, 1000, 1016, 1024, 1025, 1032, 1280, 1600, 2040, 2048, 2056};
  int turn = 0;
  for (int dtype : float_dtypes())
    for (int64_t channels : lengths)
      for (int64_t rows : full_grid() ? std::vector<int64_t>{1, 2, 17, 70} : std::vector<int64_t>{7}) {
        problem p{rows, channels, dtype};
        p.dropout = (const int[]){0, 26, 128, 255}[turn % 4];
        p.out_dropout = (const int[]){0, 26, 0}[turn % 3];
        p.residual = turn % 5 != 0;
        p.in_place = turn % 2 == 1;
        ++turn;
        compare(p);
      }
}

TEST(CudaAddNorm, widestTeamsAndBeyond) {
  for (int dtype : float_dtypes())
    for (int64_t channels : {4096, 8192, 8200}) compare({2, channels, dtype, 26, 13});
}

TEST(CudaAddNorm, everyAlignment) {
  for (int dtype : float_dtypes())
    for (int shift : {1, 2, 3, 4, 5, 7, 8}) {
      problem p{3, 72, dtype, 26, shift % 2 == 0 ? 13 : 0};
      p.shift = shift;
      compare(p);
    }
}

// More rows than the grid has teams, so that warps and blocks go round and their sums are joined.
TEST(CudaAddNorm, manyRows) {
  for (int dtype : float_dtypes()) {
    compare({260, 64, dtype, 26, 0});
    compare({150, 61, dtype, 26, 0});
    compare({50, 1048, dtype, 0, 26});
  }
}

TEST(CudaAddNorm, optionalOperands) {
  for (int64_t channels : {64, 63}) {
    for (bool given : {false, true}) {
      problem p{9, channels, GRAFT_BFLOAT16, given ? 26 : 0};
      p.dsum = p.outputs = given;
      compare(p);
      p.dsum = !given;
      p.outputs = true;
      p.sums = false;
      compare(p);
    }
  }
}

TEST(CudaAddNorm, meanFarFromZero) {
  problem p{5, 768, GRAFT_FLOAT32};
  p.mean = 1000;
  compare(p);
  p.channels = 767;
  compare(p);
}

TEST(CudaAddNorm, sameBitsUnderEveryOrder) {
  GRAFT_SKIP_ON_REAL_CARD();
  for (const problem& p : {problem{70, 264, GRAFT_BFLOAT16, 26, 13}, problem{40, 65, GRAFT_FLOAT32, 26},
                           problem{9, 1040, GRAFT_FLOAT32, 26, 13}}) {
    emulation::set_seed(1);
    const bits first = add_norm_case(p).run(false);
    for (uint64_t other : {77u, 1234567u, 99u}) {
      emulation::set_seed(other);
      EXPECT_EQ(first, add_norm_case(p).run(false)) << describe(p) << " seed " << other;
    }
  }
}

TEST(CudaAddNorm, constantRowGivesBeta) {
  for (int64_t channels : {24, 25}) {
    cuda_context cuda;
    const auto count = static_cast<size_t>(channels);
    const device_array x(cuda, std::vector<float>(count, 5.0f));
    const device_array gamma(cuda, std::vector<float>(count, 2.0f));
    const device_array beta(cuda, std::vector<float>(count, 0.25f));
    const device_array out(cuda, 4 * channels), statistics(cuda, 8);
    auto args = arguments<graft_add_norm_args>();
    args.x = x.data();
    args.out = out.data();
    args.gamma = gamma.data();
    args.beta = beta.data();
    args.mean = statistics.data<float>();
    args.rstd = args.mean + 1;
    args.rows = 1;
    args.channels = channels;
    args.eps = 1e-12f;
    ASSERT_EQ(GRAFT_OK, graft_add_norm_forward(cuda, &args)) << graft_last_error();
    std::vector<float> got(count), both(2);
    out.download(got.data());
    statistics.download(both.data());
    EXPECT_EQ(5.0f, both[0]);
    EXPECT_NEAR(1e6, both[1], 1);
    for (float y : got) EXPECT_EQ(0.25f, y);
  }
}

TEST(CudaAddNorm, zeroRows) {
  cuda_context cuda;
  auto f = arguments<graft_add_norm_args>();
  f.channels = 8;
  EXPECT_EQ(GRAFT_OK, graft_add_norm_forward(cuda, &f)) << graft_last_error();
  auto b = arguments<graft_add_norm_backward_args>();
  b.channels = 8;
  EXPECT_EQ(GRAFT_OK, graft_add_norm_backward(cuda, &b)) << graft_last_error();
  cuda.synchronize();
}

TEST(CudaAddNorm, workspaceIsChecked) {
  cuda_context cuda;
  const device_array memory(cuda, 4096);
  auto b = arguments<graft_add_norm_backward_args>();
  b.dout = b.sum = b.gamma = memory.data();
  b.mean = b.rstd = memory.data<float>();
  b.dgamma = memory.data<float>() + 64;
  b.rows = 2;
  b.channels = 4;
  int64_t bytes = 0;
  ASSERT_EQ(GRAFT_OK, graft_add_norm_backward_workspace(cuda, &b, &bytes));
  b.workspace_bytes = bytes - 1;
  b.workspace = memory.data();
  expect_error(GRAFT_INVALID_SHAPE, graft_add_norm_backward(cuda, &b), {"workspace_bytes"});
  b.workspace_bytes = bytes;
  b.workspace = nullptr;
  expect_error(GRAFT_INVALID_ARGUMENT, graft_add_norm_backward(cuda, &b), {"workspace", "NULL"});
  b.channels = -4;
  expect_error(GRAFT_INVALID_SHAPE, graft_add_norm_backward_workspace(cuda, &b, &bytes), {"channels"});
  b.channels = INT64_MAX / 8;
  expect_error(GRAFT_INVALID_SHAPE, graft_add_norm_backward_workspace(cuda, &b, &bytes), {"channels"});
}
