// Oracle: softmax attention and its gradients by their definitions, in double, on the values as
// stored; the dropout mask comes from the tests' own Philox.
//
// Tolerances. fp32: a product of D terms and a softmax over Tk in float; each bound below is about
// three times the largest error seen over the grid. bf16: the same, rounded once (half an ulp), and
// for the gradients the rounding of the stored out, which enters through delta = rowsum(dO * O).
#include <algorithm>
#include <cstdlib>
#include <optional>

#include "support.h"

using namespace graft_test;

namespace {

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

void begin_step(context& c, int live) {
  graft_step_inputs inputs{};
  inputs.struct_size = sizeof inputs;
  inputs.seed = seed;
  inputs.step = step;
  inputs.sequences = live;
  ASSERT_EQ(GRAFT_OK, graft_step_begin(c, &inputs)) << graft_last_error();
}

int call(context& c, graft_attention_args a, bool backward) {
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

struct expectation {
  std::vector<double> out, lse, dq, dk, dv;
  // What bf16's rounding of out (half an ulp) may add to dq and dk through delta.
  std::vector<double> dq_slack, dk_slack;
};

expectation oracle(const case_data& d) {
  expectation e{d.out.values(), d.lse.values(), d.dq.values(), d.dk.values(), d.dv.values(), {}, {}};
  e.dq_slack.assign(e.dq.size(), 0);
  e.dk_slack.assign(e.dk.size(), 0);
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
          for (int64_t j = 0; j < seen; ++j) {
            const auto n = static_cast<size_t>(j);
            sum += std::exp(x[n] - highest) / total * keep[n] * d.v[d.at(k0 + j, h, c)];
          }
          e.out[static_cast<size_t>(d.at(q0 + i, h, c))] = sum;
          e.dq[static_cast<size_t>(d.at(q0 + i, h, c))] = 0;
          const double term = seen == 0 ? 0 : sum * d.dout[d.at(q0 + i, h, c)];
          delta += term;
          slack += std::fabs(term) / 256;
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
          }
        }
      }
    }
  }
  if (d.p.dtype == GRAFT_FLOAT32) {
    e.dq_slack.clear();
    e.dk_slack.clear();
  }
  return e;
}

// |got - expected| <= absolute + ulps of the expected value + slack.
void expect_within(const std::vector<double>& expected, const array& got, double absolute,
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

std::string describe(const problem& p) {
  std::string text = "q";
  for (int n : p.q_lens) text += " " + std::to_string(n);
  text += " k";
  for (int n : p.k_lens) text += " " + std::to_string(n);
  return text + " H " + std::to_string(p.heads) + " D " + std::to_string(p.head_dim) + " dtype " +
         std::to_string(p.dtype) + " causal " + std::to_string(p.causal) + " dropout " +
         std::to_string(p.dropout) + " threads " + std::to_string(p.threads);
}

// Runs both passes against the oracle; returns the bits of all results.
std::vector<uint8_t> run(const problem& p, const change& edit = nullptr, bool compare = true) {
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
    expect_within(e.out, d.out, 2e-6 * kept * spread, ulps, {}, "out");
    expect_within(e.lse, d.lse, 2e-6 * spread, 2, {}, "lse");
    expect_within(e.dq, d.dq, 4e-6 * kept * spread, ulps, e.dq_slack, "dq");
    expect_within(e.dk, d.dk, 6e-6 * kept * spread * rows, sum_ulps, e.dk_slack, "dk");
    expect_within(e.dv, d.dv, 4e-6 * kept * spread * rows, sum_ulps, {}, "dv");
  }
  std::vector<uint8_t> bits;
  for (const array* x : {&d.out, &d.lse, &d.dq, &d.dk, &d.dv}) {
    const std::vector<uint8_t> part = x->bits();
    bits.insert(bits.end(), part.begin(), part.end());
  }
  return bits;
}

void run_lengths(const std::vector<int>& lengths, int64_t head_dim) {
  on_every_isa([&] {
    for (int dtype : float_dtypes())
      for (bool causal : {false, true})
        for (int n : lengths)
          run({.q_lens = {n}, .k_lens = {n}, .head_dim = head_dim, .dtype = dtype,
               .causal = causal});
  });
}

