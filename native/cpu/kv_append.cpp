// Writes the keys and values of the current tokens behind those already in the cache (a ring of
// cache_capacity positions a sequence and head). The cache is [B, H, capacity, D], so that decoding
// reads each head's keys in one run.
//
//   name               dtype        shape               strides        in/out
//   k, v               fp32, bf16   [T, H, D]           token, D, 1    in
//   k_cache, v_cache   fp32, bf16   [B, H, capacity, D] packed         in, out
//   cu_seqlens         int32        [B + 1] or NULL                    in
//   lengths            int32        [B]                                in
#include "attention_tiles.h"

namespace graft::GRAFT_ISA {
namespace {

template <typename T>
void append(const cpu_context& context, const graft_kv_append_args& a, int64_t live) {
  const int64_t d = a.head_dim;
  const int64_t k_row = stride_or(a.k_token_stride, a.heads * d);
  const int64_t v_row = stride_or(a.v_token_stride, a.heads * d);
  const size_t bytes = static_cast<size_t>(d) * sizeof(T);
  const int64_t tokens = a.cu_seqlens == nullptr ? live : a.cu_seqlens[live];
  parallel_for(context, live * a.heads, tokens * a.heads * d, [&](int64_t task) {
    const int64_t b = task / a.heads;
    const int64_t head = task % a.heads * d;
    const int64_t begin = a.cu_seqlens == nullptr ? b : a.cu_seqlens[b];
    const int64_t end = a.cu_seqlens == nullptr ? b + 1 : a.cu_seqlens[b + 1];
    T* k_cache = static_cast<T*>(a.k_cache) + task * a.cache_capacity * d;
    T* v_cache = static_cast<T*>(a.v_cache) + task * a.cache_capacity * d;
    // Of more tokens than the ring holds the last ones stay.
    for (int64_t t = at_least(begin, end - a.cache_capacity); t < end; ++t) {
      const int64_t at = (a.lengths[b] + (t - begin)) % a.cache_capacity * d;
      std::memcpy(k_cache + at, static_cast<const T*>(a.k) + t * k_row + head, bytes);
      std::memcpy(v_cache + at, static_cast<const T*>(a.v) + t * v_row + head, bytes);
    }
  });
}

}  // namespace

int kv_append(cpu_context& context, const graft_kv_append_args& a) {
  const char* op = "kv_append";
  int64_t live = 0;
  GRAFT_TRY(live_sequences(op, context, a.batch, &live));
  if (a.cu_seqlens != nullptr)
    GRAFT_TRY(check_offsets(op, "cu_seqlens", a.cu_seqlens, live, INT32_MAX, INT32_MAX));
  for (int64_t b = 0; b < live; ++b)
    if (a.lengths[b] < 0)
      return fail(GRAFT_INVALID_SHAPE, "%s: lengths[%lld]: expected at least 0, got %d", op,
                  static_cast<long long>(b), a.lengths[b]);
  if (a.dtype == GRAFT_BFLOAT16)
    append<bf16>(context, a, live);
  else
    append<float>(context, a, live);
  return GRAFT_OK;
}

}  // namespace graft::GRAFT_ISA
