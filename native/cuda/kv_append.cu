// Writes the keys and values of the current tokens behind those already in the cache (a ring of
// cache_capacity positions a sequence and head). The cache is [B, H, capacity, D], so that decoding
// reads each head's keys in one run. Words of 16 bytes, or of less if an operand is aligned to
// less.
//
//   name               dtype        shape               strides        in/out
//   k, v               fp32, bf16   [T, H, D]           token, D, 1    in
//   k_cache, v_cache   fp32, bf16   [B, H, capacity, D] packed         in, out
//   cu_seqlens         int32        [B + 1] or NULL                    in
//   lengths            int32        [B]                                in
#include <algorithm>

#include "../common/check.h"
#include "context.h"

namespace graft::cuda {
namespace {

constexpr int threads = 256;

// Sizes and strides count words.
struct append_params {
  const void* k;
  const void* v;
  void* k_cache;
  void* v_cache;
  const int32_t* cu_seqlens;
  const int32_t* lengths;
  const step_state* step;
  int64_t k_token_stride, v_token_stride;
  int64_t batch, heads, head_words, cache_capacity;
};

template <typename Word>
__global__ void __launch_bounds__(threads) kv_append_kernel(append_params p) {
  const auto* k = static_cast<const Word*>(p.k);
  const auto* v = static_cast<const Word*>(p.v);
  auto* k_cache = static_cast<Word*>(p.k_cache);
  auto* v_cache = static_cast<Word*>(p.v_cache);
  const int64_t sequences = p.step->inputs.sequences;
  const int64_t live = sequences == 0 || sequences > p.batch ? p.batch : sequences;
  const int64_t row_words = p.heads * p.head_words;
  for (int64_t b = blockIdx.y; b < live; b += gridDim.y) {
    const int64_t begin = p.cu_seqlens == nullptr ? b : p.cu_seqlens[b];
    const int64_t end = p.cu_seqlens == nullptr ? b + 1 : p.cu_seqlens[b + 1];
    // Of more tokens than the ring holds the last ones stay.
    const int64_t first = end - begin > p.cache_capacity ? end - p.cache_capacity : begin;
    const int64_t words = (end - first) * row_words;
    for (int64_t i = int64_t{blockIdx.x} * threads + threadIdx.x; i < words;
         i += int64_t{gridDim.x} * threads) {
      const int64_t t = first + i / row_words, word = i % row_words;
      const int64_t head = word / p.head_words, c = word % p.head_words;
      const int64_t position = (p.lengths[b] + (t - begin)) % p.cache_capacity;
      const int64_t to = ((b * p.heads + head) * p.cache_capacity + position) * p.head_words + c;
      const Word key = load_readonly(k + t * p.k_token_stride + word);
      const Word value = load_readonly(v + t * p.v_token_stride + word);
      store(k_cache + to, key);
      store(v_cache + to, value);
    }
  }
}

template <typename Word>
cudaError_t launch_append(const cuda_context& context, const graft_kv_append_args& a) {
  const int64_t element = dtype_bytes(a.dtype), row = a.heads * a.head_dim;
  const auto words = [&](int64_t elements) {
    return elements * element / static_cast<int64_t>(sizeof(Word));
  };
  const append_params p = {a.k,
                           a.v,
                           a.k_cache,
                           a.v_cache,
                           a.cu_seqlens,
                           a.lengths,
                           context.step,
                           words(stride_or(a.k_token_stride, row)),
                           words(stride_or(a.v_token_stride, row)),
                           a.batch,
                           a.heads,
                           words(a.head_dim),
                           a.cache_capacity};
  // How many tokens there are only the device knows; a prompt keeps every multiprocessor busy.
  const int64_t sequences = std::min<int64_t>(a.batch, 65535);
  const int64_t tokens = a.cu_seqlens == nullptr ? 1 : a.cache_capacity;
  const int64_t wanted = (tokens * words(row) + threads - 1) / threads;
  const int64_t most = std::max<int64_t>(1, 8 * context.multiprocessors / sequences);
  return launch(kv_append_kernel<Word>,
                {dim3(static_cast<unsigned>(std::min(wanted, most)),
                      static_cast<unsigned>(sequences)),
                 threads, 0, context.stream},
                p);
}

// Bytes of the largest word that every row begins and ends on.
int64_t word_bytes(const graft_kv_append_args& a) {
  const auto element = static_cast<uintptr_t>(dtype_bytes(a.dtype));
  uintptr_t bits = 16 | static_cast<uintptr_t>(a.head_dim) * element |
                   static_cast<uintptr_t>(a.k_token_stride) * element |
                   static_cast<uintptr_t>(a.v_token_stride) * element;
  for (const void* pointer : {a.k, a.v, const_cast<const void*>(a.k_cache),
                              const_cast<const void*>(a.v_cache)})
    bits |= reinterpret_cast<uintptr_t>(pointer);
  return static_cast<int64_t>(bits & (~bits + 1));
}

}  // namespace

int kv_append(cuda_context& context, const graft_kv_append_args& args) {
  const char* op = "kv_append";
  if (args.batch == 0) return GRAFT_OK;
  switch (word_bytes(args)) {
    case 16: return check(context, op, launch_append<uint4>(context, args));
    case 8: return check(context, op, launch_append<uint2>(context, args));
    case 4: return check(context, op, launch_append<uint32_t>(context, args));
    default: return check(context, op, launch_append<uint16_t>(context, args));
  }
}

}  // namespace graft::cuda
