// AdamW over a parameter set (Loshchilov & Hutter, arXiv:1711.05101, algorithm 2), one launch for
// all tensors.
//
//   g = clip grad;  m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2
//   w -= lr (m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps) + weight_decay w),  lr = lr lr_scale
//
// One pass, 30 bytes a parameter with the bfloat16 copy (grad, m, v, w read; m, v, w, w16 written),
// in 128-bit words; 20 in the compact form. lr, clip, skip and t come from the step state; every block
// reads t before it counts itself finished, and the last to finish writes it. Factors that hold for the
// whole step are made in double, the elements in the CPU kernel's order of operations.
//
//   name      dtype  shape    aligned to  in/out
//   grad      f32    [count]  element     in; 0 afterwards with zero_grad
//   weight    f32    [count]  element     in/out
//   weight16  bf16   [count]  element     out, optional
//   m, v      f32    [count]  element     in/out
//   m16, v16, remainder: see optimizer_step.h
#include "optimizer_step.h"

namespace graft::cuda {
namespace {

constexpr int threads = optimizer_threads;

struct step_factors {
  float beta1, one_minus_beta1, beta2, one_minus_beta2, clip;
  float rate;               // lr lr_scale / (1 - b1^t)
  float inverse_deviation;  // 1 / sqrt(1 - b2^t)
  float eps;
  float decay;  // lr lr_scale weight_decay
  uint64_t key;  // of the compact form's rounding
};

template <bool compact>
GRAFT_DEVICE step_factors factors_of(const graft_adamw_args& args, const step_state& step,
                                     const graft_parameter& p, int64_t t) {
  const double correction1 = 1.0 - power(args.beta1, t);
  const double correction2 = 1.0 - power(args.beta2, t);
  const double rate = static_cast<double>(step.inputs.lr) * p.lr_scale;
  return {args.beta1,
          static_cast<float>(1.0 - args.beta1),
          args.beta2,
          static_cast<float>(1.0 - args.beta2),
          step.results.clip_coefficient,
          static_cast<float>(rate / correction1),
          static_cast<float>(1.0 / sqrt_exact(correction2)),
          args.eps,
          static_cast<float>(rate * p.weight_decay),
          compact ? rounding_key(step, t) : 0};
}

GRAFT_DEVICE void update(const step_factors& f, float grad, float& w, float& m, float& v) {
  const float g = grad * f.clip;
  m = fma_rn(f.beta1, m, f.one_minus_beta1 * g);
  v = fma_rn(f.beta2, v, f.one_minus_beta2 * g * g);
  const float ratio = m / fma_rn(sqrt_exact(v), f.inverse_deviation, f.eps);
  // One rounding at the size of w: 1 - decay alone would lose most of a small decay.
  w = w - fma_rn(f.decay, w, f.rate * ratio);
}

GRAFT_DEVICE void update_block(const block_arrays& a, const step_factors& f, bool zero_grad) {
  const auto one = [&](int i) {
    float w = a.weight[i], m = a.m[i], v = a.v[i];
    update(f, a.grad[i], w, m, v);
    a.weight[i] = w;
    a.m[i] = m;
    a.v[i] = v;
    if (a.weight16 != nullptr) a.weight16[i] = bf16_of(w);
    if (zero_grad) a.grad[i] = 0.0f;
  };
  const auto four = [&](int at) {
    const auto vector = [at](float* x) { return reinterpret_cast<float4*>(x + at); };
    const float4 g = load_streaming(vector(a.grad));
    float4 w = load_streaming(vector(a.weight));
    float4 m = load_streaming(vector(a.m));
    float4 v = load_streaming(vector(a.v));
    update(f, g.x, w.x, m.x, v.x);
    update(f, g.y, w.y, m.y, v.y);
    update(f, g.z, w.z, m.z, v.z);
    update(f, g.w, w.w, m.w, v.w);
    store_four_weights(a, at, w);
    store_streaming(vector(a.m), m);
    store_streaming(vector(a.v), v);
    if (zero_grad) store_streaming(vector(a.grad), make_float4(0.0f, 0.0f, 0.0f, 0.0f));
  };
  over_block<false>(a, one, four);
}

GRAFT_DEVICE void update_compact_block(const block_arrays& a, const step_factors& f,
                                       bool zero_grad) {
  const auto one = [&](int i) {
    float w = weight_at<true>(a, i), m = float_of_bf16(a.m16[i]), v = float_of_bf16(a.v16[i]);
    update(f, a.grad[i], w, m, v);
    const uint32_t word = rounding_word(a, f.key, i);
    a.m16[i] = static_cast<uint16_t>(rounded_at_random(m, word & 0xFFFFu));
    a.v16[i] = static_cast<uint16_t>(rounded_at_random(v, word >> 16));
    store_weight<true>(a, i, w);
    if (zero_grad) a.grad[i] = 0.0f;
  };
  const auto four = [&](int at) {
    const auto pairs = [at](uint16_t* x) { return reinterpret_cast<uint2*>(x + at); };
    const float4 g = load_streaming(reinterpret_cast<const float4*>(a.grad + at));
    float4 m = widened(load_streaming(pairs(a.m16)));
    float4 v = widened(load_streaming(pairs(a.v16)));
    float4 w = a.remainder != nullptr
                   ? four_joined(a, at)
                   : load_streaming(reinterpret_cast<const float4*>(a.weight + at));
    update(f, g.x, w.x, m.x, v.x);
    update(f, g.y, w.y, m.y, v.y);
    update(f, g.z, w.z, m.z, v.z);
    update(f, g.w, w.w, m.w, v.w);
    store_four_moments(a, at, rounding_words(a, f.key, at), m, v);
    if (a.remainder != nullptr)
      store_four_split(a, at, w);
    else
      store_four_weights(a, at, w);
    if (zero_grad)
      store_streaming(reinterpret_cast<float4*>(a.grad + at), make_float4(0.0f, 0.0f, 0.0f, 0.0f));
  };
  over_block<true>(a, one, four);
}

template <bool compact>
__global__ void __launch_bounds__(threads, 4)
    adamw_kernel(graft_parameter_set set, step_state* step, graft_adamw_args args) {
  auto* factors = shared_memory<step_factors>();
  const bool skip = step->results.skip != 0;
  const int64_t t = step->results.adam_t + 1;
  if (blockIdx.x < set.block_count) {
    const parameter_block block = set.blocks[blockIdx.x];
    const graft_parameter p = set.parameters[block.parameter];
    const block_arrays arrays = arrays_of(p, block);
    if (!skip && p.lr_scale != 0.0f) {
      if (threadIdx.x == 0) *factors = factors_of<compact>(args, *step, p, t);
      sync_threads();
      if (compact && p.m16 != nullptr)
        update_compact_block(arrays, *factors, args.zero_grad != 0);
      else
        update_block(arrays, *factors, args.zero_grad != 0);
    } else if (args.zero_grad != 0) {
      for (int i = static_cast<int>(threadIdx.x); i < arrays.count; i += threads)
        arrays.grad[i] = 0.0f;
    }
  }
  count_step(set, step, skip, t);
}

}  // namespace

int adamw(cuda_context& context, const graft_adamw_args& args) {
  const graft_parameter_set& set = *args.parameters;
  // An empty set counts its steps too.
  const auto blocks = static_cast<unsigned>(set.block_count > 0 ? set.block_count : 1);
  const launch_shape shape{dim3(blocks), threads, sizeof(step_factors), context.stream};
  return check(context, "adamw",
               launch(set.compact ? adamw_kernel<true> : adamw_kernel<false>, shape, set,
                      context.step, args));
}

}  // namespace graft::cuda
