// What the tests of CUDA attention backward share: cases on both backends, and their oracle.
//
// Oracle: the gradients by their definitions, in double, on the values as
// stored, with the dropout mask of the tests' own Philox; beside it the CPU backend. Both backends take
// out and the log-sum-exp from a forward pass of their own.
// Tolerance, the architecture's rule: max|got - f64| <= 2 max|CPU - f64| + 2 ulp(max|f64|) a tensor;
// where the CPU's result is infinite or NaN, so is the device's.
#pragma once

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <sstream>

#include "cuda_support.h"

namespace graft_test::attention_gradients {

constexpr uint32_t op_id = 11;
constexpr uint64_t seed = 0xABCDEF0123ull, step = 5;
constexpr double untouched = 7;
constexpr auto infinity = static_cast<double>(INFINITY);
constexpr auto nan_value = static_cast<double>(NAN);

// Order of the arrays everywhere below.
enum operand { Q, K, V, OUT, DOUT, DQ, DK, DV, operands };
constexpr const char* names[operands] = {"q", "k", "v", "out", "dout", "dq", "dk", "dv"};
constexpr bool of_keys(int x) { return x == K || x == V || x == DK || x == DV; }
constexpr bool is_input(int x) { return x == Q || x == K || x == V || x == DOUT; }

struct problem {
  std::vector<int> q_lens;
  std::vector<int> k_lens{};  // empty: as q_lens
  int64_t heads = 1, head_dim = 64;
  int dtype = GRAFT_BFLOAT16;
  bool causal = false;
  int dropout = 0;
  int64_t pad = 0;                       // elements between rows
  std::array<int64_t, operands> shift{};  // bytes that arrays are off 256 on the device
  int live = 0;                          // sequences of the step; 0: all
  std::optional<float> scale{};          // 1 / sqrt(D)

  const std::vector<int>& keys() const { return k_lens.empty() ? q_lens : k_lens; }
};

inline std::string describe(const problem& p) {
  std::ostringstream text;
  text << "q";
  for (int n : p.q_lens) text << ' ' << n;
  text << " k";
  for (int n : p.keys()) text << ' ' << n;
  text << " H " << p.heads << " D " << p.head_dim
       << (p.dtype == GRAFT_BFLOAT16 ? " bf16" : " fp32") << " causal " << p.causal << " dropout "
       << p.dropout << " pad " << p.pad << " shifts";
  for (int64_t bytes : p.shift) text << ' ' << bytes;
  return text.str();
}

struct case_data {
  problem p;
  int64_t tokens_q, tokens_k, row, stride;
  std::vector<int32_t> cu_q{0}, cu_k{0};
  std::vector<array> x;  // by operand
  array lse;
  float scale;

