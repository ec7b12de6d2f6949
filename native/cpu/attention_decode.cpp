// One query a sequence against its KV cache: out = softmax(scale q K^T) V.
//
//   name               dtype        shape               strides        in/out
//   q                  fp32, bf16   [B, H, D]           token, D, 1    in
//   k_cache, v_cache   fp32, bf16   [B, H, capacity, D] packed         in
//   out                fp32, bf16   [B, H, D]           token, D, 1    out
//   lengths            int32        [B]                                in
//
// Nothing is reused but the query, so the cache's bytes are the cost: each key and value is read
// once. The keys are split in parts of split_keys whatever the number of threads; each part keeps its
// maximum m, sum l and unnormalised output, and the parts are joined in order
//   m = max m_p,  l = sum l_p e^{m_p - m},  out = sum out_p e^{m_p - m} / l
// (the running softmax of FlashAttention-2, arXiv:2307.08691, section 3.1, over parts).
#include "attention_pack.h"
#include "functions.h"

namespace graft::GRAFT_ISA {
namespace {

constexpr int64_t split_keys = 256;
static_assert(split_keys % W == 0);

struct part_layout {
  int64_t parts, stride;  // of one part: [m, l, out...] in whole cache lines
};
constexpr int64_t part_header = 16;

part_layout layout_of(const graft_attention_decode_args& a) {
  return {ceil_div(a.cache_capacity, split_keys), part_header + round_up(a.head_dim, 16)};
}

int workspace_bytes(const char* op, const graft_attention_decode_args& a, int64_t* bytes) {
  const part_layout layout = layout_of(a);
  if (!__builtin_mul_overflow(a.batch * a.heads, layout.parts, bytes) &&
      !__builtin_mul_overflow(*bytes, layout.stride * int64_t{sizeof(float)}, bytes))
    return GRAFT_OK;
  return fail(GRAFT_INVALID_SHAPE, "%s: workspace: expected a size within 2^63 bytes", op);
}

int64_t cached_keys(const graft_attention_decode_args& a, int64_t b) {
  return at_most(int64_t{a.lengths[b]} + a.extra, a.cache_capacity);
}

// scores[0..count) = scale * q.k_j, W keys at a time: one accumulator a key, transposed to be summed.
// Returns the largest.
template <typename T>
float dot_keys(const T* q, const T* keys, int64_t count, int64_t d, float scale, float* scores) {
  vf highest = splat(-INFINITY);
  for_lanes(0, count, [&](int64_t j, auto lanes) {
    const T* row[W];
    vf dot[W];
    for (int i = 0; i < W; ++i) {
      row[i] = keys + at_most(j + i, count - 1) * d;  // lanes beyond the last key repeat it
      dot[i] = zero();
    }
    for_lanes(0, d, [&](int64_t c, auto columns) {
      const vf x = load(q + c, columns);
#pragma GCC unroll 16
      for (int i = 0; i < W; ++i) dot[i] = fma(x, load(row[i] + c, columns), dot[i]);
    });
    transpose(dot);
#pragma GCC unroll 4
    for (int half = W / 2; half > 0; half /= 2)
#pragma GCC unroll 8
      for (int i = 0; i < half; ++i) dot[i] += dot[i + half];
    const vf score = or_else(dot[0] * splat(scale), splat(-INFINITY), lanes);
    store(scores + j, score);
    highest = higher(score, highest);
  });
  return highest_lane(highest)[0];
}

// out[0..vectors * W) = sum_j p_j v_j
template <int vectors, typename T>
void sum_values(const float* p, const T* values, int64_t count, int64_t d, float* out) {
  vf sum[vectors];
#pragma GCC unroll 8
  for (int v = 0; v < vectors; ++v) sum[v] = zero();
  for (int64_t j = 0; j < count; ++j) {
    const vf factor = splat(p[j]);
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) sum[v] = fma(factor, load(values + j * d + v * W), sum[v]);
  }
#pragma GCC unroll 8
  for (int v = 0; v < vectors; ++v) store(out + v * W, sum[v]);
}

template <typename T>
void sum_all_values(const float* p, const T* values, int64_t count, int64_t d, float* out) {
  int64_t c = 0;
  for (; c + 8 * W <= d; c += 8 * W) sum_values<8>(p, values + c, count, d, out + c);
  for (; c + 4 * W <= d; c += 4 * W) sum_values<4>(p, values + c, count, d, out + c);
  for (; c + W <= d; c += W) sum_values<1>(p, values + c, count, d, out + c);
  if (c == d) return;
  const int n = static_cast<int>(d - c);
  vf sum = zero();
  for (int64_t j = 0; j < count; ++j) sum = fma(splat(p[j]), load(values + j * d + c, n), sum);
  store(out + c, sum);
}

// Keys and values of one part, count of them (1 .. split_keys).
template <typename T>
void part(const graft_attention_decode_args& a, const T* q, const T* keys, const T* values,
          int64_t count, float* result) {
  float scores[split_keys];
  const float highest = dot_keys(q, keys, count, a.head_dim, a.scale, scores);
  // Nothing but -inf has no maximum to subtract: exp(-inf - 0) is the 0 wanted.
  const vf shift = splat(highest == -INFINITY ? 0.0f : highest);
  vf sum = zero();
  for_lanes(0, count, [&](int64_t j, auto lanes) {
    vf p = exp2_low<6>((load(scores + j) - shift) * splat(log2_e));
    p = or_else(p, zero(), lanes);
    store(scores + j, p);
    sum += p;
  });
  result[0] = highest;
  result[1] = sum_lanes(sum);
  sum_all_values(scores, values, count, a.head_dim, result + part_header);
}

template <typename T>
void join(int64_t d, const float* parts, int64_t count, int64_t stride, T* out) {
  float highest = -INFINITY;
  for (int64_t p = 0; p < count; ++p)
    highest = parts[p * stride] > highest ? parts[p * stride] : highest;
  const vf shift = splat(highest == -INFINITY ? 0.0f : highest);
  vf sum = zero();
  for (int64_t p = 0; p < count; ++p) {
    const float* one = parts + p * stride;
    sum = fma(exp2_low<6>((splat(one[0]) - shift) * splat(log2_e)), splat(one[1]), sum);
  }
  const vf inverse = splat(1.0f / sum[0]);
  for_lanes(0, d, [&](int64_t c, auto lanes) {
    vf value = zero();
    for (int64_t p = 0; p < count; ++p) {
      const float* one = parts + p * stride;
      const vf factor = exp2_low<6>((splat(one[0]) - shift) * splat(log2_e));
      value = fma(factor, load(one + part_header + c), value);
    }
    // A sum of 0 is a sequence without keys: its output is 0 whatever the values hold.
    store(out + c, sum[0] == 0.0f ? zero() : value * inverse, lanes);
  });
}

template <typename T>
void decode(const cpu_context& context, const graft_attention_decode_args& a, int64_t live) {
  const part_layout layout = layout_of(a);
  const int64_t d = a.head_dim;
  const int64_t q_row = stride_or(a.q_token_stride, a.heads * d);
  const int64_t out_row = stride_or(a.out_token_stride, a.heads * d);
  auto* space = static_cast<float*>(a.workspace);
  int64_t parts = 1;
  double scores = 0;
  for (int64_t b = 0; b < live; ++b) {
    parts = at_least(parts, ceil_div(cached_keys(a, b), split_keys));
    scores += static_cast<double>(cached_keys(a, b) * a.heads);
  }
  const int64_t heads = live * a.heads, tasks = heads * parts;
#pragma omp parallel num_threads(threads_for(context, tasks, scores, d))
  {
#pragma omp for schedule(dynamic, 1)
    for (int64_t task = 0; task < tasks; ++task) {
      const int64_t head = task / parts;
      const int64_t b = head / a.heads;
      const int64_t first = task % parts * split_keys;
      const int64_t count = at_most(cached_keys(a, b) - first, split_keys);
      if (count <= 0) continue;
      const T* q = static_cast<const T*>(a.q) + b * q_row + head % a.heads * d;
      const int64_t at = (head * a.cache_capacity + first) * d;
      part(a, q, static_cast<const T*>(a.k_cache) + at, static_cast<const T*>(a.v_cache) + at,
           count, space + (head * layout.parts + first / split_keys) * layout.stride);
    }
    // The implicit barrier above: a head's parts are all there before they are joined.
#pragma omp for schedule(static)
    for (int64_t head = 0; head < heads; ++head) {
      const int64_t b = head / a.heads;
      join(d, space + head * layout.parts * layout.stride,
           ceil_div(cached_keys(a, b), split_keys), layout.stride,
           static_cast<T*>(a.out) + b * out_row + head % a.heads * d);
    }
  }
}

}  // namespace

int attention_decode_workspace(const cpu_context&, const graft_attention_decode_args& a,
                               int64_t* bytes) {
  const char* op = "attention_decode_workspace";
  GRAFT_TRY(check_attention_decode_sizes(op, a));
  return workspace_bytes(op, a, bytes);
}

int attention_decode(cpu_context& context, const graft_attention_decode_args& a) {
  const char* op = "attention_decode";
  int64_t live = 0, bytes = 0;
  GRAFT_TRY(live_sequences(op, context, a.batch, &live));
  GRAFT_TRY(workspace_bytes(op, a, &bytes));
  GRAFT_TRY(check_workspace(op, a.workspace, a.workspace_bytes, bytes));
  for (int64_t b = 0; b < live; ++b)
    if (a.lengths[b] < 0)
      return fail(GRAFT_INVALID_SHAPE, "%s: lengths[%lld]: expected at least 0, got %d", op,
                  static_cast<long long>(b), a.lengths[b]);
  if (a.dtype == GRAFT_BFLOAT16)
    decode<bf16>(context, a, live);
  else
    decode<float>(context, a, live);
  return GRAFT_OK;
}

}  // namespace graft::GRAFT_ISA
