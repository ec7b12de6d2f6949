// Host side of the Hopper attention: what it takes, tensor maps, lists of tiles.
#pragma once

#include <algorithm>

#include "../common/check.h"
#include "attention_sm90_tiles.h"

namespace graft::cuda {

inline int64_t sm90_tile_count(int64_t max_seqlen, int64_t tokens, int64_t rows) {
  return (std::min(max_seqlen, tokens) + rows - 1) / rows;
}

// GRAFT_UNSUPPORTED, with the reason, for what a tensor copy cannot read.
inline int check_sm90_operand(const char* op, const char* name, const void* pointer,
                              int64_t token_stride) {
  if (reinterpret_cast<uintptr_t>(pointer) % 16 != 0)
    return fail(GRAFT_UNSUPPORTED, "%s: engine 2 (sm_90): %s: expected an address aligned to 16 bytes", op,
                name);
  constexpr int64_t longest = (int64_t{1} << 40) / 2;
  if (token_stride % 8 != 0 || token_stride >= longest)
    return fail(GRAFT_UNSUPPORTED,
                "%s: engine 2 (sm_90): %s: expected a token stride that is a multiple of 8 below %lld, "
                "got %lld",
                op, name, static_cast<long long>(longest), static_cast<long long>(token_stride));
  return GRAFT_OK;
}

// The same for what else the kernels cannot do and where they cannot run.
inline int check_sm90(const char* op, const cuda_context& context, const graft_attention_args& a,
                      int64_t most_head_dim) {
  if (!runs_sm90a(context.capability))
    return fail(GRAFT_UNSUPPORTED,
                "%s: engine 2 (sm_90): expected compute capability 9.0, CUDA device %d has %d.%d", op,
                context.device, context.capability / 10, context.capability % 10);
  if (a.dtype != GRAFT_BFLOAT16)
    return fail(GRAFT_UNSUPPORTED, "%s: engine 2 (sm_90): dtype: expected bfloat16, got float32", op);
  if (a.head_dim > most_head_dim || a.head_dim % 8 != 0)
    return fail(GRAFT_UNSUPPORTED,
                "%s: engine 2 (sm_90): head_dim: expected a multiple of 8 up to %lld, got %lld", op,
                static_cast<long long>(most_head_dim), static_cast<long long>(a.head_dim));
  // No tile has fewer than 64 rows.
  const int64_t tiles = std::max(sm90_tile_count(a.max_seqlen_q, a.tokens_q, 64),
                                 sm90_tile_count(a.max_seqlen_k, a.tokens_k, 64));
  if (a.batch * a.heads > (INT32_MAX - context.multiprocessors) / std::max<int64_t>(tiles, 1))
    return fail(GRAFT_UNSUPPORTED,
                "%s: engine 2 (sm_90): batch x heads of %lld and sequences of %lld tiles are 2^31 tiles or "
                "more",
                op, static_cast<long long>(a.batch * a.heads), static_cast<long long>(tiles));
  const int64_t row = a.heads * a.head_dim;
  GRAFT_TRY(check_sm90_operand(op, "q", a.q, stride_or(a.q_token_stride, row)));
  GRAFT_TRY(check_sm90_operand(op, "k", a.k, stride_or(a.k_token_stride, row)));
  return check_sm90_operand(op, "v", a.v, stride_or(a.v_token_stride, row));
}

// [tokens, H, D] in boxes of one panel.
inline cudaError_t sm90_map(tensor_map* to, const void* first, int64_t tokens, int64_t token_stride,
                            const graft_attention_args& a, int rows) {
  const auto bytes = [](int64_t elements) { return static_cast<uint64_t>(2 * elements); };
  return make_tensor_map(to, first,
                         {static_cast<uint64_t>(a.head_dim), static_cast<uint64_t>(a.heads),
                          static_cast<uint64_t>(tokens)},
                         {bytes(a.head_dim), bytes(stride_or(token_stride, a.heads * a.head_dim))},
                         {sm90_columns, 1, static_cast<uint32_t>(rows)});
}

// Tiles of `rows` queries or keys; none if there is no sequence.
inline sm90_list sm90_list_of(const cuda_context& context, const graft_attention_args& a,
                              int64_t max_seqlen, int64_t tokens, int rows, bool late_first) {
  const int64_t tiles = a.batch > 0 ? sm90_tile_count(max_seqlen, tokens, rows) : 0;
  return {a.cu_seqlens_q, a.cu_seqlens_k, context.step, static_cast<int>(a.heads),
          static_cast<uint32_t>(a.batch * a.heads), static_cast<uint32_t>(tiles), a.causal != 0,
          late_first};
}

// A block a multiprocessor.
inline dim3 sm90_grid(const cuda_context& context, const sm90_list& list) {
  return dim3(static_cast<unsigned>(std::min<int64_t>(int64_t{list.all_heads} * list.tiles,
                                                      context.multiprocessors)));
}

}  // namespace graft::cuda