  static int64_t sum(const std::vector<int>& lens) {
    int64_t total = 0;
    for (int n : lens) total += n;
    return total;
  }
  explicit case_data(const problem& p)
      : p(p),
        tokens_q(sum(p.q_lens) + 1),  // one row more than the sequences need
        tokens_k(sum(p.keys()) + 1),
        row(p.heads * p.head_dim),
        stride(row + p.pad),
        lse(std::vector<double>(static_cast<size_t>(p.heads * tokens_q), untouched),
            GRAFT_FLOAT32),
        scale(p.scale.value_or(1.0f / std::sqrt(static_cast<float>(p.head_dim)))) {
    for (int n : p.q_lens) cu_q.push_back(cu_q.back() + n);
    for (int n : p.keys()) cu_k.push_back(cu_k.back() + n);
    numbers random(static_cast<uint64_t>(tokens_q * 131 + tokens_k * 7 + p.head_dim));
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
  int64_t sequences() const {
    return p.live == 0 ? static_cast<int64_t>(p.q_lens.size()) : p.live;
  }
  int64_t at(int64_t token, int64_t h, int64_t c) const {
    return token * stride + h * p.head_dim + c;
  }
  // With pointers of either side.
  graft_attention_args args(const std::array<void*, operands>& to, float* lse_to,
                            const int32_t* q_ends, const int32_t* k_ends) const {
    auto a = arguments<graft_attention_args>();
    a.q = to[Q];
    a.k = to[K];
    a.v = to[V];
    a.out = to[OUT];
    a.dout = to[DOUT];
    a.dq = to[DQ];
    a.dk = to[DK];
    a.dv = to[DV];
    a.lse = lse_to;
    a.cu_seqlens_q = q_ends;
    a.cu_seqlens_k = k_ends;
    if (stride != row)
      a.q_token_stride = a.k_token_stride = a.v_token_stride = a.out_token_stride =
          a.dout_token_stride = a.dq_token_stride = a.dk_token_stride = a.dv_token_stride = stride;
    a.tokens_q = tokens_q;
    a.tokens_k = tokens_k;
    a.batch = static_cast<int64_t>(p.q_lens.size());
    a.heads = p.heads;
    a.head_dim = p.head_dim;
    a.max_seqlen_q = *std::max_element(p.q_lens.begin(), p.q_lens.end());
    a.max_seqlen_k = *std::max_element(p.keys().begin(), p.keys().end());
    a.scale = scale;
    a.causal = p.causal;
    a.dropout = p.dropout;
    a.op_id = op_id;
    a.dtype = p.dtype;
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
  auto inputs = arguments<graft_step_inputs>();
  inputs.seed = seed;
  inputs.step = step;
  inputs.sequences = d.p.live;
  EXPECT_EQ(GRAFT_OK, graft_step_begin(c, &inputs));
  graft_attention_args a = d.args(to, lse.floats(), d.cu_q.data(), d.cu_k.data());
  for (int backward : {0, 1}) {
    int64_t bytes = 0;
    EXPECT_EQ(GRAFT_OK, graft_attention_workspace(c, &a, backward, &bytes)) << graft_last_error();
    workspace space(bytes);
    a.workspace = space.data();
    a.workspace_bytes = bytes;
    EXPECT_EQ(GRAFT_OK, backward ? graft_attention_backward(c, &a) : graft_attention_forward(c, &a))
        << graft_last_error();
  }
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

inline double keep_of(uint64_t key, int k, int64_t b, int64_t h, int64_t i, int64_t j) {
  if (k == 0) return 1;
  const philox words(key, static_cast<uint32_t>(j / 16), static_cast<uint32_t>(i),
                     static_cast<uint32_t>(h), static_cast<uint32_t>(b));
  const int byte = static_cast<int>(j % 16);
  const int value = static_cast<int>((words.w[byte / 4] >> (8 * (byte % 4))) & 0xFF);
  return value < k ? 0 : 256.0 / (256 - k);
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
          dp[n] = gradient * keep_of(key, d.p.dropout, b, h, i, j);
          highest = std::max(highest, p[n]);
        }
        // Nothing but -inf: as if it saw no key.
        if (std::all_of(p.begin(), p.end(), [](double x) { return x == -infinity; })) continue;
        for (double& x : p) total += x = std::exp(x - highest);
        for (size_t n = 0; n < p.size(); ++n) delta += (p[n] /= total) * dp[n];
        for (int64_t j = 0; j < seen; ++j) {
          const auto n = static_cast<size_t>(j);
          const double ds = p[n] * (dp[n] - delta) * scale;
          const double weight = p[n] * keep_of(key, d.p.dropout, b, h, i, j);
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

// The rule over what is written and finite on the CPU; elsewhere the same infinity, NaN or old number.
inline void compare(const std::vector<double>& exact, const array& cpu, const array& got,
             const char* what) {
  std::vector<double> e, reference, own;
  for (int64_t i = 0; i < got.count(); ++i) {
    const double x = exact[static_cast<size_t>(i)];
    if (x != untouched && std::isfinite(cpu[i]) && std::isfinite(x)) {
      e.push_back(x);
      reference.push_back(cpu[i]);
      own.push_back(got[i]);
    } else if (std::isnan(cpu[i]) ? !std::isnan(got[i]) : cpu[i] != got[i]) {
      ADD_FAILURE() << what << "[" << i << "]: the CPU has " << cpu[i] << ", got " << got[i];
      return;
    }
  }
  if (!e.empty())
    expect_within_rule(e, array(reference, got.dtype()), array(own, got.dtype()), what);
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

}  // namespace graft_test::attention_gradients
