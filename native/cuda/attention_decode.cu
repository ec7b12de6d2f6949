// One query a sequence against its KV cache: out = softmax(scale q K^T) V.
//
//   name               dtype        shape               strides        in/out
//   q                  fp32, bf16   [B, H, D]           token, D, 1    in
//   k_cache, v_cache   fp32, bf16   [B, H, capacity, D] packed         in
//   out                fp32, bf16   [B, H, D]           token, D, 1    out
//   lengths            int32        [B]                                in
//   workspace: f32 [B, H, parts, part_header + D rounded up to 16]
//
// Each key and value is read once, and that is the cost. The keys are split in parts of split_keys,
// as on the CPU, a block each; a warp takes a quarter of a part with a maximum m, a sum l and an
// output of its own. Warps, then parts, are joined in order:
//   m = max m_p,  l = sum l_p e^{m_p - m},  out = sum out_p e^{m_p - m} / l
// (the running softmax of FlashAttention-2, arXiv:2307.08691, section 3.1, over parts).
// A sequence of one part is finished by its block; a second kernel joins longer ones.
//
// Eight columns a lane: 4, 8, 16 or 32 lanes read a key, a warp as many keys as fit at a time, in
// whole cache lines.
#include <algorithm>
#include <climits>

#include "../common/check.h"
#include "context.h"
#include "reduce.h"
#include "row_chunks.h"

