// Gradients of attention without the score matrix:
//   S = scale Q K^T,  P = exp(S - L),  dP = M * (dO V^T),  delta = rowsum(P * dP) = rowsum(dO * O),
//   dS = P * (dP - delta),  dV = (M * P)^T dO,  dQ = scale dS K,  dK = scale dS^T Q.
//
//   Dao, "FlashAttention-2", arXiv:2307.08691, algorithm 2.
//   paper   code                                 paper   code
//   Q_i     q_tile (dq), q_step (dkdv)           L       lse_HT, row_facts.shift
//   K_j     keys (dq), k_tile (dkdv)             D       row_facts.delta
//   S, P    s                                    dP, dS  dp
//
//   name           dtype        shape        strides        alignment    in/out
//   q, out, dout   fp32, bf16   [Tq, H, D]   token, D, 1    element*     in
//   k, v           fp32, bf16   [Tk, H, D]   token, D, 1    element*     in
//   lse            fp32         [H, Tq]      Tq, 1          4            in
//   dq             fp32, bf16   [Tq, H, D]   token, D, 1    element*     out
//   dk, dv         fp32, bf16   [Tk, H, D]   token, D, 1    element*     out
//   cu_seqlens     int32        [B + 1]                     4            in, device memory
//   workspace      float4       [H, Tq]      Tq, 1          64           row_facts
//   step inputs    struct                                                in, device memory
//   * fast where pointer, token stride and D are multiples of 16 bytes.
//
// Two kernels, one after the other: attention_dq.h, by tiles of queries, and attention_dkdv.h, by tiles
// of keys. Each keeps its sums in registers, in an order that lengths alone decide, and needs no
// atomics; S and dP are taken twice for it (docs/kernels/attention.md counts what that costs).
#include <algorithm>
#include <cmath>
#include <limits>

#include "../common/check.h"
#include "attention_backward_sm90.h"
#include "attention_dkdv.h"
#include "attention_dq.h"

namespace graft::cuda {
namespace {

template <typename T, int head_dim, bool dropped>
cudaError_t launch_backward(const cuda_context& context, backward_params p, int64_t max_queries,
                            int64_t max_keys) {
  constexpr gradient_tile dq = dq_tile<T>(head_dim), dkdv = dkdv_tile<T>(head_dim);
  p.grid.tiles = (max_queries + dq.rows() - 1) / dq.rows() * dq.column_parts();
  const cudaError_t status =
      launch_tiles(attention_dq_kernel<T, head_dim, dropped>, dq.threads(),
                   gradient_shared_bytes<T>(dq), context.stream, p);
  if (status != cudaSuccess) return status;
  p.grid.tiles = (max_keys + dkdv.rows() - 1) / dkdv.rows() * dkdv.column_parts();
  return launch_tiles(attention_dkdv_kernel<T, head_dim, dropped>, dkdv.threads(),
                      dkdv_shared_bytes<T>(dkdv), context.stream, p);
}

template <typename T>
attention_operand operand(const void* first, int64_t token_stride, const graft_attention_args& a) {
  const int64_t stride = stride_or(token_stride, a.heads * a.head_dim);
  return {const_cast<void*>(first), stride, access_bytes<T>(first, stride, a.head_dim)};
}

template <typename T>
backward_params params_of(const cuda_context& context, const graft_attention_args& a) {
  backward_params p{};
  p.q = operand<T>(a.q, a.q_token_stride, a);
  p.k = operand<T>(a.k, a.k_token_stride, a);
  p.v = operand<T>(a.v, a.v_token_stride, a);
  p.out = operand<T>(a.out, a.out_token_stride, a);
  p.dout = operand<T>(a.dout, a.dout_token_stride, a);
  p.dq = operand<T>(a.dq, a.dq_token_stride, a);
  p.dk = operand<T>(a.dk, a.dk_token_stride, a);
  p.dv = operand<T>(a.dv, a.dv_token_stride, a);
  p.lse_HT = a.lse;
  p.rows_HT = static_cast<float4*>(a.workspace);
  p.cu_seqlens_q = a.cu_seqlens_q;
  p.cu_seqlens_k = a.cu_seqlens_k;
  p.step = context.step;
  p.grid.batch = a.batch;
  p.grid.heads = a.heads;
  p.tokens_q = a.tokens_q;
  p.head_dim = static_cast<int>(a.head_dim);
  p.scale = a.scale;
  // As in the forward pass: 0 times a score of -inf must not be NaN.
  p.scale_log2 = std::max(std::fabs(a.scale) * log2_e, std::numeric_limits<float>::min());
  p.negative = a.scale < 0.0f;
  p.keep_scale = 256.0f / static_cast<float>(256 - a.dropout);
  p.dropout = a.dropout;
  p.op_id = a.op_id;
  p.causal = a.causal != 0;
  return p;
}

template <typename T>
cudaError_t launch_backward(const cuda_context& context, const graft_attention_args& a) {
  const backward_params p = params_of<T>(context, a);
  const int64_t queries = std::min(a.max_seqlen_q, a.tokens_q);
  const int64_t keys = std::min(a.max_seqlen_k, a.tokens_k);
  const auto by_head_dim = [&](auto dropped) {
    constexpr bool drop = decltype(dropped)::value;
    if (a.head_dim <= 32) return launch_backward<T, 32, drop>(context, p, queries, keys);
    if (a.head_dim <= 64) return launch_backward<T, 64, drop>(context, p, queries, keys);
    if (a.head_dim <= 96) return launch_backward<T, 96, drop>(context, p, queries, keys);
    if (a.head_dim <= 128) return launch_backward<T, 128, drop>(context, p, queries, keys);
    return launch_backward<T, 256, drop>(context, p, queries, keys);
  };
  return a.dropout > 0 ? by_head_dim(std::true_type{}) : by_head_dim(std::false_type{});
}

// row_facts of each query and head.
int backward_workspace(const char* op, const graft_attention_args& a, int64_t* bytes) {
  GRAFT_TRY(check_product(op, "workspace, heads, tokens_q", a.heads, a.tokens_q, sizeof(float4)));
  *bytes = a.heads * a.tokens_q * static_cast<int64_t>(sizeof(float4));
  return GRAFT_OK;
}

}  // namespace

int attention_backward(cuda_context& context, const graft_attention_args& args) {
  const char* op = "attention_backward";
  int64_t bytes = 0;
  GRAFT_TRY(check_product(op, "batch, heads, max_seqlen_q", args.batch * args.heads,
                          args.max_seqlen_q, 1));
  GRAFT_TRY(check_product(op, "batch, heads, max_seqlen_k", args.batch * args.heads,
                          args.max_seqlen_k, 2));
  GRAFT_TRY(backward_workspace(op, args, &bytes));
  GRAFT_TRY(check_workspace(op, args.workspace, args.workspace_bytes, bytes));
  if (args.engine == GRAFT_ATTENTION_SM90)
    return attention_backward_sm90(op, context, args, params_of<bf16>(context, args));
  return check(context, op,
               args.dtype == GRAFT_BFLOAT16 ? launch_backward<bf16>(context, args)
                                            : launch_backward<float>(context, args));
}

int attention_workspace(const cuda_context&, const graft_attention_args& args, int backward,
                        int64_t* bytes) {
  if (backward != 0) return backward_workspace("attention_workspace", args, bytes);
  *bytes = 0;
  return GRAFT_OK;
}

}  // namespace graft::cuda