TEST(Attention, lengthsAcrossTiles_vsDouble) {
  std::vector<int> lengths = {0,  1,  2,  3,  5,  7,  8,  9,   15,  16,  17,  31,  33,  47, 49,
                              63, 64, 65, 95, 96, 97, 127, 128, 129, 191, 193, 255, 257};
  if (std::getenv("GRAFT_FULL") != nullptr) {
    lengths.clear();
    for (int n = 0; n <= 257; ++n) lengths.push_back(n);
  }
  run_lengths(lengths, 32);
}

TEST(Attention, headDims_vsDouble) {
  on_every_isa([] {
    for (int dtype : float_dtypes())
      for (int64_t D : {1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 50, 64, 65, 96, 100, 128, 255, 256})
        run({.q_lens = {70}, .k_lens = {75}, .heads = 2, .head_dim = D, .dtype = dtype,
             .causal = true, .dropout = D % 2 == 0 ? 26 : 0});
  });
}

TEST(Attention, queriesAndKeysOfOtherNumber_vsDouble) {
  on_every_isa([] {
    for (bool causal : {false, true})
      for (const auto& [q, k] : std::vector<std::pair<int, int>>{
               {5, 9}, {9, 5}, {70, 130}, {130, 70}, {64, 1}, {1, 64}, {1, 300}, {300, 1}, {0, 5},
               {5, 0}, {200, 65}, {129, 128}, {128, 129}})
        run({.q_lens = {q}, .k_lens = {k}, .heads = 2, .head_dim = 16, .causal = causal,
             .dropout = 13});
  });
}

TEST(Attention, packedSequences_vsDouble_otherRowsUntouched) {
  on_every_isa([] {
    for (int dtype : float_dtypes())
      for (int live : {0, 5})
        for (int64_t pad : {0, 5})
          run({.q_lens = {17, 0, 130, 4, 0, 66, 1}, .k_lens = {17, 3, 100, 0, 0, 70, 1}, .heads = 3,
               .head_dim = 24, .dtype = dtype, .causal = live == 0, .dropout = 20, .pad = pad,
               .misaligned = pad != 0, .threads = 2, .live = live});
  });
}

TEST(Attention, dropout_vsDouble) {
  on_every_isa([] {
    for (int dropout : {1, 26, 128, 255})
      for (bool causal : {false, true})
        run({.q_lens = {150, 33}, .k_lens = {150, 33}, .heads = 2, .head_dim = 32,
             .causal = causal, .dropout = dropout});
  });
}

TEST(Attention, scaleOfAnySign_vsDouble) {
  on_every_isa([] {
    for (float scale : {-0.5f, 0.0f, 1.0f})
      run({.q_lens = {100}, .k_lens = {90}, .head_dim = 16, .causal = true, .scale = scale});
  });
}

// Long enough for a head to be cut in chunks of keys, in one thread and in several.
TEST(Attention, chunks_vsDouble) {
  on_every_isa([] {
    for (int threads : {1, 4})
      for (bool causal : {false, true})
        run({.q_lens = {700, 20}, .k_lens = {1100, 600}, .head_dim = 16, .causal = causal,
             .dropout = 13, .threads = threads});
  });
}

TEST(Attention, threads_sameBits) {
  on_every_isa([] {
    for (int dtype : float_dtypes())
      for (const problem& base : {problem{.q_lens = {1000, 90}, .k_lens = {1300, 600},
                                          .head_dim = 40, .dtype = dtype, .causal = true},
                                  problem{.q_lens = {2100}, .k_lens = {600}, .head_dim = 8,
                                          .dtype = dtype, .causal = true, .dropout = 40},
                                  problem{.q_lens = {300, 0, 129, 64}, .k_lens = {300, 7, 129, 64},
                                          .heads = 5, .head_dim = 64, .dtype = dtype}}) {
        const std::vector<uint8_t> expected = run(base, nullptr, false);
        for (int threads : {2, 3, 7}) {
          problem p = base;
          p.threads = threads;
          EXPECT_EQ(expected, run(p, nullptr, false)) << describe(p);
        }
      }
  });
}

