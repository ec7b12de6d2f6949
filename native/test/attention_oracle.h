// Oracle: softmax attention and its gradients by their definitions, in double, on the values as
// stored; the dropout mask comes from the tests' own Philox.
//
// Tolerances. fp32: a product of D terms and a softmax over Tk in float; each bound below is about
// three times the largest error seen over the grid. bf16: the same, rounded once (half an ulp), and
// for the gradients the rounding of the stored out, which enters through delta = rowsum(dO * O).
// bf16 on dot products (AVX512-BF16): P and dS are rounded to bf16 as well, see `rounded_terms`.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "support.h"

namespace graft_test {

struct problem {
  std::vector<int> q_lens, k_lens;
  int64_t heads = 1, head_dim = 64;
  int dtype = GRAFT_FLOAT32;
  bool causal = false;
  int dropout = 0;
  int64_t pad = 0;          // elements between rows
  bool misaligned = false;  // one element off 64 bytes
  int threads = 1;
  int live = 0;              // sequences of the step; 0: all
  std::optional<float> scale{};  // 1 / sqrt(D)
};

constexpr uint32_t op_id = 11;
constexpr uint64_t seed = 0xABCDEF0123ull, step = 5;
constexpr double untouched = 7;

// Changes the inputs before the run: (q, k, v, dout).
using change = std::function<void(array&, array&, array&, array&)>;

struct case_data {
  problem p;
  int64_t tokens_q, tokens_k, row, stride;
  std::vector<int32_t> cu_q{0}, cu_k{0};
  array q, k, v, dout, out, lse, dq, dk, dv;
  float scale;

  static int64_t sum(const std::vector<int>& lens) {
    int64_t total = 0;
    for (int n : lens) total += n;
    return total;
  }
  explicit case_data(const problem& p)
      : p(p),
        tokens_q(sum(p.q_lens) + 1),  // one row more than the sequences need
        tokens_k(sum(p.k_lens) + 1),
        row(p.heads * p.head_dim),
        stride(row + p.pad),
        q(tokens_q * stride, p.dtype, p.misaligned),
        k(tokens_k * stride, p.dtype, p.misaligned),
        v(tokens_k * stride, p.dtype, p.misaligned),
        dout(tokens_q * stride, p.dtype, p.misaligned),
        out(std::vector<double>(static_cast<size_t>(tokens_q * stride), untouched), p.dtype,
            p.misaligned),
        lse(std::vector<double>(static_cast<size_t>(p.heads * tokens_q), untouched), GRAFT_FLOAT32,
            p.misaligned),
        dq(out.values(), p.dtype, p.misaligned),
        dk(std::vector<double>(static_cast<size_t>(tokens_k * stride), untouched), p.dtype,
           p.misaligned),
        dv(dk.values(), p.dtype, p.misaligned) {
    for (int n : p.q_lens) cu_q.push_back(cu_q.back() + n);
    for (int n : p.k_lens) cu_k.push_back(cu_k.back() + n);
    numbers random(static_cast<uint64_t>(tokens_q * 131 + tokens_k * 7 + p.head_dim));
    for (array* x : {&q, &k, &v, &dout})
      for (int64_t i = 0; i < x->count(); ++i) x->set(i, random.normal());
    scale = p.scale.value_or(1.0f / std::sqrt(static_cast<float>(p.head_dim)));
  }
  int64_t sequences() const {
    return p.live == 0 ? static_cast<int64_t>(p.q_lens.size()) : p.live;
  }
  int64_t at(int64_t token, int64_t h, int64_t c) const {
    return token * stride + h * p.head_dim + c;
  }