namespace graft::cuda {
namespace {

constexpr int split_keys = 256;
constexpr int threads = 128;
constexpr int warps = threads / warp_size;
constexpr int warp_keys = split_keys / warps;
constexpr int columns = 8;  // a lane
constexpr int largest_head_dim = 256;
constexpr int part_header = 16;  // [m, l, ...]
constexpr int join_threads = 128;

constexpr float log2_e = 1.44269504f;

template <typename T>
struct decode_params {
  const T* q;
  const T* k_cache;
  const T* v_cache;
  T* out;
  const int32_t* lengths;
  float* parts;
  const step_state* step;
  int64_t q_token_stride, out_token_stride;
  int64_t batch, heads, cache_capacity;
  int64_t most_parts, part_stride;
  int head_dim;
  int extra;
  float scale;
};

struct shared_state {
  float scores[split_keys];
  float top[warps], sum[warps];
  float out[warps][largest_head_dim];
};

GRAFT_DEVICE float minus_infinity() { return float_from_bits(0xFF800000u); }
// Nothing but -inf has no maximum to subtract: e^(-inf - 0) is the 0 wanted.
GRAFT_DEVICE float shift_of(float top) { return top == minus_infinity() ? 0.0f : top; }
GRAFT_DEVICE float power(float score, float shift) { return exp2_approx((score - shift) * log2_e); }

template <typename T>
GRAFT_DEVICE int64_t live_sequences(const decode_params<T>& p) {
  const int64_t sequences = p.step->inputs.sequences;
  return sequences == 0 || sequences > p.batch ? p.batch : sequences;
}
template <typename T>
GRAFT_DEVICE int64_t cached_keys(const decode_params<T>& p, int64_t b) {
  const int64_t keys = int64_t{p.lengths[b]} + p.extra;
  return keys < p.cache_capacity ? keys : p.cache_capacity;
}

// Columns [column, column + 8) of a row of d; 0 behind its end.
template <bool aligned, typename T>
GRAFT_DEVICE void load_columns(const T* row, int column, int d, float (&x)[columns]) {
  constexpr int n = chunk_elements<T>;
  GRAFT_UNROLL
  for (int first = 0; first < columns; first += n) {
    float values[n];
    if constexpr (aligned) {
      uint4 chunk = make_uint4(0, 0, 0, 0);
      if (column + first < d)
        chunk = load_readonly(reinterpret_cast<const uint4*>(row + column + first));
      unpack(chunk, values);
    } else {
      GRAFT_UNROLL
      for (int i = 0; i < n; ++i)
        values[i] =
            column + first + i < d ? value_of(load_readonly(row + column + first + i)) : 0.0f;
    }
    GRAFT_UNROLL
    for (int i = 0; i < n; ++i) x[first + i] = values[i];
  }
}

// One part: `count` keys and values (1 .. split_keys). `lanes` read a row.
template <typename T, int lanes, bool aligned>
GRAFT_DEVICE void attend(const T* q, const T* keys, const T* values, int count, int d, float scale,
                         shared_state* shared) {
  constexpr int rows = warp_size / lanes;   // of a warp at a time
  constexpr int at_once = aligned ? 4 : 2;  // rows a lane asks for before it uses the first
  const int column = lane_id() % lanes * columns;
  const int row = lane_id() / lanes;
  const int begin = warp_id() * warp_keys;
  const int end = count < begin + warp_keys ? count : begin + warp_keys;

  float x[columns];
  load_columns<false>(q, column, d, x);
  float top = minus_infinity();
  for (int first = begin; first < end; first += rows * at_once) {
    float k[at_once][columns];
    GRAFT_UNROLL
    for (int i = 0; i < at_once; ++i) {
      const int j = first + i * rows + row;
      load_columns<aligned>(keys + int64_t{j} * d, column, j < end ? d : 0, k[i]);
    }
    GRAFT_UNROLL
    for (int i = 0; i < at_once; ++i) {
      const int j = first + i * rows + row;
      float dot = 0.0f;
      GRAFT_UNROLL
      for (int c = 0; c < columns; ++c) dot = fma_rn(x[c], k[i][c], dot);
      GRAFT_UNROLL
      for (int step = lanes / 2; step > 0; step /= 2) dot += shuffle_xor(dot, step);
      const float score = j < end ? dot * scale : minus_infinity();
      top = maximum(top, score);
      // Room for it even behind the end: split_keys is a multiple of every step.
      if (column == 0) shared->scores[j] = score;
    }
  }
  GRAFT_UNROLL
  for (int step = warp_size / 2; step > 0; step /= 2) top = maximum(top, shuffle_xor(top, step));
  sync_warp();

  const float shift = shift_of(top);
  float sum = 0.0f;
  float out[columns] = {};
  for (int first = begin; first < end; first += rows * at_once) {
    float v[at_once][columns];
    GRAFT_UNROLL
    for (int i = 0; i < at_once; ++i) {
      const int j = first + i * rows + row;
      load_columns<aligned>(values + int64_t{j} * d, column, j < end ? d : 0, v[i]);
    }
    GRAFT_UNROLL
    for (int i = 0; i < at_once; ++i) {
      const float p = power(shared->scores[first + i * rows + row], shift);
      sum += p;
      GRAFT_UNROLL
      for (int c = 0; c < columns; ++c) out[c] = fma_rn(p, v[i][c], out[c]);
    }
  }
  GRAFT_UNROLL
  for (int step = warp_size / 2; step >= lanes; step /= 2) {
    sum += shuffle_xor(sum, step);
    GRAFT_UNROLL
    for (int c = 0; c < columns; ++c) out[c] += shuffle_xor(out[c], step);
  }
  if (row == 0) {
    GRAFT_UNROLL
    for (int c = 0; c < columns; ++c) shared->out[warp_id()][column + c] = out[c];
  }
  if (lane_id() == 0) {
    shared->top[warp_id()] = top;
    shared->sum[warp_id()] = sum;
  }
}

template <typename T, int lanes, bool aligned>
__global__ void __launch_bounds__(threads, 6) decode_kernel(decode_params<T> p) {
  auto* shared = shared_memory<shared_state>();
  const int d = p.head_dim;
  const int64_t tasks = live_sequences(p) * p.heads * p.most_parts;
  for (int64_t task = blockIdx.x; task < tasks; task += gridDim.x) {
    const int64_t head = task / p.most_parts, part = task % p.most_parts;
    const int64_t b = head / p.heads, h = head % p.heads;
    const int64_t length = cached_keys(p, b), first = part * split_keys;
    T* out = p.out + b * p.out_token_stride + h * d;
    if (length <= first) {
      if (part == 0)
        for (int c = static_cast<int>(threadIdx.x); c < d; c += threads) assign(out + c, 0.0f);
      continue;
    }
    const int64_t at = (head * p.cache_capacity + first) * d;
    const auto count = static_cast<int>(length - first < split_keys ? length - first : split_keys);
    attend<T, lanes, aligned>(p.q + b * p.q_token_stride + h * d, p.k_cache + at, p.v_cache + at,
                              count, d, p.scale, shared);
    sync_threads();
    float top = shared->top[0];
    GRAFT_UNROLL
    for (int w = 1; w < warps; ++w) top = maximum(top, shared->top[w]);
    float factors[warps];
    float sum = 0.0f;
    GRAFT_UNROLL
    for (int w = 0; w < warps; ++w) {
      factors[w] = power(shared->top[w], shift_of(top));
      sum = fma_rn(factors[w], shared->sum[w], sum);
    }
    const bool whole = length <= split_keys;
    float* result = p.parts + task * p.part_stride;
    for (int c = static_cast<int>(threadIdx.x); c < d; c += threads) {
      float value = 0.0f;
      GRAFT_UNROLL
      for (int w = 0; w < warps; ++w) value = fma_rn(factors[w], shared->out[w][c], value);
      if (whole)
        // A sum of 0 is logits of -inf only: its output is 0 whatever the values hold.
        assign(out + c, sum == 0.0f ? 0.0f : value / sum);
      else
        result[part_header + c] = value;
    }
    if (!whole && threadIdx.x == 0) {
      result[0] = top;
      result[1] = sum;
    }
    sync_threads();
  }
}

template <typename T>
__global__ void __launch_bounds__(join_threads) join_kernel(decode_params<T> p) {
  const int64_t heads = live_sequences(p) * p.heads;
  for (int64_t head = blockIdx.x; head < heads; head += gridDim.x) {
    const int64_t b = head / p.heads, h = head % p.heads;
    const int64_t count = (cached_keys(p, b) + split_keys - 1) / split_keys;
    if (count <= 1) continue;
    const float* parts = p.parts + head * p.most_parts * p.part_stride;
    float top = minus_infinity();
    for (int64_t i = 0; i < count; ++i) top = maximum(top, load(parts + i * p.part_stride));
    const float shift = shift_of(top);
    for (int c = static_cast<int>(threadIdx.x); c < p.head_dim; c += join_threads) {
      float sum = 0.0f, value = 0.0f;
      for (int64_t i = 0; i < count; ++i) {
        const float* one = parts + i * p.part_stride;
        const float factor = power(load(one), shift);
        sum = fma_rn(factor, load(one + 1), sum);
        value = fma_rn(factor, load(one + part_header + c), value);
      }
      assign(p.out + b * p.out_token_stride + h * p.head_dim + c, sum == 0.0f ? 0.0f : value / sum);
    }
  }
}

struct part_layout {
  int64_t parts, stride;
};
part_layout layout_of(const graft_attention_decode_args& a) {
  return {(a.cache_capacity + split_keys - 1) / split_keys,
          part_header + (a.head_dim + 15) / 16 * 16};
}

int workspace_bytes(const char* op, const graft_attention_decode_args& a, int64_t* bytes) {
  const part_layout layout = layout_of(a);
  if (layout.parts == 1) {
    *bytes = 0;
    return GRAFT_OK;
  }
  if (!__builtin_mul_overflow(a.batch * a.heads, layout.parts, bytes) &&
      !__builtin_mul_overflow(*bytes, layout.stride * int64_t{sizeof(float)}, bytes))
    return GRAFT_OK;
  return fail(GRAFT_INVALID_SHAPE, "%s: workspace: expected a size within 2^63 bytes", op);
}

dim3 blocks(int64_t wanted) {
  return dim3(static_cast<unsigned>(std::min<int64_t>(wanted, INT_MAX)));
}

template <typename T, int lanes>
cudaError_t launch_parts(const cuda_context& context, const decode_params<T>& p) {
  const bool aligned = (reinterpret_cast<uintptr_t>(p.k_cache) & 15) == 0 &&
                       (reinterpret_cast<uintptr_t>(p.v_cache) & 15) == 0 &&
                       p.head_dim * sizeof(T) % 16 == 0;
  return launch(aligned ? decode_kernel<T, lanes, true> : decode_kernel<T, lanes, false>,
                {blocks(p.batch * p.heads * p.most_parts), threads, sizeof(shared_state),
                 context.stream},
                p);
}

template <typename T>
cudaError_t launch_decode(const cuda_context& context, const graft_attention_decode_args& a) {
  const int64_t row = a.heads * a.head_dim;
  const part_layout layout = layout_of(a);
  decode_params<T> p = {};
  p.q = static_cast<const T*>(a.q);
  p.k_cache = static_cast<const T*>(a.k_cache);
  p.v_cache = static_cast<const T*>(a.v_cache);
  p.out = static_cast<T*>(a.out);
  p.lengths = a.lengths;
  p.parts = static_cast<float*>(a.workspace);
  p.step = context.step;
  p.q_token_stride = stride_or(a.q_token_stride, row);
  p.out_token_stride = stride_or(a.out_token_stride, row);
  p.batch = a.batch;
  p.heads = a.heads;
  p.cache_capacity = a.cache_capacity;
  p.most_parts = layout.parts;
  p.part_stride = layout.stride;
  p.head_dim = static_cast<int>(a.head_dim);
  p.extra = a.extra;
  p.scale = a.scale;
  const cudaError_t status = a.head_dim <= 32    ? launch_parts<T, 4>(context, p)
                             : a.head_dim <= 64  ? launch_parts<T, 8>(context, p)
                             : a.head_dim <= 128 ? launch_parts<T, 16>(context, p)
                                                 : launch_parts<T, 32>(context, p);
  if (status != cudaSuccess || layout.parts == 1) return status;
  return launch(join_kernel<T>, {blocks(a.batch * a.heads), join_threads, 0, context.stream}, p);
}

}  // namespace

int attention_decode_workspace(const cuda_context&, const graft_attention_decode_args& args,
                               int64_t* bytes) {
  const char* op = "attention_decode_workspace";
  GRAFT_TRY(check_attention_decode_sizes(op, args));
  return workspace_bytes(op, args, bytes);
}

int attention_decode(cuda_context& context, const graft_attention_decode_args& args) {
  const char* op = "attention_decode";
  int64_t bytes = 0;
  GRAFT_TRY(workspace_bytes(op, args, &bytes));
  GRAFT_TRY(check_workspace(op, args.workspace, args.workspace_bytes, bytes));
  if (args.batch == 0) return GRAFT_OK;
  return check(context, op,
               args.dtype == GRAFT_BFLOAT16 ? launch_decode<uint16_t>(context, args)
                                            : launch_decode<float>(context, args));
}

}  // namespace graft::cuda
