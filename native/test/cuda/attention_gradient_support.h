// What the tests of CUDA attention backward share: cases on both backends, and their oracle.
//
// Oracle: the gradients by their definitions, in double, on the values as
// stored, with the dropout mask of the tests' own Philox; beside it the CPU backend. Both backends take
// out and the log-sum-exp from a forward pass of their own.
// Tolerance, the architecture's rule: max|got - f64| <= 2 max|CPU - f64| + 2 ulp(max|f64|) a tensor;
// where the CPU's result is infinite or NaN, so is the device's.
#pragma once

#include <memory>

#include "attention_support.h"

namespace graft_test::attention_gradients {

using namespace cuda_attention;

// Order of the arrays everywhere below.
enum operand { Q, K, V, OUT, DOUT, DQ, DK, DV, operands };
constexpr const char* names[operands] = {"q", "k", "v", "out", "dout", "dq", "dk", "dv"};
constexpr bool of_keys(int x) { return x == K || x == V || x == DK || x == DV; }
constexpr bool is_input(int x) { return x == Q || x == K || x == V || x == DOUT; }

struct case_data : case_shape {
  int64_t stride;
  std::vector<array> x;  // by operand
  array lse;

  explicit case_data(const problem& p)
      : case_shape(p),
        stride(row + p.pad),
        lse(std::vector<double>(static_cast<size_t>(p.heads * tokens_q), untouched),
            GRAFT_FLOAT32) {
    numbers random = case_shape::random();
    for (int n = 0; n < operands; ++n) {
      const int64_t tokens = of_keys(n) ? tokens_k : tokens_q;
      x.emplace_back(std::vector<double>(static_cast<size_t>(tokens * stride), untouched),
                     p.dtype);
      if (!is_input(n)) continue;
      // What lies between rows and behind the last sequence must not matter.
      for (int64_t i = 0; i < x.back().count(); ++i) {
        const double number = random.normal();
        x.back().set(i, i % stride >= row || i / stride == tokens - 1 ? nan_value : number);
      }
    }
  }
  int64_t at(int64_t token, int64_t h, int64_t c) const {
    return token * stride + h * p.head_dim + c;
  }
  // With pointers of either side.
  graft_attention_args args(const std::array<void*, operands>& to, float* lse_to,
                            const int32_t* q_ends, const int32_t* k_ends) const {
    graft_attention_args a = case_shape::args(lse_to, q_ends, k_ends);
    a.q = to[Q];
    a.k = to[K];
    a.v = to[V];
    a.out = to[OUT];
    a.dout = to[DOUT];
    a.dq = to[DQ];
    a.dk = to[DK];
    a.dv = to[DV];
    if (stride != row)
      a.q_token_stride = a.k_token_stride = a.v_token_stride = a.out_token_stride =
          a.dout_token_stride = a.dq_token_stride = a.dk_token_stride = a.dv_token_stride = stride;
    return a;
  }
};

using gradients = std::vector<array>;  // dq, dk, dv

inline gradients on_cpu(const case_data& d) {
  std::vector<array> x;
  std::array<void*, operands> to{};
  for (const array& from : d.x) x.emplace_back(from.values(), from.dtype());
  for (size_t n = 0; n < operands; ++n) to[n] = x[n].data();
  array lse(d.lse.values(), GRAFT_FLOAT32);
  context c;
  begin_step(c, d.p);
  graft_attention_args a = d.args(to, lse.floats(), d.cu_q.data(), d.cu_k.data());
  for (bool backward : {false, true}) run_on_cpu(c, a, backward);
  gradients result;
  for (int n : {DQ, DK, DV}) result.push_back(std::move(x[static_cast<size_t>(n)]));
  return result;
}

// A device context with the operands of a case on it.
struct device_case {
  cuda_context c;
  std::vector<std::unique_ptr<device_array>> x;
  device_array lse, cu_q, cu_k;
  std::unique_ptr<device_array> space;
  graft_attention_args a;