// Infinities and NaN reach the rows that IEEE arithmetic sends them to, and no others: under a causal
// mask the queries before a bad key keep their finite results.
TEST(Attention, badNumbers_stayInTheirRows) {
  const auto nan = static_cast<double>(NAN), infinity = static_cast<double>(INFINITY);
  on_every_isa([&] {
    for (int n : {40, 140})
      for (int64_t bad : {0, 13, 37}) {
        const problem p{.q_lens = {n}, .k_lens = {n}, .head_dim = 20, .causal = true};
        const int64_t at = bad * 20 + 3;
        SCOPED_TRACE("token " + std::to_string(bad));
        run(p, [&](array& q, array&, array&, array&) { q.set(at, nan); });
        run(p, [&](array&, array& k, array&, array&) { k.set(at, nan); });
        run(p, [&](array&, array&, array& v, array&) { v.set(at, nan); });
        run(p, [&](array&, array&, array& v, array&) { v.set(at, infinity); });
        run(p, [&](array&, array&, array&, array& dout) { dout.set(at, nan); });
        // Logits of -inf for the queries whose number in that column is positive, of +inf else.
        run(p, [&](array&, array& k, array&, array&) { k.set(at, -infinity); });
      }
  });
}

// A row all of whose logits are -inf counts as one without keys: in the passes over several tiles of
// keys as well, where the first tiles may hold nothing else.
TEST(Attention, rowsOfMinusInfinity_areEmpty) {
  on_every_isa([] {
    for (int empty : {70, 200})
      run({.q_lens = {3}, .k_lens = {200}, .head_dim = 8},
          [&](array& q, array& k, array&, array&) {
            for (int64_t j = 0; j < empty; ++j) k.set(j * 8 + 2, -static_cast<double>(INFINITY));
            for (int64_t i = 0; i < 3; ++i) q.set(i * 8 + 2, 1);
          });
  });
}

// Large logits: the maximum is subtracted before any exponential.
TEST(Attention, largeLogits_vsDouble) {
  on_every_isa([] {
    case_data d({.q_lens = {65}, .k_lens = {65}, .head_dim = 4, .causal = true, .scale = 1.0f});
    for (int64_t i = 0; i < d.q.count(); ++i) d.q.set(i, d.q[i] * 100);
    const expectation e = oracle(d);
    context c;
    begin_step(c, 0);
    ASSERT_EQ(GRAFT_OK, call(c, d.args(), false)) << graft_last_error();
    // Logits of hundreds are themselves rounded to 3e-5.
    expect_within(e.out, d.out, 3e-4, 4, {}, "out");
    expect_within(e.lse, d.lse, 1e-4, 4, {}, "lse");
  });
}

// The gradient along a random direction beside the central difference of the kernel's own forward
// pass. The difference of sums of a few hundred, each off by about 1e-5, over 2e-2: 1e-3 and less.
TEST(Attention, gradient_vsFiniteDifferences) {
  on_every_isa([] {
    for (int dropout : {0, 64}) {
      case_data d({.q_lens = {37, 9}, .k_lens = {41, 9}, .heads = 2, .head_dim = 16,
                   .causal = true, .dropout = dropout});
      context c;
      begin_step(c, 0);
      ASSERT_EQ(GRAFT_OK, call(c, d.args(), false));
      ASSERT_EQ(GRAFT_OK, call(c, d.args(), true));
      for (auto [input, gradient] : {std::pair{&d.q, &d.dq}, {&d.k, &d.dk}, {&d.v, &d.dv}}) {
        numbers random(3);
        const std::vector<double> at = input->values();
        std::vector<double> direction;
        double along = 0;
        for (int64_t i = 0; i < input->count(); ++i) direction.push_back(random.normal());
        const int64_t rows = (input == &d.q ? d.tokens_q : d.tokens_k) - 1;
        for (int64_t i = 0; i < rows * d.stride; ++i)
          along += direction[static_cast<size_t>(i)] * (*gradient)[i];
        double loss[2] = {0, 0};
        constexpr double h = 1e-2;
        for (int side : {0, 1}) {
          for (int64_t i = 0; i < input->count(); ++i) {
            const auto n = static_cast<size_t>(i);
            input->set(i, at[n] + (side == 0 ? -h : h) * direction[n]);
          }
          ASSERT_EQ(GRAFT_OK, call(c, d.args(), false));
          for (int64_t i = 0; i < (d.tokens_q - 1) * d.stride; ++i)
            loss[side] += d.out[i] * d.dout[i];
        }
        for (int64_t i = 0; i < input->count(); ++i) input->set(i, at[static_cast<size_t>(i)]);
        EXPECT_NEAR((loss[1] - loss[0]) / (2 * h), along, 5e-3 * (1 + std::fabs(along)));
      }
    }
  });
}