  graft_attention_args args() {
    auto a = arguments<graft_attention_args>();
    a.q = q.data();
    a.k = k.data();
    a.v = v.data();
    a.out = out.data();
    a.lse = lse.floats();
    a.dout = dout.data();
    a.dq = dq.data();
    a.dk = dk.data();
    a.dv = dv.data();
    a.cu_seqlens_q = cu_q.data();
    a.cu_seqlens_k = cu_k.data();
    if (p.pad > 0)
      a.q_token_stride = a.k_token_stride = a.v_token_stride = a.out_token_stride =
          a.dout_token_stride = a.dq_token_stride = a.dk_token_stride = a.dv_token_stride = stride;
    a.tokens_q = tokens_q;
    a.tokens_k = tokens_k;
    a.batch = static_cast<int64_t>(p.q_lens.size());
    a.heads = p.heads;
    a.head_dim = p.head_dim;
    a.max_seqlen_q = *std::max_element(p.q_lens.begin(), p.q_lens.end());
    a.max_seqlen_k = *std::max_element(p.k_lens.begin(), p.k_lens.end());
    a.scale = scale;
    a.causal = p.causal;
    a.dropout = p.dropout;
    a.op_id = op_id;
    a.dtype = p.dtype;
    return a;
  }
};

inline void begin_step(context& c, int live) {
  graft_step_inputs inputs{};
  inputs.struct_size = sizeof inputs;
  inputs.seed = seed;
  inputs.step = step;
  inputs.sequences = live;
  ASSERT_EQ(GRAFT_OK, graft_step_begin(c, &inputs)) << graft_last_error();
}

inline int call(context& c, graft_attention_args a, bool backward) {
  int64_t bytes = 0;
  const int status = graft_attention_workspace(c, &a, backward, &bytes);
  if (status != GRAFT_OK) return status;
  workspace space(bytes);
  // Numbers of an earlier call must not matter: NaN.
  std::memset(space.data(), 0xFF, static_cast<size_t>(bytes));
  a.workspace = space.data();
  a.workspace_bytes = bytes;
  return backward ? graft_attention_backward(c, &a) : graft_attention_forward(c, &a);
}

// Whether the products of this dtype take P and dS in bf16.
inline bool on_dots(int dtype) {
  return dtype == GRAFT_BFLOAT16 && graft_cpu_isa() == GRAFT_ISA_AVX512_BF16;
}

// What rounding the terms of a sum to bf16, each by half an ulp at most, may do to it. Their errors have
// either sign: 2 root of squares is five standard deviations.
struct rounded_terms {
  double total = 0, squares = 0;
  void add(double term) {
    total += std::fabs(term);
    squares += term * term;
  }
  double slack() const { return std::min(total, 2 * std::sqrt(squares)) / 256; }
};

struct expectation {
  std::vector<double> out, lse, dq, dk, dv;
  // What rounding may add: of out (half an ulp) to dq and dk through delta, of P and dS to all.
  std::vector<double> out_slack, dq_slack, dk_slack, dv_slack;
};

inline expectation oracle(const case_data& d) {
  expectation e{d.out.values(), d.lse.values(), d.dq.values(), d.dk.values(), d.dv.values(),
                {}, {}, {}, {}};
  const bool half = d.p.dtype == GRAFT_BFLOAT16, dots = on_dots(d.p.dtype);
  e.out_slack.assign(e.out.size(), 0);
  e.dq_slack.assign(e.dq.size(), 0);
  e.dk_slack.assign(e.dk.size(), 0);
  e.dv_slack.assign(e.dv.size(), 0);
  std::vector<rounded_terms> dq_terms(e.dq.size()), dk_terms(e.dk.size()), dv_terms(e.dv.size());
  const int64_t D = d.p.head_dim;
  const uint64_t key = stream_key(seed, step, op_id);
  for (int64_t b = 0; b < d.sequences(); ++b) {
    const auto s = static_cast<size_t>(b);
    const int64_t q0 = d.cu_q[s], nq = d.cu_q[s + 1] - q0, k0 = d.cu_k[s], nk = d.cu_k[s + 1] - k0;
    for (int64_t h = 0; h < d.p.heads; ++h) {
      for (int64_t j = 0; j < nk; ++j)
        for (int64_t c = 0; c < D; ++c) {
          const auto at = static_cast<size_t>(d.at(k0 + j, h, c));
          e.dk[at] = e.dv[at] = 0;
        }
      for (int64_t i = 0; i < nq; ++i) {
        int64_t seen = d.p.causal ? std::clamp<int64_t>(i + nk - nq + 1, 0, nk) : nk;
        std::vector<double> x(static_cast<size_t>(seen)), keep(x.size());
        double highest = -INFINITY, total = 0, delta = 0, slack = 0;
        for (int64_t j = 0; j < seen; ++j) {
          const auto n = static_cast<size_t>(j);
          double dot = 0;
          for (int64_t c = 0; c < D; ++c) dot += d.q[d.at(q0 + i, h, c)] * d.k[d.at(k0 + j, h, c)];
          x[n] = dot * static_cast<double>(d.scale);
          keep[n] = attention_keep(key, d.p.dropout, b, h, i, j);
          if (x[n] > highest) highest = x[n];
        }
        // Nothing but -inf: as if it saw no key.
        if (std::all_of(x.begin(), x.end(), [](double xj) { return xj == -INFINITY; })) {
          x.clear();
          seen = 0;
        }
        for (double xj : x) total += std::exp(xj - highest);
        e.lse[static_cast<size_t>(h * d.tokens_q + q0 + i)] =
            seen == 0 ? -INFINITY : highest + std::log(total);
        for (int64_t c = 0; c < D; ++c) {
          double sum = 0;
          rounded_terms terms;
          for (int64_t j = 0; j < seen; ++j) {
            const auto n = static_cast<size_t>(j);
            const double term =
                std::exp(x[n] - highest) / total * keep[n] * d.v[d.at(k0 + j, h, c)];
            sum += term;
            terms.add(term);
          }
          const auto at = static_cast<size_t>(d.at(q0 + i, h, c));
          e.out[at] = sum;
          e.dq[at] = 0;
          e.out_slack[at] = dots ? terms.slack() : 0;
          const double dout = seen == 0 ? 0 : d.dout[d.at(q0 + i, h, c)];
          delta += sum * dout;
          slack += std::fabs(dout) * (std::fabs(sum) / 256 + e.out_slack[at]);
        }
        for (int64_t j = 0; j < seen; ++j) {
          const auto n = static_cast<size_t>(j);
          const double p = std::exp(x[n] - highest) / total;
          double dp = 0;
          for (int64_t c = 0; c < D; ++c)
            dp += d.dout[d.at(q0 + i, h, c)] * d.v[d.at(k0 + j, h, c)];
          const double ds = p * (keep[n] * dp - delta) * static_cast<double>(d.scale);
          for (int64_t c = 0; c < D; ++c) {
            const auto iq = static_cast<size_t>(d.at(q0 + i, h, c));
            const auto jk = static_cast<size_t>(d.at(k0 + j, h, c));
            const double q = d.q[static_cast<int64_t>(iq)], k = d.k[static_cast<int64_t>(jk)];
            e.dq[iq] += ds * k;
            e.dk[jk] += ds * q;
            e.dv[jk] += p * keep[n] * d.dout[static_cast<int64_t>(iq)];
            e.dq_slack[iq] += p * slack * std::fabs(k * static_cast<double>(d.scale));
            e.dk_slack[jk] += p * slack * std::fabs(q * static_cast<double>(d.scale));
            dq_terms[iq].add(ds * k);
            dk_terms[jk].add(ds * q);
            dv_terms[jk].add(p * keep[n] * d.dout[static_cast<int64_t>(iq)]);
          }
        }
      }
    }
  }
  if (!half) {
    e.dq_slack.clear();
    e.dk_slack.clear();
  }
  if (dots) {
    for (size_t n = 0; n < dq_terms.size(); ++n) e.dq_slack[n] += dq_terms[n].slack();
    for (size_t n = 0; n < dk_terms.size(); ++n) e.dk_slack[n] += dk_terms[n].slack();
    for (size_t n = 0; n < dv_terms.size(); ++n) e.dv_slack[n] += dv_terms[n].slack();
  }
  return e;
}

// |got - expected| <= absolute + ulps of the expected value + slack.
inline void expect_within(const std::vector<double>& expected, const array& got, double absolute,
                   double ulps, const std::vector<double>& slack, const char* what) {
  ASSERT_EQ(static_cast<int64_t>(expected.size()), got.count()) << what;
  for (int64_t i = 0; i < got.count(); ++i) {
    const auto n = static_cast<size_t>(i);
    const double e = expected[n];
    const double bound = absolute + ulps * ulp(e, got.dtype()) + (slack.empty() ? 0 : slack[n]);
    if (std::isnan(e) ? std::isnan(got[i]) : (got[i] == e || std::fabs(got[i] - e) <= bound))
      continue;
    ADD_FAILURE() << what << "[" << i << "]: expected " << e << " +- " << bound << ", got " << got[i];
    return;
  }
}

inline std::string describe(const problem& p) {
  std::string text = "q";
  for (int n : p.q_lens) text += " " + std::to_string(n);
  text += " k";
  for (int n : p.k_lens) text += " " + std::to_string(n);
  return text + " H " + std::to_string(p.heads) + " D " + std::to_string(p.head_dim) + " dtype " +
         std::to_string(p.dtype) + " causal " + std::to_string(p.causal) + " dropout " +
         std::to_string(p.dropout) + " threads " + std::to_string(p.threads);
}

// Runs both passes against the oracle; returns the bits of all results.
inline std::vector<uint8_t> run(const problem& p, const change& edit = nullptr, bool compare = true) {
  SCOPED_TRACE(describe(p));
  case_data d(p);
  if (edit) edit(d.q, d.k, d.v, d.dout);
  const expectation e = compare ? oracle(d) : expectation{};
  context c(p.threads);
  begin_step(c, p.live);
  EXPECT_EQ(GRAFT_OK, call(c, d.args(), false)) << graft_last_error();
  EXPECT_EQ(GRAFT_OK, call(c, d.args(), true)) << graft_last_error();
  if (compare) {
    const bool half = p.dtype == GRAFT_BFLOAT16;
    const double ulps = half ? 0.51 : 2;
    const double kept = 256.0 / (256 - p.dropout);
    // Logits of few numbers spread more than those of many are meant to: their errors grow alike.
    const double spread = p.scale ? 4 : 1;
    // dk and dv sum over the queries, in float.
    const double rows = std::sqrt(1.0 + *std::max_element(p.q_lens.begin(), p.q_lens.end()) / 64.0);
    const double sum_ulps = half ? 0.51 : 2 * rows;
    expect_within(e.out, d.out, 2e-6 * kept * spread, ulps, e.out_slack, "out");
    expect_within(e.lse, d.lse, 2e-6 * spread, 2, {}, "lse");
    expect_within(e.dq, d.dq, 4e-6 * kept * spread, ulps, e.dq_slack, "dq");
    expect_within(e.dk, d.dk, 6e-6 * kept * spread * rows, sum_ulps, e.dk_slack, "dk");
    expect_within(e.dv, d.dv, 4e-6 * kept * spread * rows, sum_ulps, e.dv_slack, "dv");
  }
  std::vector<uint8_t> bits;
  for (const array* x : {&d.out, &d.lse, &d.dq, &d.dk, &d.dv}) {
    const std::vector<uint8_t> part = x->bits();
    bits.insert(bits.end(), part.begin(), part.end());
  }
  return bits;
}

}  // namespace graft_test
