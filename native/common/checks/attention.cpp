// Arguments of the attention family. Offsets (cu_seqlens, lengths) are device memory; the CPU kernels
// look at them before they start.
#include "../check.h"

namespace graft {
namespace {

constexpr int64_t largest_head_dim = 256;

int check_heads(const char* op, int64_t batch, int64_t heads, int64_t head_dim, int32_t dtype) {
  GRAFT_TRY(check_float_dtype(op, "dtype", dtype));
  GRAFT_TRY(check_range(op, "batch", batch, 0, INT32_MAX));
  GRAFT_TRY(check_range(op, "heads", heads, 1, INT32_MAX));
  return check_range(op, "head_dim", head_dim, 1, largest_head_dim);
}

// A [tokens, H, D] operand by stride.
int check_operand(const char* op, const char* name, const void* pointer, int64_t tokens,
                  int64_t stride, int64_t row, int32_t dtype) {
  GRAFT_TRY(check_stride(op, name, stride, row));
  GRAFT_TRY(check_product(op, name, tokens, stride_or(stride, row), dtype_bytes(dtype)));
  return check_pointer(op, name, pointer, tokens, dtype_bytes(dtype));
}

// A [batch, H, capacity, D] cache fits int64_t; so do the products of fewer of them.
int check_cache(const char* op, int64_t batch, int64_t heads, int64_t head_dim, int64_t capacity,
                int32_t dtype) {
  GRAFT_TRY(check_range(op, "cache_capacity", capacity, 1, INT32_MAX));
  GRAFT_TRY(check_product(op, "batch, heads", batch, heads, head_dim));
  return check_product(op, "cache", batch * heads * head_dim, capacity, dtype_bytes(dtype));
}

int check_flag(const char* op, const char* name, int32_t flag) {
  if (flag == 0 || flag == 1) return GRAFT_OK;
  return fail(GRAFT_INVALID_ARGUMENT, "%s: %s: expected 0 or 1, got %d", op, name, flag);
}

int check_scale(const char* op, float scale) {
  if (__builtin_isfinite(scale)) return GRAFT_OK;
  return fail(GRAFT_INVALID_SHAPE, "%s: scale: expected a finite number, got %g", op,
              static_cast<double>(scale));
}

int check_attention(const char* op, const graft_attention_args& a) {
  GRAFT_TRY(check_attention_sizes(op, a));
  const int64_t row = a.heads * a.head_dim;
  GRAFT_TRY(check_operand(op, "q", a.q, a.tokens_q, a.q_token_stride, row, a.dtype));
  GRAFT_TRY(check_operand(op, "k", a.k, a.tokens_k, a.k_token_stride, row, a.dtype));
  GRAFT_TRY(check_operand(op, "v", a.v, a.tokens_k, a.v_token_stride, row, a.dtype));
  GRAFT_TRY(check_operand(op, "out", a.out, a.tokens_q, a.out_token_stride, row, a.dtype));
  GRAFT_TRY(check_pointer(op, "lse", a.lse, a.tokens_q, 4));
  GRAFT_TRY(check_pointer(op, "cu_seqlens_q", a.cu_seqlens_q, 1, 4));
  return check_pointer(op, "cu_seqlens_k", a.cu_seqlens_k, 1, 4);
}

}  // namespace

int check_attention_sizes(const char* op, const graft_attention_args& a) {
  GRAFT_TRY(check_heads(op, a.batch, a.heads, a.head_dim, a.dtype));
  GRAFT_TRY(check_range(op, "tokens_q", a.tokens_q, 0, INT32_MAX));
  GRAFT_TRY(check_range(op, "tokens_k", a.tokens_k, 0, INT32_MAX));
  GRAFT_TRY(check_range(op, "max_seqlen_q", a.max_seqlen_q, 0, INT32_MAX));
  GRAFT_TRY(check_range(op, "max_seqlen_k", a.max_seqlen_k, 0, INT32_MAX));
  GRAFT_TRY(check_product(op, "heads, tokens_q", a.heads, a.tokens_q, a.head_dim * 4));
  GRAFT_TRY(check_flag(op, "causal", a.causal));
  GRAFT_TRY(check_dropout(op, "dropout", a.dropout));
  if (a.engine < GRAFT_ATTENTION_AUTO || a.engine > GRAFT_ATTENTION_SM90)
    return fail(GRAFT_INVALID_ARGUMENT, "%s: engine: expected 0..2, got %d", op, a.engine);
  return check_scale(op, a.scale);
}

int check_attention_forward(const graft_attention_args& a) {
  return check_attention("attention_forward", a);
}

int check_attention_backward(const graft_attention_args& a) {
  const char* op = "attention_backward";
  GRAFT_TRY(check_attention(op, a));
  const int64_t row = a.heads * a.head_dim;
  GRAFT_TRY(check_operand(op, "dout", a.dout, a.tokens_q, a.dout_token_stride, row, a.dtype));
  GRAFT_TRY(check_operand(op, "dq", a.dq, a.tokens_q, a.dq_token_stride, row, a.dtype));
  GRAFT_TRY(check_operand(op, "dk", a.dk, a.tokens_k, a.dk_token_stride, row, a.dtype));
  return check_operand(op, "dv", a.dv, a.tokens_k, a.dv_token_stride, row, a.dtype);
}

int check_kv_append(const graft_kv_append_args& a) {
  const char* op = "kv_append";
  GRAFT_TRY(check_heads(op, a.batch, a.heads, a.head_dim, a.dtype));
  GRAFT_TRY(check_cache(op, a.batch, a.heads, a.head_dim, a.cache_capacity, a.dtype));
  const int64_t row = a.heads * a.head_dim;
  GRAFT_TRY(check_operand(op, "k", a.k, a.batch, a.k_token_stride, row, a.dtype));
  GRAFT_TRY(check_operand(op, "v", a.v, a.batch, a.v_token_stride, row, a.dtype));
  GRAFT_TRY(check_pointer(op, "k_cache", a.k_cache, a.batch, dtype_bytes(a.dtype)));
  GRAFT_TRY(check_pointer(op, "v_cache", a.v_cache, a.batch, dtype_bytes(a.dtype)));
  GRAFT_TRY(check_optional_pointer(op, "cu_seqlens", a.cu_seqlens, 4));
  return check_pointer(op, "lengths", a.lengths, a.batch, 4);
}

int check_attention_decode_sizes(const char* op, const graft_attention_decode_args& a) {
  GRAFT_TRY(check_heads(op, a.batch, a.heads, a.head_dim, a.dtype));
  GRAFT_TRY(check_flag(op, "extra", a.extra));
  GRAFT_TRY(check_scale(op, a.scale));
  return check_cache(op, a.batch, a.heads, a.head_dim, a.cache_capacity, a.dtype);
}

int check_attention_decode(const graft_attention_decode_args& a) {
  const char* op = "attention_decode";
  GRAFT_TRY(check_attention_decode_sizes(op, a));
  const int64_t row = a.heads * a.head_dim;
  GRAFT_TRY(check_operand(op, "q", a.q, a.batch, a.q_token_stride, row, a.dtype));
  GRAFT_TRY(check_operand(op, "out", a.out, a.batch, a.out_token_stride, row, a.dtype));
  GRAFT_TRY(check_pointer(op, "k_cache", a.k_cache, a.batch, dtype_bytes(a.dtype)));
  GRAFT_TRY(check_pointer(op, "v_cache", a.v_cache, a.batch, dtype_bytes(a.dtype)));
  return check_pointer(op, "lengths", a.lengths, a.batch, 4);
}

}  // namespace graft