  explicit device_case(const case_data& d)
      : lse(c, d.lse, 4), cu_q(c, d.cu_q), cu_k(c, d.cu_k) {
    std::array<void*, operands> to{};
    for (size_t n = 0; n < operands; ++n) {
      x.push_back(std::make_unique<device_array>(c, d.x[n], d.p.shift[n]));
      to[n] = x[n]->data();
    }
    a = d.args(to, lse.data<float>(), cu_q.data<int32_t>(), cu_k.data<int32_t>());
    a.engine = d.p.engine;
    int64_t bytes = -1;
    EXPECT_EQ(GRAFT_OK, graft_attention_workspace(c, &a, 1, &bytes)) << graft_last_error();
    space = std::make_unique<device_array>(c, bytes);
    // Numbers of an earlier call must not matter: NaN.
    const std::vector<uint8_t> nans(static_cast<size_t>(bytes), 0xFF);
    space->upload(nans.data());
    a.workspace = space->data();
    a.workspace_bytes = bytes;
    c.step(seed, step, 0, 1, d.p.live);
  }
  gradients results(const case_data& d) {
    c.synchronize();
    gradients result;
    for (size_t n : {DQ, DK, DV}) {
      result.emplace_back(d.x[n].count(), d.p.dtype);
      x[n]->download(result.back());
    }
    return result;
  }
};

inline gradients on_device(const case_data& d) {
  device_case on(d);
  EXPECT_EQ(GRAFT_OK, graft_attention_forward(on.c, &on.a)) << graft_last_error();
  EXPECT_EQ(GRAFT_OK, graft_attention_backward(on.c, &on.a)) << graft_last_error();
  return on.results(d);
}

// dq, dk, dv; `untouched` where nothing is to be written.
inline std::vector<std::vector<double>> oracle(const case_data& d) {
  std::vector<double> dq = d.x[DQ].values(), dk = d.x[DK].values(), dv = d.x[DV].values();
  const int64_t D = d.p.head_dim;
  const uint64_t key = stream_key(seed, step, op_id);
  const auto scale = static_cast<double>(d.scale);
  for (int64_t b = 0; b < d.sequences(); ++b) {
    const auto s = static_cast<size_t>(b);
    const int64_t q0 = d.cu_q[s], nq = d.cu_q[s + 1] - q0, k0 = d.cu_k[s], nk = d.cu_k[s + 1] - k0;
    for (int64_t h = 0; h < d.p.heads; ++h) {
      for (int64_t j = 0; j < nk; ++j)
        for (int64_t c = 0; c < D; ++c) {
          const auto to = static_cast<size_t>(d.at(k0 + j, h, c));
          dk[to] = dv[to] = 0;
        }
      for (int64_t i = 0; i < nq; ++i) {
        for (int64_t c = 0; c < D; ++c) dq[static_cast<size_t>(d.at(q0 + i, h, c))] = 0;
        const int64_t seen = d.p.causal ? std::clamp<int64_t>(i + nk - nq + 1, 0, nk) : nk;
        std::vector<double> p(static_cast<size_t>(seen)), dp(p.size());
        double highest = -infinity, total = 0, delta = 0;
        for (int64_t j = 0; j < seen; ++j) {
          const auto n = static_cast<size_t>(j);
          double dot = 0, gradient = 0;
          for (int64_t c = 0; c < D; ++c) {
            dot += d.x[Q][d.at(q0 + i, h, c)] * d.x[K][d.at(k0 + j, h, c)];
            gradient += d.x[DOUT][d.at(q0 + i, h, c)] * d.x[V][d.at(k0 + j, h, c)];
          }
          p[n] = dot * scale;
          dp[n] = gradient * attention_keep(key, d.p.dropout, b, h, i, j);
          highest = std::max(highest, p[n]);
        }
        // Nothing but -inf: as if it saw no key.
        if (std::all_of(p.begin(), p.end(), [](double x) { return x == -infinity; })) continue;
        for (double& x : p) total += x = std::exp(x - highest);
        for (size_t n = 0; n < p.size(); ++n) delta += (p[n] /= total) * dp[n];
        for (int64_t j = 0; j < seen; ++j) {
          const auto n = static_cast<size_t>(j);
          const double ds = p[n] * (dp[n] - delta) * scale;
          const double weight = p[n] * attention_keep(key, d.p.dropout, b, h, i, j);
          for (int64_t c = 0; c < D; ++c) {
            const int64_t query = d.at(q0 + i, h, c), other = d.at(k0 + j, h, c);
            dq[static_cast<size_t>(query)] += ds * d.x[K][other];
            dk[static_cast<size_t>(other)] += ds * d.x[Q][query];
            dv[static_cast<size_t>(other)] += weight * d.x[DOUT][query];
          }
        }
      }
    }
  }
  return {dq, dk, dv};
}

using change = std::function<void(case_data&)>;

inline void run(const problem& p, const change& edit = nullptr) {
  SCOPED_TRACE(describe(p));
  case_data d(p);
  if (edit) edit(d);
  const auto exact = oracle(d);
  const gradients cpu = on_cpu(d), got = on_device(d);
  for (size_t n = 0; n < 3; ++n) compare(exact[n], cpu[n], got[n], names[DQ + n]);
}

inline std::vector<uint8_t> bits_of(const gradients& all) {
  std::vector<uint8_t> bits;
  for (const array& x : all) {
    const std::vector<uint8_t> part = x.bits();
    bits.insert(bits.end(), part.begin(), part.end());
  }
  return bits;
}

// q = 0 makes all probabilities 1/n, and dO the identity: an element of dV is 0 where the mask drops and
// not where it keeps. Of the second of two sequences, with at most head_dim queries.
inline void expect_mask(const problem& p) {
  case_data d(p);
  for (int64_t i = 0; i < d.x[Q].count(); ++i) d.x[Q].set(i, 0);
  for (int64_t i = 0; i < d.tokens_q; ++i)
    for (int64_t h = 0; h < p.heads; ++h)
      for (int64_t c = 0; c < p.head_dim; ++c) d.x[DOUT].set(d.at(i, h, c), i - p.q_lens[0] == c);
  const gradients got = on_device(d);
  const uint64_t key = stream_key(seed, step, op_id);
  for (int64_t j = 0; j < p.k_lens[1]; ++j)
    for (int64_t h = 0; h < p.heads; ++h)
      for (int64_t i = 0; i < p.q_lens[1]; ++i)
        ASSERT_EQ(attention_keep(key, p.dropout, 1, h, i, j) != 0,
                  got[2][d.at(p.k_lens[0] + j, h, i)] != 0)
            << "query " << i << " key " << j;
}

// The softmax of one key is 1 whatever its logit: no gradient, not even a rounding's.
inline void expect_loneKeys_haveNoGradient(int dtype, int engine) {
  for (int dropout : {0, 100}) {
    case_data d({.q_lens = {70}, .k_lens = {1}, .heads = 3, .dtype = dtype, .dropout = dropout,
                 .scale = 1.0f, .engine = engine});
    const gradients got = on_device(d);
    for (int64_t i = 0; i < d.row * 70; ++i) ASSERT_EQ(0, got[0][i]) << i;
    for (int64_t i = 0; i < d.row; ++i) ASSERT_EQ(0, got[1][i]) << i;
  }
}

inline void expect_nothingToDo_isDone(int engine) {
  const case_data d({.q_lens = {4}, .head_dim = 8, .engine = engine});
  device_case on(d);
  on.a.batch = 0;
  EXPECT_EQ(GRAFT_OK, graft_attention_backward(on.c, &on.a)) << graft_last_error();
  on.a.batch = 1;
  on.a.max_seqlen_q = on.a.max_seqlen_k = 0;
  EXPECT_EQ(GRAFT_OK, graft_attention_backward(on.c, &on.a)) << graft_last_error();
  for (const array& x : on.results(d))
    for (int64_t i = 0; i < x.count(); ++i) ASSERT_EQ(untouched, x[i]);
}

}  // namespace graft_test::attention_gradients
