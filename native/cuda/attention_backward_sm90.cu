// Attention's gradients for Hopper: the two kernels of attention_backward.cu by warpgroup products (wgmma) on
// tiles that tensor copies (TMA) bring. The same mathematics, workspace and order of sums: deterministic,
// without atomics.
//
//   operands      those of attention_backward.cu, bf16; q, k, v, dout aligned to 16 bytes, token strides and
//                 D multiples of 8 elements, D <= 64 (at 128, dK, dV, S and dP alone would be 192 registers)
#include "attention_backward_sm90.h"

#include "attention_dkdv_sm90.h"
#include "attention_dq_sm90.h"
#include "attention_sm90_launch.h"

namespace graft::cuda {
namespace {

template <bool dropped>
cudaError_t launch_gradients(const cuda_context& context, const graft_attention_args& a,
                             const backward_params& p) {
  sm90_gradient_params g{};
  g.p = p;
  const bool queries = a.tokens_q > 0, keys = a.tokens_k > 0;
  const auto map_keys = [&](int rows) {
    const cudaError_t status = sm90_map(&g.k_map, a.k, a.tokens_k, a.k_token_stride, a, rows);
    return status != cudaSuccess ? status
                                 : sm90_map(&g.v_map, a.v, a.tokens_k, a.v_token_stride, a, rows);
  };
  cudaError_t status = cudaSuccess;
  if (queries) status = sm90_map(&g.q_map, a.q, a.tokens_q, a.q_token_stride, a, 64);
  if (queries && status == cudaSuccess)
    status = sm90_map(&g.dout_map, a.dout, a.tokens_q, a.dout_token_stride, a, 64);
  if (keys && status == cudaSuccess) status = map_keys(sm90_dq_keys);
  if (status != cudaSuccess) return status;
  g.list = sm90_list_of(context, a, a.max_seqlen_q, a.tokens_q, sm90_q_rows, true);
  if (g.list.tiles > 0)
    status = launch(attention_dq_sm90_kernel<dropped>,
                    {sm90_grid(context, g.list), sm90_threads, sizeof(sm90_dq_shared), context.stream}, g);
  if (keys && status == cudaSuccess) status = map_keys(64);
  if (status != cudaSuccess) return status;
  g.list = sm90_list_of(context, a, a.max_seqlen_k, a.tokens_k, 64 * sm90_consumers, false);
  if (g.list.tiles == 0) return cudaSuccess;
  return launch(attention_dkdv_sm90_kernel<dropped>,
                {sm90_grid(context, g.list), sm90_threads, sizeof(sm90_dkdv_shared), context.stream}, g);
}

}  // namespace

int attention_backward_sm90(const char* op, const cuda_context& context,
                            const graft_attention_args& args, const backward_params& p) {
  GRAFT_TRY(check_sm90(op, context, args, sm90_gradient_dim));
  GRAFT_TRY(check_sm90_operand(op, "dout", args.dout,
                               stride_or(args.dout_token_stride, args.heads * args.head_dim)));
  return check(context, op, args.dropout > 0 ? launch_gradients<true>(context, args, p)
                                             : launch_gradients<false>(context, args, p));
}

}  // namespace graft::cuda