// ---- errors: nothing is written ---------------------------------------------------------------------

using edit_args = std::function<void(graft_attention_args&)>;

void expect_refused(int status, const std::vector<std::string>& texts, const edit_args& edit,
                    int live = 0) {
  on_every_isa([&] {
    for (bool backward : {false, true}) {
      case_data d({.q_lens = {5, 6}, .k_lens = {7, 8}, .heads = 2, .head_dim = 8});
      context c(2);
      begin_step(c, live);
      graft_attention_args a = d.args();
      int64_t forward_bytes = 0, backward_bytes = 0;
      ASSERT_EQ(GRAFT_OK, graft_attention_workspace(c, &a, 0, &forward_bytes));
      ASSERT_EQ(GRAFT_OK, graft_attention_workspace(c, &a, 1, &backward_bytes));
      workspace space(4 * std::max(forward_bytes, backward_bytes));
      a.workspace = space.data();
      a.workspace_bytes = space.bytes();
      edit(a);
      std::vector<std::string> expected = texts;
      expected.push_back(backward ? "attention_backward" : "attention_forward");
      expect_error(status, backward ? graft_attention_backward(c, &a)
                                    : graft_attention_forward(c, &a), expected);
      for (const array* x : {&d.out, &d.lse, &d.dq, &d.dk, &d.dv})
        for (int64_t i = 0; i < x->count(); ++i) ASSERT_EQ(untouched, (*x)[i]);
    }
  });
}

TEST(Attention, wrongArguments_areNamed) {
  using args = graft_attention_args;
  expect_refused(GRAFT_INVALID_DTYPE, {"dtype", "2"}, [](args& a) { a.dtype = GRAFT_INT32; });
  expect_refused(GRAFT_INVALID_SHAPE, {"head_dim", "1..256", "257"},
                 [](args& a) { a.head_dim = 257; });
  expect_refused(GRAFT_INVALID_SHAPE, {"head_dim", "0"}, [](args& a) { a.head_dim = 0; });
  expect_refused(GRAFT_INVALID_SHAPE, {"heads", "0"}, [](args& a) { a.heads = 0; });
  expect_refused(GRAFT_INVALID_SHAPE, {"batch", "-1"}, [](args& a) { a.batch = -1; });
  expect_refused(GRAFT_INVALID_SHAPE, {"tokens_q", "-1"}, [](args& a) { a.tokens_q = -1; });
  expect_refused(GRAFT_INVALID_SHAPE, {"q", "16", "15"}, [](args& a) { a.q_token_stride = 15; });
  expect_refused(GRAFT_INVALID_SHAPE, {"v", "16", "-1"}, [](args& a) { a.v_token_stride = -1; });
  expect_refused(GRAFT_INVALID_SHAPE, {"out", "16", "3"}, [](args& a) { a.out_token_stride = 3; });
  expect_refused(GRAFT_INVALID_SHAPE, {"k", "2^63"},
                 [](args& a) { a.k_token_stride = INT64_MAX / 2; });
  expect_refused(GRAFT_INVALID_ARGUMENT, {"causal", "2"}, [](args& a) { a.causal = 2; });
  expect_refused(GRAFT_INVALID_SHAPE, {"dropout", "256"}, [](args& a) { a.dropout = 256; });
  expect_refused(GRAFT_INVALID_SHAPE, {"dropout", "-1"}, [](args& a) { a.dropout = -1; });
  expect_refused(GRAFT_INVALID_SHAPE, {"scale", "nan"}, [](args& a) { a.scale = NAN; });
  expect_refused(GRAFT_INVALID_ARGUMENT, {"q", "NULL"}, [](args& a) { a.q = nullptr; });
  expect_refused(GRAFT_INVALID_ARGUMENT, {"k", "NULL"}, [](args& a) { a.k = nullptr; });
  expect_refused(GRAFT_INVALID_ARGUMENT, {"v", "NULL"}, [](args& a) { a.v = nullptr; });
  expect_refused(GRAFT_INVALID_ARGUMENT, {"out", "NULL"}, [](args& a) { a.out = nullptr; });
  expect_refused(GRAFT_INVALID_ARGUMENT, {"lse", "NULL"}, [](args& a) { a.lse = nullptr; });
  expect_refused(GRAFT_INVALID_ARGUMENT, {"cu_seqlens_q", "NULL"},
                 [](args& a) { a.cu_seqlens_q = nullptr; });
  expect_refused(GRAFT_INVALID_ALIGNMENT, {"v", "4 bytes"}, [](args& a) {
    a.v = static_cast<const char*>(a.v) + 1;
  });
  expect_refused(GRAFT_INVALID_ARGUMENT, {"struct_size"}, [](args& a) { a.struct_size = 8; });
}

