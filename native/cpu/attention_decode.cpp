// One query a sequence against its KV cache: out = softmax(scale q K^T) V.
//
// Nothing is reused but the query, so the cache's bytes are the cost: each key and value is read
// once. The keys are split in parts of split_keys whatever the number of threads; each part keeps its
// maximum m, sum l and unnormalised output, and the parts are joined in order
//   m = max m_p,  l = sum l_p e^{m_p - m},  out = sum out_p e^{m_p - m} / l
// (the running softmax of FlashAttention, arXiv:2307.08691, section 3.1, over parts).
#include "attention_tiles.h"

namespace graft::GRAFT_ISA {
namespace {

constexpr int64_t split_keys = 256;

struct part_layout {
  int64_t parts, width, stride;  // of one part: [m, l, out...] rounded to a cache line
};

part_layout layout_of(const graft_attention_decode_args& a) {
  const int64_t parts = (a.cache_capacity + split_keys - 1) / split_keys;
  const int64_t width = round_up(a.head_dim, W);
  return {parts, width, round_up(width + 16, 16)};
}

int64_t workspace_bytes(const graft_attention_decode_args& a) {
  const part_layout layout = layout_of(a);
  return a.batch * a.heads * layout.parts * layout.stride * static_cast<int64_t>(sizeof(float));
}

template <typename T>
float dot(const T* a, const T* b, int64_t d) {
  vf sum = zero(), sum2 = zero();
  int64_t c = 0;
  for (; c + 2 * W <= d; c += 2 * W) {
    sum = fma(load(a + c), load(b + c), sum);
    sum2 = fma(load(a + c + W), load(b + c + W), sum2);
  }
  for (; c < d; c += W) {
    const int n = static_cast<int>(d - c < W ? d - c : W);
    sum = fma(load(a + c, n), load(b + c, n), sum);
  }
  return sum_lanes(sum + sum2);
}

template <typename T>
void part(const graft_attention_decode_args& a, const T* q, const T* keys, const T* values,
          int64_t count, int64_t width, float* result) {
  float scores[split_keys];
  const int64_t d = a.head_dim;
  float highest = -INFINITY;
  for (int64_t j = 0; j < count; ++j) {
    scores[j] = a.scale * dot(q, keys + j * d, d);
    highest = scores[j] > highest ? scores[j] : highest;
  }
  const float shift = highest == -INFINITY ? 0.0f : highest;
  for (int64_t j = count; j < round_up(count, W); ++j) scores[j] = -INFINITY;
  vf sum = zero();
  for (int64_t j = 0; j < count; j += W) {
    const vf p = exp(load(scores + j) - splat(shift));
    store(scores + j, p);
    sum += p;
  }
  result[0] = highest;
  result[1] = sum_lanes(sum);
  float* out = result + 16;
  for (int64_t c = 0; c < width; c += W) store(out + c, zero());
  for (int64_t j = 0; j < count; ++j) {
    const vf p = splat(scores[j]);
    const T* v = values + j * d;
    int64_t c = 0;
    for (; c + W <= d; c += W) store(out + c, fma(p, load(v + c), load(out + c)));
    if (c < d) store(out + c, fma(p, load(v + c, static_cast<int>(d - c)), load(out + c)));
  }
}

template <typename T>
void join(const graft_attention_decode_args& a, const float* parts, const part_layout& layout,
          T* out) {
  float highest = -INFINITY;
  for (int64_t p = 0; p < layout.parts; ++p) {
    const float m = parts[p * layout.stride];
    highest = m > highest ? m : highest;
  }
  const float shift = highest == -INFINITY ? 0.0f : highest;
  float sum = 0.0f;
  for (int64_t p = 0; p < layout.parts; ++p)
    sum += parts[p * layout.stride + 1] * exp(splat(parts[p * layout.stride] - shift))[0];
  const float inverse = sum == 0.0f ? 0.0f : 1.0f / sum;
  for (int64_t c = 0; c < a.head_dim; c += W) {
    vf value = zero();
    for (int64_t p = 0; p < layout.parts; ++p) {
      const float* one = parts + p * layout.stride;
      value = fma(exp(splat(one[0] - shift)), load(one + 16 + c), value);
    }
    const int n = static_cast<int>(a.head_dim - c < W ? a.head_dim - c : W);
    store(out + c, value * splat(inverse), n);
  }
}

template <typename T>
void decode(cpu_context& context, const graft_attention_decode_args& a) {
  const part_layout layout = layout_of(a);
  const int64_t d = a.head_dim;
  const int64_t row = a.heads * d;
  const int64_t q_row = a.q_token_stride == 0 ? row : a.q_token_stride;
  const int64_t out_row = a.out_token_stride == 0 ? row : a.out_token_stride;
  auto* space = static_cast<float*>(a.workspace);
  const int64_t tasks = a.batch * a.heads * layout.parts;
#pragma omp parallel num_threads(context.threads)
  {
#pragma omp for schedule(static)
    for (int64_t task = 0; task < tasks; ++task) {
      const int64_t head = task / layout.parts;
      const int64_t b = head / a.heads;
      const int64_t h = head % a.heads;
      const int64_t first = task % layout.parts * split_keys;
      const int64_t held = int64_t{a.lengths[b]} + a.extra;
      const int64_t length = held < a.cache_capacity ? held : a.cache_capacity;
      const int64_t left = length - first;
      const int64_t count = left < 0 ? 0 : left < split_keys ? left : split_keys;
      const T* q = static_cast<const T*>(a.q) + b * q_row + h * d;
      const int64_t at = (head * a.cache_capacity + first) * d;
      part(a, q, static_cast<const T*>(a.k_cache) + at, static_cast<const T*>(a.v_cache) + at,
           count, layout.width, space + task * layout.stride);
    }
    // The implicit barrier above: a head's parts are all there before they are joined.
#pragma omp for schedule(static)
    for (int64_t head = 0; head < a.batch * a.heads; ++head)
      join(a, space + head * layout.parts * layout.stride, layout,
           static_cast<T*>(a.out) + head / a.heads * out_row + head % a.heads * d);
  }
}

}  // namespace

int attention_decode_workspace(const cpu_context&, const graft_attention_decode_args& a,
                               int64_t* bytes) {
  GRAFT_TRY(a.batch < 0 || a.heads < 1 || a.head_dim < 1 || a.cache_capacity < 1
                ? fail(GRAFT_INVALID_SHAPE,
                       "attention_decode_workspace: expected positive heads, head_dim and "
                       "cache_capacity")
                : GRAFT_OK);
  *bytes = workspace_bytes(a);
  return GRAFT_OK;
}

int attention_decode(cpu_context& context, const graft_attention_decode_args& a) {
  GRAFT_TRY(check_workspace_bytes("attention_decode", a.workspace, a.workspace_bytes,
                                  workspace_bytes(a)));
  for (int64_t b = 0; b < a.batch; ++b)
    if (a.lengths[b] < 0)
      return fail(GRAFT_INVALID_SHAPE,
                  "attention_decode: lengths[%lld]: expected at least 0, got %d",
                  static_cast<long long>(b), a.lengths[b]);
  if (a.dtype == GRAFT_BFLOAT16)
    decode<bf16>(context, a);
  else
    decode<float>(context, a);
  return GRAFT_OK;
}

}  // namespace graft::GRAFT_ISA
