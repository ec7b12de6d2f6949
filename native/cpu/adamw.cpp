// AdamW over a parameter set (Loshchilov & Hutter, arXiv:1711.05101, algorithm 2).
//
//   g = clip grad;  m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2
//   w -= lr (m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps) + weight_decay w),  lr = lr lr_scale
//
// One pass, 30 bytes a parameter with the bfloat16 copy (grad, m, v, w read; m, v, w, w16 written), 20
// in the compact form.
// Factors that hold for the whole step (bias corrections, products of rates) are made in double.
//
//   name      dtype  shape    aligned to  in/out
//   grad      f32    [count]  element     in; 0 afterwards with zero_grad
//   weight    f32    [count]  element     in/out
//   weight16  bf16   [count]  element     out, optional
//   m, v      f32    [count]  element     in/out
//   m16, v16, remainder: see compact_state.h
#include <math.h>

#include "compact_state.h"
#include "lanes.h"
#include "parallel.h"

namespace graft::GRAFT_ISA {
namespace {

struct step_factors {
  float beta1, one_minus_beta1, beta2, one_minus_beta2, clip;
  float rate;               // lr lr_scale / (1 - b1^t)
  float inverse_deviation;  // 1 / sqrt(1 - b2^t)
  float eps;
  float decay;  // lr lr_scale weight_decay
};

struct block_arrays {
  float* grad;
  float* weight;
  bf16* weight16;
  float* m;
  float* v;
};

template <bool copy16, bool streaming>
void update(const block_arrays& a, int64_t count, const step_factors& f, bool zero_grad) {
  const vf clip = splat(f.clip);
  const vf beta1 = splat(f.beta1), one_minus_beta1 = splat(f.one_minus_beta1);
  const vf beta2 = splat(f.beta2), one_minus_beta2 = splat(f.one_minus_beta2);
  const vf rate = splat(f.rate), eps = splat(f.eps), decay = splat(f.decay);
  const vf inverse_deviation = splat(f.inverse_deviation);
  for_lanes(0, count, [&](int64_t i, auto lanes) GRAFT_INLINE {
    const vf g = load(a.grad + i, lanes) * clip;
    const vf m = fma(beta1, load(a.m + i, lanes), one_minus_beta1 * g);
    const vf v = fma(beta2, load(a.v + i, lanes), one_minus_beta2 * g * g);
    const vf w = load(a.weight + i, lanes);
    const vf ratio = m / fma(sqrt(v), inverse_deviation, eps);
    // One rounding at the size of w: 1 - decay alone would lose most of a small decay.
    const vf next = w - fma(decay, w, rate * ratio);
    store(a.m + i, m, lanes);
    store(a.v + i, v, lanes);
    store(a.weight + i, next, lanes);
    if constexpr (copy16) put<streaming>(a.weight16 + i, next, lanes);
    if (zero_grad) store(a.grad + i, zero(), lanes);
  });
  if constexpr (streaming) stream_fence();
}

void update_compact(const graft_parameter& p, const parameter_block& b, const step_factors& f,
                    bool zero_grad, uint64_t key) {
  for (int64_t begin = b.begin; begin < b.end; begin += compact_piece) {
    const int64_t count = at_most(compact_piece, b.end - begin);
    state_piece piece(p, begin, count);
    const block_arrays a = {p.grad + begin, piece.weight(), piece.weight16(), piece.m(), piece.v()};
    if (a.weight16 == nullptr)
      update<false, false>(a, count, f, zero_grad);
    else
      update<true, false>(a, count, f, zero_grad);
    piece.store_moments(key, b.parameter, false);
    piece.store_weight();
  }
}

}  // namespace

int adamw(cpu_context& context, const graft_adamw_args& args) {
  graft_parameter_set& set = *args.parameters;
  graft_step_results& results = context.results;
  const bool skip = results.skip != 0;
  const auto t = static_cast<double>(count_step(results));
  const double correction1 = 1.0 - ::pow(args.beta1, t);
  const double correction2 = 1.0 - ::pow(args.beta2, t);
  const double lr = context.inputs.lr;
  const float clip = results.clip_coefficient;
  const uint64_t key =
      stream_key(context.inputs.seed, static_cast<uint64_t>(results.adam_t), rounding_op_id);
  parallel_for(context, set.block_count, set.block_count * optimizer_block, [&](int64_t block) {
    const parameter_block& b = set.blocks[block];
    const graft_parameter& p = set.parameters[b.parameter];
    const int64_t count = b.end - b.begin;
    float* grad = p.grad + b.begin;
    if (skip || p.lr_scale == 0.0f) {
      if (args.zero_grad) std::memset(grad, 0, static_cast<size_t>(count) * sizeof(float));
      return;
    }
    const double rate = lr * p.lr_scale;
    const step_factors f = {args.beta1,
                            static_cast<float>(1.0 - args.beta1),
                            args.beta2,
                            static_cast<float>(1.0 - args.beta2),
                            clip,
                            static_cast<float>(rate / correction1),
                            static_cast<float>(1.0 / ::sqrt(correction2)),
                            args.eps,
                            static_cast<float>(rate * p.weight_decay)};
    if (p.m16 != nullptr) {
      update_compact(p, b, f, args.zero_grad != 0, key);
      return;
    }
    auto* weight16 = static_cast<bf16*>(p.weight16);
    const block_arrays a = {grad, p.weight + b.begin,
                            weight16 == nullptr ? nullptr : weight16 + b.begin, p.m + b.begin,
                            p.v + b.begin};
    const bool zero_grad = args.zero_grad != 0;
    if (weight16 == nullptr)
      update<false, false>(a, count, f, zero_grad);
    else if (is_streamed(a.weight16, set.block_count * optimizer_block, W))
      update<true, true>(a, count, f, zero_grad);
    else
      update<true, false>(a, count, f, zero_grad);
  });
  return GRAFT_OK;
}

}  // namespace graft::GRAFT_ISA