TEST(Attention, wrongWorkspace_isNamed) {
  using args = graft_attention_args;
  expect_refused(GRAFT_INVALID_SHAPE, {"workspace_bytes"}, [](args& a) { a.workspace_bytes = 64; });
  expect_refused(GRAFT_INVALID_ARGUMENT, {"workspace", "NULL"},
                 [](args& a) { a.workspace = nullptr; });
  expect_refused(GRAFT_INVALID_ALIGNMENT, {"workspace", "64 bytes"}, [](args& a) {
    a.workspace = static_cast<char*>(a.workspace) + 4;
  });
}

TEST(Attention, wrongSequences_areNamed) {
  using args = graft_attention_args;
  static const int32_t from_one[] = {1, 5, 11}, falling[] = {0, 6, 5}, longer[] = {0, 5, 14};
  expect_refused(GRAFT_INVALID_SHAPE, {"cu_seqlens_q[0]", "0", "1"},
                 [](args& a) { a.cu_seqlens_q = from_one; });
  expect_refused(GRAFT_INVALID_SHAPE, {"cu_seqlens_k", "sequence 1", "-1"},
                 [](args& a) { a.cu_seqlens_k = falling; });
  expect_refused(GRAFT_INVALID_SHAPE, {"cu_seqlens_q", "0..6", "sequence 1", "9"},
                 [](args& a) { a.cu_seqlens_q = longer; });
  expect_refused(GRAFT_INVALID_SHAPE, {"cu_seqlens_q[2]", "at most 12 tokens", "14"}, [](args& a) {
    a.cu_seqlens_q = longer;
    a.max_seqlen_q = 100;
  });
  expect_refused(GRAFT_INVALID_SHAPE, {"sequences", "batch = 2", "3"}, [](args&) {}, 3);
}

TEST(Attention, backwardChecksItsOwnPointers) {
  case_data d({.q_lens = {5}, .k_lens = {5}, .head_dim = 8});
  context c;
  for (void* graft_attention_args::*member : {&graft_attention_args::dq, &graft_attention_args::dk,
                                              &graft_attention_args::dv}) {
    graft_attention_args a = d.args();
    a.*member = nullptr;
    expect_error(GRAFT_INVALID_ARGUMENT, call(c, a, true), {"attention_backward", "d", "NULL"});
  }
  graft_attention_args a = d.args();
  a.dout = nullptr;
  expect_error(GRAFT_INVALID_ARGUMENT, call(c, a, true), {"attention_backward", "dout", "NULL"});
  a = d.args();
  a.dk_token_stride = 7;
  expect_error(GRAFT_INVALID_SHAPE, call(c, a, true), {"attention_backward", "dk", "7"});
}

// Workspace grows with the length of one sequence at most, not with its square.
TEST(Attention, workspaceOfLongSequences_isLinear) {
  for (int threads : {1, 2, 16}) {
    context c(threads);
    case_data d({.q_lens = {1}, .k_lens = {1}, .heads = 4});
    graft_attention_args a = d.args();
    for (int backward : {0, 1}) {
      a.tokens_q = a.tokens_k = a.max_seqlen_q = a.max_seqlen_k = 1 << 16;
      int64_t once = 0, twice = 0;
      ASSERT_EQ(GRAFT_OK, graft_attention_workspace(c, &a, backward, &once)) << graft_last_error();
      a.tokens_q = a.tokens_k = a.max_seqlen_q = a.max_seqlen_k = 1 << 17;
      ASSERT_EQ(GRAFT_OK, graft_attention_workspace(c, &a, backward, &twice));
      EXPECT_LE(twice, 2 * once);
      if (backward == 0) {
        EXPECT_EQ(once, twice);
      }
    }
  }
}

}  // namespace
