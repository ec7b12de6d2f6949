// LAMB over a parameter set (You et al., arXiv:1904.00962, algorithm 2), two launches for all tensors.
//
//   g = clip grad;  m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2
//   r = m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps) + weight_decay w
//   w -= lr lr_scale |w| / |r| r
//
// The first launch writes the moments and each block's sums of squares of w and r, in double; the
// second adds its parameter's sums, the same in every one of its blocks and in a fixed order, makes
// r again and steps. 44 bytes a parameter with the bfloat16 copy, 28 in the compact form. lr, clip, skip
// and t come from the step state; the last block of the second launch writes t.
//
//   name      dtype  shape    aligned to  in/out
//   grad      f32    [count]  element     in; 0 afterwards with zero_grad
//   weight    f32    [count]  element     in/out
//   weight16  bf16   [count]  element     out, optional
//   m, v      f32    [count]  element     in/out
//   m16, v16, remainder: see optimizer_step.h
#include "optimizer_step.h"
#include "reduce.h"

namespace graft::cuda {
namespace {

constexpr int threads = optimizer_threads;

struct step_factors {
  float beta1, one_minus_beta1, beta2, one_minus_beta2, clip;
  float inverse_correction;  // 1 / (1 - b1^t)
  float inverse_deviation;   // 1 / sqrt(1 - b2^t)
  float eps;
  float decay;
  double rate;   // lr lr_scale
  uint64_t key;  // of the compact form's rounding
};

struct shared_state {
  step_factors factors;
  double warps[threads / warp_size];
};

template <bool compact>
GRAFT_DEVICE step_factors factors_of(const graft_lamb_args& args, const step_state& step,
                                     const graft_parameter& p, int64_t t) {
  return {args.beta1,
          static_cast<float>(1.0 - args.beta1),
          args.beta2,
          static_cast<float>(1.0 - args.beta2),
          step.results.clip_coefficient,
          static_cast<float>(1.0 / (1.0 - power(args.beta1, t))),
          static_cast<float>(1.0 / sqrt_exact(1.0 - power(args.beta2, t))),
          args.eps,
          p.weight_decay,
          static_cast<double>(step.inputs.lr) * p.lr_scale,
          compact ? rounding_key(step, t) : 0};
}

GRAFT_DEVICE float direction(const step_factors& f, float w, float m, float v) {
  const float ratio =
      f.inverse_correction * m / fma_rn(sqrt_exact(v), f.inverse_deviation, f.eps);
  return fma_rn(f.decay, w, ratio);
}

GRAFT_DEVICE double square(double sum, float x) {
  return fma_rn(static_cast<double>(x), static_cast<double>(x), sum);
}

// This thread's squares of w and r.
struct squares {
  double weights, directions;
};

GRAFT_DEVICE void moments(const step_factors& f, float grad, float& m, float& v) {
  const float g = grad * f.clip;
  m = fma_rn(f.beta1, m, f.one_minus_beta1 * g);
  v = fma_rn(f.beta2, v, f.one_minus_beta2 * g * g);
}

GRAFT_DEVICE void add_squares(const step_factors& f, float w, float m, float v, squares& sums) {
  sums.weights = square(sums.weights, w);
  sums.directions = square(sums.directions, direction(f, w, m, v));
}


GRAFT_DEVICE squares moments_of_block(const block_arrays& a, const step_factors& f,
                                      bool zero_grad) {
  squares sums = {0.0, 0.0};
  const auto one = [&](int i) {
    float m = a.m[i], v = a.v[i];
    moments(f, a.grad[i], m, v);
    add_squares(f, a.weight[i], m, v, sums);
    a.m[i] = m;
    a.v[i] = v;
    if (zero_grad) a.grad[i] = 0.0f;
  };
  const auto four = [&](int at) {
    const auto vector = [at](float* x) { return reinterpret_cast<float4*>(x + at); };
    const float4 g = load_streaming(vector(a.grad));
    // Not streamed: the second launch reads w, m and v again, and some of it may still be there.
    const float4 w = load(vector(a.weight));
    float4 m = load(vector(a.m));
    float4 v = load(vector(a.v));
    const auto element = [&](float grad, float weight, float& first, float& second) {
      moments(f, grad, first, second);
      add_squares(f, weight, first, second, sums);
    };
    element(g.x, w.x, m.x, v.x);
    element(g.y, w.y, m.y, v.y);
    element(g.z, w.z, m.z, v.z);
    element(g.w, w.w, m.w, v.w);
    store(vector(a.m), m);
    store(vector(a.v), v);
    if (zero_grad) store_streaming(vector(a.grad), make_float4(0.0f, 0.0f, 0.0f, 0.0f));
  };
  over_block<false>(a, one, four);
  return sums;
}

// In the compact form r is of the rounded moments, which the second launch reads.
GRAFT_DEVICE squares moments_of_compact_block(const block_arrays& a, const step_factors& f,
                                              bool zero_grad) {
  squares sums = {0.0, 0.0};
  const auto one = [&](int i) {
    float m = float_of_bf16(a.m16[i]), v = float_of_bf16(a.v16[i]);
    moments(f, a.grad[i], m, v);
    const uint32_t word = rounding_word(a, f.key, i);
    a.m16[i] = static_cast<uint16_t>(rounded_at_random(m, word & 0xFFFFu));
    a.v16[i] = static_cast<uint16_t>(rounded_at_random(v, word >> 16));
    add_squares(f, weight_at<true>(a, i), float_of_bf16(a.m16[i]), float_of_bf16(a.v16[i]), sums);
    if (zero_grad) a.grad[i] = 0.0f;
  };
  const auto four = [&](int at) {
    const auto pairs = [at](uint16_t* x) { return reinterpret_cast<uint2*>(x + at); };
    const float4 g = load_streaming(reinterpret_cast<const float4*>(a.grad + at));
    float4 m = widened(load(pairs(a.m16)));
    float4 v = widened(load(pairs(a.v16)));
    moments(f, g.x, m.x, v.x);
    moments(f, g.y, m.y, v.y);
    moments(f, g.z, m.z, v.z);
    moments(f, g.w, m.w, v.w);
    store_four_moments(a, at, rounding_words(a, f.key, at), m, v);
    const float4 w = a.remainder != nullptr
                         ? four_joined(a, at)
                         : load(reinterpret_cast<const float4*>(a.weight + at));
    m = widened(load(pairs(a.m16)));
    v = widened(load(pairs(a.v16)));
    add_squares(f, w.x, m.x, v.x, sums);
    add_squares(f, w.y, m.y, v.y, sums);
    add_squares(f, w.z, m.z, v.z, sums);
    add_squares(f, w.w, m.w, v.w, sums);
    if (zero_grad)
      store_streaming(reinterpret_cast<float4*>(a.grad + at), make_float4(0.0f, 0.0f, 0.0f, 0.0f));
  };
  over_block<true>(a, one, four);
  return sums;
}

template <bool compact>
__global__ void __launch_bounds__(threads, compact ? 4 : 5)
    lamb_moments_kernel(graft_parameter_set set, step_state* step, graft_lamb_args args) {
  auto* shared = shared_memory<shared_state>();
  const parameter_block block = set.blocks[blockIdx.x];
  const graft_parameter p = set.parameters[block.parameter];
  const block_arrays arrays = arrays_of(p, block);
  if (step->results.skip != 0 || p.lr_scale == 0.0f) {
    if (args.zero_grad != 0)
      for (int i = static_cast<int>(threadIdx.x); i < arrays.count; i += threads)
        arrays.grad[i] = 0.0f;
    return;
  }
  if (threadIdx.x == 0) shared->factors = factors_of<compact>(args, *step, p, step->results.adam_t + 1);
  sync_threads();
  const bool zero_grad = args.zero_grad != 0;
  const squares own = compact && p.m16 != nullptr
                          ? moments_of_compact_block(arrays, shared->factors, zero_grad)
                          : moments_of_block(arrays, shared->factors, zero_grad);
  const double weights = block_sum<threads>(own.weights, shared->warps);
  const double directions = block_sum<threads>(own.directions, shared->warps);
  if (threadIdx.x != 0) return;
  set.partial_sums[blockIdx.x] = weights;
  set.partial_sums[set.block_count + blockIdx.x] = directions;
}

// |w| / |r| of the parameter that this block is part of.
GRAFT_DEVICE double trust_of(const graft_parameter_set& set, const graft_parameter& p,
                             const parameter_block& block, double* warps) {
  const int64_t first = blockIdx.x - block.begin / optimizer_block;
  const int64_t blocks = (p.count + optimizer_block - 1) / optimizer_block;
  double weights = 0.0, directions = 0.0;
  for (int64_t i = threadIdx.x; i < blocks; i += threads) {
    weights += load_readonly(set.partial_sums + first + i);
    directions += load_readonly(set.partial_sums + set.block_count + first + i);
  }
  weights = block_sum<threads>(weights, warps);
  directions = block_sum<threads>(directions, warps);
  const bool trusted = p.weight_decay > 0.0f && weights > 0.0 && directions > 0.0;
  return trusted ? sqrt_exact(weights / directions) : 1.0;
}

template <bool compact>
GRAFT_DEVICE void step_block(const block_arrays& a, const step_factors& f, float rate) {
  const auto next = [&](float w, float m, float v) {
    return fma_rn(-rate, direction(f, w, m, v), w);
  };
  const auto one = [&](int i) {
    const float m = compact ? float_of_bf16(a.m16[i]) : a.m[i];
    const float v = compact ? float_of_bf16(a.v16[i]) : a.v[i];
    store_weight<compact>(a, i, next(weight_at<compact>(a, i), m, v));
  };
  const auto four = [&](int at) {
    const auto vector = [at](float* x) { return reinterpret_cast<float4*>(x + at); };
    const auto pairs = [at](uint16_t* x) { return reinterpret_cast<uint2*>(x + at); };
    const bool split = compact && a.remainder != nullptr;
    float4 w = split ? four_joined(a, at) : load_streaming(vector(a.weight));
    const float4 m = compact ? widened(load_streaming(pairs(a.m16))) : load_streaming(vector(a.m));
    const float4 v = compact ? widened(load_streaming(pairs(a.v16))) : load_streaming(vector(a.v));
    w = make_float4(next(w.x, m.x, v.x), next(w.y, m.y, v.y), next(w.z, m.z, v.z),
                    next(w.w, m.w, v.w));
    if (split)
      store_four_split(a, at, w);
    else
      store_four_weights(a, at, w);
  };
  over_block<compact>(a, one, four);
}

template <bool compact>
__global__ void __launch_bounds__(threads, compact ? 4 : 5)
    lamb_step_kernel(graft_parameter_set set, step_state* step, graft_lamb_args args) {
  auto* shared = shared_memory<shared_state>();
  const bool skip = step->results.skip != 0;
  const int64_t t = step->results.adam_t + 1;
  if (blockIdx.x < set.block_count && !skip) {
    const parameter_block block = set.blocks[blockIdx.x];
    const graft_parameter p = set.parameters[block.parameter];
    if (p.lr_scale != 0.0f) {
      if (threadIdx.x == 0) shared->factors = factors_of<compact>(args, *step, p, t);
      const double trust = trust_of(set, p, block, shared->warps);
      const step_factors& f = shared->factors;
      const auto rate = static_cast<float>(f.rate * trust);
      if (compact && p.m16 != nullptr)
        step_block<true>(arrays_of(p, block), f, rate);
      else
        step_block<false>(arrays_of(p, block), f, rate);
    }
  }
  count_step(set, step, skip, t);
}

}  // namespace

int lamb(cuda_context& context, const graft_lamb_args& args) {
  const graft_parameter_set& set = *args.parameters;
  const auto blocks = static_cast<unsigned>(set.block_count);
  if (blocks > 0)
    GRAFT_TRY(check(context, "lamb",
                    launch(set.compact ? lamb_moments_kernel<true> : lamb_moments_kernel<false>,
                           {dim3(blocks), threads, sizeof(shared_state), context.stream}, set,
                           context.step, args)));
  // An empty set counts its steps too.
  return check(context, "lamb",
               launch(set.compact ? lamb_step_kernel<true> : lamb_step_kernel<false>,
                      {dim3(blocks > 0 ? blocks : 1), threads, sizeof(shared_state),
                       context.stream},
                      set, context.step, args));
}

}  // namespace graft::cuda
