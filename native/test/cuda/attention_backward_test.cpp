// CUDA attention backward. Oracle: the gradients by their definitions, in double, on the values as
// stored, with the dropout mask of the tests' own Philox; beside it the CPU backend. Both backends take
// out and the log-sum-exp from a forward pass of their own.
// Tolerance, the architecture's rule: max|got - f64| <= 2 max|CPU - f64| + 2 ulp(max|f64|) a tensor;
// where the CPU's result is infinite or NaN, so is the device's.
#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <sstream>

#include "../../cuda/attention_backward_tiles.h"
#include "cuda_support.h"

using namespace graft_test;
namespace emulation = graft::emulation;

namespace {

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

std::string describe(const problem& p) {
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

gradients on_cpu(const case_data& d) {
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

gradients on_device(const case_data& d) {
  device_case on(d);
  EXPECT_EQ(GRAFT_OK, graft_attention_forward(on.c, &on.a)) << graft_last_error();
  EXPECT_EQ(GRAFT_OK, graft_attention_backward(on.c, &on.a)) << graft_last_error();
  return on.results(d);
}

double keep_of(uint64_t key, int k, int64_t b, int64_t h, int64_t i, int64_t j) {
  if (k == 0) return 1;
  const philox words(key, static_cast<uint32_t>(j / 16), static_cast<uint32_t>(i),
                     static_cast<uint32_t>(h), static_cast<uint32_t>(b));
  const int byte = static_cast<int>(j % 16);
  const int value = static_cast<int>((words.w[byte / 4] >> (8 * (byte % 4))) & 0xFF);
  return value < k ? 0 : 256.0 / (256 - k);
}

// dq, dk, dv; `untouched` where nothing is to be written.
std::vector<std::vector<double>> oracle(const case_data& d) {
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
void compare(const std::vector<double>& exact, const array& cpu, const array& got,
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

void run(const problem& p, const change& edit = nullptr) {
  SCOPED_TRACE(describe(p));
  case_data d(p);
  if (edit) edit(d);
  const auto exact = oracle(d);
  const gradients cpu = on_cpu(d), got = on_device(d);
  for (size_t n = 0; n < 3; ++n) compare(exact[n], cpu[n], got[n], names[DQ + n]);
}

std::vector<uint8_t> bits_of(const gradients& all) {
  std::vector<uint8_t> bits;
  for (const array& x : all) {
    const std::vector<uint8_t> part = x.bits();
    bits.insert(bits.end(), part.begin(), part.end());
  }
  return bits;
}

template <int which>
graft::cuda::gradient_tile tile_of(int dtype, int head_dim) {
  using namespace graft::cuda;
  if (dtype == GRAFT_BFLOAT16)
    return which == DQ ? dq_tile<graft::cuda::bf16>(head_dim)
                       : dkdv_tile<graft::cuda::bf16>(head_dim);
  return which == DQ ? dq_tile<float>(head_dim) : dkdv_tile<float>(head_dim);
}

}  // namespace

// Around the tiles, and around 128 keys, to which rows are normalised anew.
TEST(CudaAttentionBackward, lengthsAcrossTiles_vsDouble) {
  std::vector<int> lengths = {0, 1, 2, 9, 16, 17, 33, 64, 65, 127, 128, 129, 200};
  if (full_grid()) {
    lengths.clear();
    for (int n = 0; n <= 270; ++n) lengths.push_back(n);
  }
  for (int dtype : float_dtypes())
    for (bool causal : {false, true})
      for (int n : lengths)
        if (n > 0 || causal)
          run({.q_lens = {n}, .head_dim = 32, .dtype = dtype, .causal = causal});
}

TEST(CudaAttentionBackward, everyClassAroundItsTiles_vsDouble) {
  for (int dtype : float_dtypes())
    for (int head_dim : {32, 64, 96, 128, 256}) {
      const auto dq = tile_of<DQ>(dtype, head_dim), dkdv = tile_of<DK>(dtype, head_dim);
      for (int off : {-1, 0, 1}) {
        if (!full_grid() && off != head_dim / 32 % 3 - 1) continue;
        for (bool causal : {false, true})
          for (int dropout : {0, 26}) {
            if (!full_grid() && causal != (dropout == 0)) continue;
            run({.q_lens = {std::max(dq.rows(), 2 * dkdv.stream_rows) + off},
                 .k_lens = {std::max(dkdv.rows(), 2 * dq.stream_rows) + off + 16},
                 .head_dim = head_dim,
                 .dtype = dtype,
                 .causal = causal,
                 .dropout = dropout});
          }
      }
    }
}

// More keys than a row is normalised anew for, in each class.
TEST(CudaAttentionBackward, longRows_vsDouble) {
  for (int dtype : float_dtypes())
    for (int head_dim : {32, 64, 96, 128, 256})
      for (bool causal : {false, true}) {
        if (!full_grid() && causal != (head_dim % 64 == 0)) continue;
        run({.q_lens = {37}, .k_lens = {150}, .head_dim = head_dim, .dtype = dtype,
             .causal = causal, .dropout = causal ? 0 : 26});
      }
}

TEST(CudaAttentionBackward, headDims_vsDouble) {
  std::vector<int64_t> dims = {1, 2, 7, 8, 17, 24, 31, 33, 50, 65, 80, 97, 100, 129, 160, 255};
  if (full_grid()) {
    dims.clear();
    for (int64_t d = 1; d <= 256; ++d) dims.push_back(d);
  }
  for (int dtype : float_dtypes())
    for (int64_t D : dims)
      run({.q_lens = {21}, .k_lens = {37}, .heads = 2, .head_dim = D, .dtype = dtype,
           .causal = true, .dropout = D % 2 == 0 ? 26 : 0});
}

TEST(CudaAttentionBackward, queriesAndKeysOfOtherNumber_vsDouble) {
  for (int dtype : float_dtypes())
    for (bool causal : {false, true})
      for (const auto& [q, k] : std::vector<std::pair<int, int>>{
               {5, 9}, {9, 5}, {70, 130}, {130, 70}, {64, 1}, {1, 64}, {1, 200}, {200, 1}, {0, 5},
               {5, 0}, {129, 128}, {128, 129}})
        // Maxima over a few dozen numbers are luck: single rows get more heads.
        run({.q_lens = {q}, .k_lens = {k}, .heads = q == 1 || k == 1 ? 12 : 2, .head_dim = 16,
             .dtype = dtype, .causal = causal, .dropout = causal ? 13 : 0});
}

TEST(CudaAttentionBackward, packedSequences_vsDouble_otherRowsUntouched) {
  for (int dtype : float_dtypes())
    for (int live : {0, 5})
      for (int64_t pad : {0, 5, 8})
        run({.q_lens = {17, 0, 130, 4, 0, 66, 1}, .k_lens = {17, 3, 100, 0, 0, 70, 1}, .heads = 2,
             .head_dim = 24, .dtype = dtype, .causal = live == 0, .dropout = 20, .pad = pad,
             .live = live});
}

// Each pointer alone off its alignment, and all of them.
TEST(CudaAttentionBackward, unalignedPointers_vsDouble) {
  for (int dtype : float_dtypes())
    for (int64_t D : {8, 64}) {
      const int64_t element = dtype == GRAFT_BFLOAT16 ? 2 : 4;
      for (int64_t bytes = element; bytes < 16; bytes += full_grid() ? element : 3 * element)
        for (size_t which = 0; which <= operands; ++which) {
          problem p{.q_lens = {19, 3}, .k_lens = {D == 8 ? 140 : 35, 4}, .head_dim = D,
                    .dtype = dtype, .causal = true};
          for (size_t n = 0; n < operands; ++n)
            if (which == operands || which == n) p.shift[n] = bytes;
          run(p);
        }
    }
}

// q = 0 makes all probabilities 1/n, and dO the identity: an element of dV is 0 where the mask drops and
// not where it keeps.
TEST(CudaAttentionBackward, dropoutMask_isTheContractsBitForBit) {
  for (int dtype : float_dtypes())
    for (int64_t D : {32, 64, 96, 128, 256})
      for (int dropout : {1, 26, 128, 255}) {
        if (!full_grid() && (dropout != 128) != (D == 64)) continue;
        SCOPED_TRACE(std::to_string(D) + " " + std::to_string(dropout));
        const int64_t queries = std::min<int64_t>(D, 70), keys = 50;
        case_data d({.q_lens = {3, static_cast<int>(queries)}, .k_lens = {2, keys}, .heads = 2,
                     .head_dim = D, .dtype = dtype, .dropout = dropout});
        for (int64_t i = 0; i < d.x[Q].count(); ++i) d.x[Q].set(i, 0);
        for (int64_t i = 0; i < d.tokens_q; ++i)
          for (int64_t h = 0; h < 2; ++h)
            for (int64_t c = 0; c < D; ++c) d.x[DOUT].set(d.at(i, h, c), i - 3 == c);
        const gradients got = on_device(d);
        const uint64_t key = stream_key(seed, step, op_id);
        for (int64_t j = 0; j < keys; ++j)
          for (int64_t h = 0; h < 2; ++h)
            for (int64_t i = 0; i < queries; ++i)
              ASSERT_EQ(keep_of(key, dropout, 1, h, i, j) != 0, got[2][d.at(2 + j, h, i)] != 0)
                  << "query " << i << " key " << j;
      }
}

// The softmax of one key is 1 whatever its logit: no gradient, not even a rounding's.
TEST(CudaAttentionBackward, loneKeys_haveNoGradient) {
  for (int dtype : float_dtypes())
    for (int dropout : {0, 100}) {
      case_data d({.q_lens = {70}, .k_lens = {1}, .heads = 3, .dtype = dtype, .dropout = dropout,
                   .scale = 1.0f});
      const gradients got = on_device(d);
      for (int64_t i = 0; i < d.row * 70; ++i) ASSERT_EQ(0, got[0][i]) << i;
      for (int64_t i = 0; i < d.row; ++i) ASSERT_EQ(0, got[1][i]) << i;
    }
}

TEST(CudaAttentionBackward, scaleOfAnySign_vsDouble) {
  for (int dtype : float_dtypes())
    for (float scale : {-0.5f, 0.0f, 1.0f})
      for (int keys : {66, 140})
        run({.q_lens = {70}, .k_lens = {keys}, .head_dim = 16, .dtype = dtype, .causal = true,
             .scale = scale});
}

// Logits of hundreds: their log-sum-exp is rounded at its own magnitude.
TEST(CudaAttentionBackward, largeLogits_vsDouble) {
  for (int dtype : float_dtypes())
    for (int n : {60, 140})
      run({.q_lens = {n}, .head_dim = 32, .dtype = dtype, .causal = true, .scale = 1.0f},
          [](case_data& d) {
            for (int64_t i = 0; i < d.x[Q].count(); ++i) d.x[Q].set(i, d.x[Q][i] * 30);
          });
}

// Infinities and NaN reach the rows that they reach on the CPU, and no others.
TEST(CudaAttentionBackward, badNumbers_stayInTheirRows) {
  for (int dtype : float_dtypes())
    for (int64_t D : {20, 64, 200})
      for (int n : {40, 140}) {
        if (!full_grid() && D != 20 && (n == 140) != (D == 64)) continue;
        for (int64_t bad : {13, 37}) {
          const problem p{.q_lens = {n}, .head_dim = D, .dtype = dtype, .causal = true};
          const int64_t at = bad * D + 3;
          SCOPED_TRACE("token " + std::to_string(bad));
          for (int which : {Q, K, V, DOUT}) {
            SCOPED_TRACE(names[which]);
            run(p, [&](case_data& d) { d.x[static_cast<size_t>(which)].set(at, nan_value); });
          }
          run(p, [&](case_data& d) { d.x[V].set(at, infinity); });
          // Logits of -inf for the queries whose number in that column is positive, of +inf else.
          run(p, [&](case_data& d) { d.x[K].set(at, -infinity); });
        }
      }
}

// Queries that see no key, before those that do, add nothing whatever they hold.
TEST(CudaAttentionBackward, rowsWithoutKeys_addNothing) {
  for (int dtype : float_dtypes())
    run({.q_lens = {90}, .k_lens = {40}, .head_dim = 16, .dtype = dtype, .causal = true},
        [](case_data& d) {
          for (int64_t i = 0; i < 50 * 16; ++i) {
            d.x[Q].set(i, nan_value);
            d.x[DOUT].set(i, infinity);
          }
        });
}

// A row all of whose logits are -inf counts as one without keys.
TEST(CudaAttentionBackward, rowsOfMinusInfinity_areEmpty) {
  for (int dtype : float_dtypes())
    for (int empty : {70, 200})
      run({.q_lens = {3}, .k_lens = {200}, .head_dim = 8, .dtype = dtype}, [&](case_data& d) {
        for (int64_t j = 0; j < empty; ++j) d.x[K].set(j * 8 + 2, -infinity);
        for (int64_t i = 0; i < 3; ++i) d.x[Q].set(i * 8 + 2, 1);
      });
}

// Any order of warps and blocks gives the same bits.
TEST(CudaAttentionBackward, orders_sameBits) {
  GRAFT_SKIP_ON_REAL_CARD();
  for (int dtype : float_dtypes())
    for (int64_t D : {64, 256}) {
      const case_data d({.q_lens = {140, 5}, .k_lens = {150, 0}, .head_dim = D, .dtype = dtype,
                         .causal = true, .dropout = 40});
      emulation::set_seed(1);
      const std::vector<uint8_t> expected = bits_of(on_device(d));
      for (uint64_t order = 2; order <= (full_grid() ? 40u : 4u); ++order) {
        emulation::set_seed(order * 7919);
        EXPECT_EQ(expected, bits_of(on_device(d))) << "order " << order;
      }
    }
}

// Gradients of a packed [tokens, 3, H, D] product, read and written in place of one another.
TEST(CudaAttentionBackward, packedQkv_asApart) {
  for (int dtype : float_dtypes()) {
    const problem p{.q_lens = {40, 0, 77}, .heads = 2, .head_dim = 64, .dtype = dtype,
                    .causal = true};
    const case_data d(p);
    const gradients apart = on_device(d);
    device_case on(d);
    const int64_t element = dtype == GRAFT_BFLOAT16 ? 2 : 4, tokens = d.tokens_q;
    array qkv(3 * tokens * d.row, dtype);
    for (int64_t i = 0; i < tokens * d.row; ++i)
      for (int64_t part = 0; part < 3; ++part)
        qkv.set(i / d.row * 3 * d.row + part * d.row + i % d.row,
                d.x[static_cast<size_t>(part)][i]);
    device_array in(on.c, qkv), out(on.c, qkv);
    graft_attention_args a = on.a;
    const auto part = [&](const device_array& x, int64_t n) {
      return x.data<char>() + n * d.row * element;
    };
    a.q = part(in, 0);
    a.k = part(in, 1);
    a.v = part(in, 2);
    a.dq = part(out, 0);
    a.dk = part(out, 1);
    a.dv = part(out, 2);
    a.q_token_stride = a.k_token_stride = a.v_token_stride = a.dq_token_stride =
        a.dk_token_stride = a.dv_token_stride = 3 * d.row;
    ASSERT_EQ(GRAFT_OK, graft_attention_forward(on.c, &a)) << graft_last_error();
    ASSERT_EQ(GRAFT_OK, graft_attention_backward(on.c, &a)) << graft_last_error();
    on.c.synchronize();
    array got(qkv.count(), dtype);
    out.download(got);
    for (int64_t i = 0; i < (tokens - 1) * d.row; ++i)
      for (int64_t n = 0; n < 3; ++n)
        ASSERT_EQ(apart[static_cast<size_t>(n)][i],
                  got[i / d.row * 3 * d.row + n * d.row + i % d.row])
            << names[DQ + n] << " " << i;
  }
}

// Offsets of 2^31 elements and more. The memory between the rows is never touched, so it costs address
// space only.
TEST(CudaAttentionBackward, offsetsBeyond32Bits) {
  constexpr int64_t D = 16;
  for (const std::vector<int32_t>& ends : {std::vector<int32_t>{0, 2, 4}, {0, 4, 4}, {0, 66, 66}}) {
    const int32_t tokens = ends[2];
    const int64_t stride = int64_t{1} << (tokens == 4 ? 30 : 25);
    const case_data d({.q_lens = {ends[1], tokens - ends[1]}, .head_dim = D, .causal = true});
    device_case on(d);
    const gradients near = on_device(d);
    void* memory = nullptr;
    ASSERT_EQ(GRAFT_OK, graft_malloc(on.c, ((tokens - 1) * stride + operands * D) * 2, &memory))
        << graft_last_error();
    auto* base = static_cast<uint16_t*>(memory);
    for (int64_t t = 0; t < tokens; ++t) {
      std::vector<uint16_t> row;
      for (const array& x : d.x)
        for (int64_t i = 0; i < D; ++i)
          row.push_back(float_to_bf16(static_cast<float>(x[t * D + i])));
      ASSERT_EQ(GRAFT_OK, graft_memcpy(on.c, base + t * stride, row.data(), operands * D * 2,
                                       GRAFT_HOST_TO_DEVICE));
      on.c.synchronize();
    }
    std::array<void*, operands> to{};
    for (int64_t n = 0; n < operands; ++n) to[static_cast<size_t>(n)] = base + n * D;
    graft_attention_args a =
        d.args(to, on.lse.data<float>(), on.cu_q.data<int32_t>(), on.cu_k.data<int32_t>());
    a.q_token_stride = a.k_token_stride = a.v_token_stride = a.out_token_stride =
        a.dout_token_stride = a.dq_token_stride = a.dk_token_stride = a.dv_token_stride = stride;
    a.workspace = on.a.workspace;
    a.workspace_bytes = on.a.workspace_bytes;
    ASSERT_EQ(GRAFT_OK, graft_attention_forward(on.c, &a)) << graft_last_error();
    ASSERT_EQ(GRAFT_OK, graft_attention_backward(on.c, &a)) << graft_last_error();
    on.c.synchronize();
    for (int64_t t = 0; t < tokens; ++t) {
      std::vector<uint16_t> row(3 * D);
      ASSERT_EQ(GRAFT_OK, graft_memcpy(on.c, row.data(), base + t * stride + DQ * D, 3 * D * 2,
                                       GRAFT_DEVICE_TO_HOST));
      on.c.synchronize();
      for (int64_t i = 0; i < 3 * D; ++i)
        EXPECT_EQ(near[static_cast<size_t>(i / D)][t * D + i % D],
                  static_cast<double>(bf16_to_float(row[static_cast<size_t>(i)])));
    }
    ASSERT_EQ(GRAFT_OK, graft_free(on.c, memory));
  }
}

// A captured call reads the step of each replay: live sequences and the mask.
TEST(CudaAttentionBackward, capturedCall_readsTheStepOfItsReplay) {
  const case_data d({.q_lens = {20, 30}, .heads = 2, .head_dim = 32, .dropout = 64});
  device_case on(d);
  ASSERT_EQ(GRAFT_OK, graft_attention_forward(on.c, &on.a)) << graft_last_error();
  ASSERT_EQ(GRAFT_OK, graft_capture_begin(on.c)) << graft_last_error();
  ASSERT_EQ(GRAFT_OK, graft_attention_backward(on.c, &on.a)) << graft_last_error();
  graft_graph* graph = nullptr;
  ASSERT_EQ(GRAFT_OK, graft_capture_end(on.c, &graph)) << graft_last_error();
  std::vector<std::vector<uint8_t>> all;
  for (int live : {2, 1})
    for (uint64_t s : {3u, 4u}) {
      on.c.step(seed, s, 0, 1, live);
      for (size_t n : {DQ, DK, DV}) on.x[n]->upload(d.x[n].data());
      ASSERT_EQ(GRAFT_OK, graft_graph_launch(on.c, graph)) << graft_last_error();
      const gradients replayed = on.results(d);
      for (size_t n : {DQ, DK, DV}) on.x[n]->upload(d.x[n].data());
      ASSERT_EQ(GRAFT_OK, graft_attention_backward(on.c, &on.a)) << graft_last_error();
      EXPECT_EQ(bits_of(on.results(d)), bits_of(replayed));
      for (const array& x : replayed)
        for (int64_t i = 0; i < x.count(); ++i)
          ASSERT_EQ(i / d.stride >= (live == 2 ? 50 : 20), x[i] == untouched) << i;
      all.push_back(bits_of(replayed));
    }
  EXPECT_NE(all[0], all[1]) << "another step draws another mask";
  ASSERT_EQ(GRAFT_OK, graft_graph_destroy(on.c, graph));
}

TEST(CudaAttentionBackward, nothingToDo_isDone) {
  const case_data d({.q_lens = {4}, .head_dim = 8});
  device_case on(d);
  on.a.batch = 0;
  EXPECT_EQ(GRAFT_OK, graft_attention_backward(on.c, &on.a)) << graft_last_error();
  on.a.batch = 1;
  on.a.max_seqlen_q = on.a.max_seqlen_k = 0;
  EXPECT_EQ(GRAFT_OK, graft_attention_backward(on.c, &on.a)) << graft_last_error();
  for (const array& x : on.results(d))
    for (int64_t i = 0; i < x.count(); ++i) ASSERT_EQ(untouched, x[i]);
}

TEST(CudaAttentionBackward, wrongArguments_areNamed) {
  const case_data d({.q_lens = {4}, .head_dim = 8});
  device_case on(d);
  graft_attention_args a = on.a;
  a.dk_token_stride = 7;
  expect_error(GRAFT_INVALID_SHAPE, graft_attention_backward(on.c, &a),
               {"attention_backward", "dk", "7"});
  a = on.a;
  a.dout = nullptr;
  expect_error(GRAFT_INVALID_ARGUMENT, graft_attention_backward(on.c, &a),
               {"attention_backward", "dout", "NULL"});
  a = on.a;
  a.workspace_bytes -= 1;
  expect_error(GRAFT_INVALID_SHAPE, graft_attention_backward(on.c, &a),
               {"attention_backward", "workspace_bytes"});
  a = on.a;
  a.workspace = nullptr;
  expect_error(GRAFT_INVALID_ARGUMENT, graft_attention_backward(on.c, &a),
               {"attention_backward", "workspace", "NULL"});
  a = on.a;
  a.workspace = static_cast<char*>(a.workspace) + 4;
  expect_error(GRAFT_INVALID_ALIGNMENT, graft_attention_backward(on.c, &a),
               {"attention_backward", "workspace", "64 bytes"});
}

// 16 bytes a query and head, whatever the lengths.
TEST(CudaAttentionBackward, workspace_isLinearInTokens) {
  cuda_context c;
  auto a = arguments<graft_attention_args>();
  a.batch = 2;
  a.heads = 12;
  a.head_dim = 64;
  a.scale = 0.125f;
  a.tokens_q = a.tokens_k = a.max_seqlen_q = a.max_seqlen_k = 1 << 20;
  int64_t bytes = -1;
  ASSERT_EQ(GRAFT_OK, graft_attention_workspace(c, &a, 1, &bytes)) << graft_last_error();
  EXPECT_EQ(int64_t{16} * 12 << 20, bytes);
  ASSERT_EQ(GRAFT_OK, graft_attention_workspace(c, &a, 0, &bytes)) << graft_last_error();
  EXPECT_EQ(0, bytes);
}

// What sm_86, sm_89 and sm_120 give a block.
TEST(CudaAttentionBackward, tiles_fitEveryCard) {
  using namespace graft::cuda;
  for (int head_dim : {32, 64, 96, 128, 256}) {
    EXPECT_LE(gradient_shared_bytes<graft::cuda::bf16>(dq_tile<graft::cuda::bf16>(head_dim)),
              99 * 1024);
    EXPECT_LE(gradient_shared_bytes<float>(dq_tile<float>(head_dim)), 99 * 1024);
    EXPECT_LE(dkdv_shared_bytes<graft::cuda::bf16>(dkdv_tile<graft::cuda::bf16>(head_dim)),
              99 * 1024);
    EXPECT_LE(dkdv_shared_bytes<float>(dkdv_tile<float>(head_dim)), 99 * 1024);
  }
}
