// What the tests of CUDA attention share, forward and backward: problems, the numbers of a case that do
// not depend on the pass, and the rule where infinities and NaN may be.
#pragma once

#include <algorithm>
#include <array>
#include <optional>
#include <sstream>

#include "../../cuda/emulation/runtime.h"
#include "cuda_support.h"

namespace graft_test::cuda_attention {

constexpr uint32_t op_id = 11;
constexpr uint64_t seed = 0xABCDEF0123ull, step = 5;
constexpr double untouched = 7;
constexpr auto infinity = static_cast<double>(INFINITY);
constexpr auto nan_value = static_cast<double>(NAN);

struct problem {
  std::vector<int> q_lens;
  std::vector<int> k_lens{};  // empty: as q_lens
  int64_t heads = 1, head_dim = 64;
  int dtype = GRAFT_BFLOAT16;
  bool causal = false;
  int dropout = 0;
  int64_t pad = 0;                 // elements between rows
  bool packed_qkv = false;         // forward: q, k and v in rows of [3, H, D]
  std::array<int64_t, 8> shift{};  // bytes that q, k, v, out, dout, dq, dk, dv are off 256
  int live = 0;                    // sequences of the step; 0: all
  std::optional<float> scale{};    // 1 / sqrt(D)
  int engine = GRAFT_ATTENTION_AUTO;  // of the device's passes

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

// Lengths and scalars of a problem.
struct case_shape {
  problem p;
  int64_t tokens_q, tokens_k, row;
  std::vector<int32_t> cu_q{0}, cu_k{0};
  float scale;

  static int64_t sum(const std::vector<int>& lens) {
    int64_t total = 0;
    for (int n : lens) total += n;
    return total;
  }
  explicit case_shape(const problem& p)
      : p(p),
        tokens_q(sum(p.q_lens) + 1),  // one row more than the sequences need
        tokens_k(sum(p.keys()) + 1),
        row(p.heads * p.head_dim),
        scale(p.scale.value_or(1.0f / std::sqrt(static_cast<float>(p.head_dim)))) {
    for (int n : p.q_lens) cu_q.push_back(cu_q.back() + n);
    for (int n : p.keys()) cu_k.push_back(cu_k.back() + n);
  }
  numbers random() const {
    return numbers(static_cast<uint64_t>(tokens_q * 131 + tokens_k * 7 + p.head_dim));
  }
  int64_t sequences() const {
    return p.live == 0 ? static_cast<int64_t>(p.q_lens.size()) : p.live;
  }
  // All but the operands and their strides.
  graft_attention_args args(float* lse_to, const int32_t* q_ends, const int32_t* k_ends) const {
    auto a = arguments<graft_attention_args>();
    a.lse = lse_to;
    a.cu_seqlens_q = q_ends;
    a.cu_seqlens_k = k_ends;
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

// Brings the CPU backend into the step of the tests.
inline void begin_step(context& c, const problem& p) {
  auto inputs = arguments<graft_step_inputs>();
  inputs.seed = seed;
  inputs.step = step;
  inputs.sequences = p.live;
  EXPECT_EQ(GRAFT_OK, graft_step_begin(c, &inputs));
}

// One pass of the CPU backend, with its workspace.
inline void run_on_cpu(context& c, graft_attention_args& a, bool backward) {
  int64_t bytes = 0;
  EXPECT_EQ(GRAFT_OK, graft_attention_workspace(c, &a, backward, &bytes)) << graft_last_error();
  workspace space(bytes);
  a.workspace = space.data();
  a.workspace_bytes = bytes;
  EXPECT_EQ(GRAFT_OK, backward ? graft_attention_backward(c, &a) : graft_attention_forward(c, &a))
      << graft_last_error();
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

// Whatever the order of the emulation, `bits` gives the same.
template <typename Bits>
void expect_same_bits_in_any_order(uint64_t orders, const Bits& bits) {
  graft::emulation::set_seed(1);
  const std::vector<uint8_t> expected = bits();
  for (uint64_t order = 2; order <= orders; ++order) {
    graft::emulation::set_seed(order * 7919);
    EXPECT_EQ(expected, bits()) << "order " << order;
  }
}

}  // namespace graft_test::cuda_attention
