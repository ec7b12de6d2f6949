// Writes the keys and values of the current tokens behind those already in the cache (a ring of
// cache_capacity positions a sequence and head). The cache is [B, H, capacity, D], so that decoding
// reads each head's keys in one run.
#include <cstring>

#include "simd.h"

namespace graft::GRAFT_ISA {
namespace {

template <typename T>
void append(cpu_context& context, const graft_kv_append_args& a) {
  const int64_t d = a.head_dim;
  const int64_t k_row = a.k_token_stride == 0 ? a.heads * d : a.k_token_stride;
  const int64_t v_row = a.v_token_stride == 0 ? a.heads * d : a.v_token_stride;
  const size_t bytes = static_cast<size_t>(d) * sizeof(T);
  const int64_t tasks = a.batch * a.heads;
#pragma omp parallel for num_threads(context.threads) if (tasks * d > 65536)
  for (int64_t task = 0; task < tasks; ++task) {
    const int64_t b = task / a.heads;
    const int64_t h = task % a.heads;
    const int64_t begin = a.cu_seqlens == nullptr ? b : a.cu_seqlens[b];
    const int64_t end = a.cu_seqlens == nullptr ? b + 1 : a.cu_seqlens[b + 1];
    T* k_cache = static_cast<T*>(a.k_cache) + task * a.cache_capacity * d;
    T* v_cache = static_cast<T*>(a.v_cache) + task * a.cache_capacity * d;
    for (int64_t t = begin; t < end; ++t) {
      const int64_t at = (a.lengths[b] + (t - begin)) % a.cache_capacity;
      std::memcpy(k_cache + at * d, static_cast<const T*>(a.k) + t * k_row + h * d, bytes);
      std::memcpy(v_cache + at * d, static_cast<const T*>(a.v) + t * v_row + h * d, bytes);
    }
  }
}

}  // namespace

int kv_append(cpu_context& context, const graft_kv_append_args& a) {
  for (int64_t b = 0; b < a.batch; ++b) {
    if (a.lengths[b] < 0)
      return fail(GRAFT_INVALID_SHAPE, "kv_append: lengths[%lld]: expected at least 0, got %d",
                  static_cast<long long>(b), a.lengths[b]);
    if (a.cu_seqlens != nullptr && (a.cu_seqlens[0] != 0 || a.cu_seqlens[b + 1] < a.cu_seqlens[b]))
      return fail(GRAFT_INVALID_SHAPE, "kv_append: cu_seqlens: expected to rise from 0 (sequence %lld)",
                  static_cast<long long>(b));
  }
  if (a.dtype == GRAFT_BFLOAT16)
    append<bf16>(context, a);
  else
    append<float>(context, a);
  return GRAFT_OK;
}

}  // namespace graft::GRAFT_ISA
