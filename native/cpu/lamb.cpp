// LAMB over a parameter set (You et al., arXiv:1904.00962, algorithm 2).
//
//   g = clip grad;  m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2
//   r = m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps) + weight_decay w
//   w -= lr lr_scale |w| / |r| r
//
// Two passes, for |r| is known only when all of a parameter has been seen: the first writes the
// moments and sums the squares of w and r a block, the second makes r again (16 bytes read, where
// keeping it would write 4 and read 4 in memory that nobody has). 44 bytes a parameter with the
// bfloat16 copy, 28 in the compact form.
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
#include "squares.h"

namespace graft::GRAFT_ISA {
namespace {

// r goes through a buffer of this many elements on its way to the sum.
constexpr int64_t piece = compact_piece;

struct step_factors {
  float beta1, one_minus_beta1, beta2, one_minus_beta2, clip;
  float inverse_correction;  // 1 / (1 - b1^t)
  float inverse_deviation;   // 1 / sqrt(1 - b2^t)
  float eps;
};

GRAFT_INLINE static inline vf direction(const step_factors& f, float decay, vf w, vf m, vf v) {
  const vf ratio =
      splat(f.inverse_correction) * m / fma(sqrt(v), splat(f.inverse_deviation), splat(f.eps));
  return fma(splat(decay), w, ratio);
}

// Moments of count <= piece elements.
void moments(const step_factors& f, float* grad, float* m, float* v, int64_t count,
             bool zero_grad) {
  const vf clip = splat(f.clip);
  const vf beta1 = splat(f.beta1), one_minus_beta1 = splat(f.one_minus_beta1);
  const vf beta2 = splat(f.beta2), one_minus_beta2 = splat(f.one_minus_beta2);
  for_lanes(0, count, [&](int64_t i, auto lanes) GRAFT_INLINE {
    const vf g = load(grad + i, lanes) * clip;
    store(m + i, fma(beta1, load(m + i, lanes), one_minus_beta1 * g), lanes);
    store(v + i, fma(beta2, load(v + i, lanes), one_minus_beta2 * g * g), lanes);
    if (zero_grad) store(grad + i, zero(), lanes);
  });
}

// The square of r of count <= piece elements.
double direction_squares(const step_factors& f, float decay, const float* weight, const float* m,
                         const float* v, int64_t count) {
  float r[piece];
  for_lanes(0, count, [&](int64_t i, auto lanes) GRAFT_INLINE {
    store(r + i,
          direction(f, decay, load(weight + i, lanes), load(m + i, lanes), load(v + i, lanes)),
          lanes);
  });
  return sum_of_squares(r, count);
}

void update(const step_factors& f, float decay, float rate, float* weight, bf16* weight16,
            const float* m, const float* v, int64_t count) {
  for_lanes(0, count, [&](int64_t i, auto lanes) GRAFT_INLINE {
    const vf w = load(weight + i, lanes);
    const vf r = direction(f, decay, w, load(m + i, lanes), load(v + i, lanes));
    const vf next = fma(splat(-rate), r, w);
    store(weight + i, next, lanes);
    if (weight16 != nullptr) store(weight16 + i, next, lanes);
  });
}

}  // namespace

int lamb(cpu_context& context, const graft_lamb_args& args) {
  graft_parameter_set& set = *args.parameters;
  graft_step_results& results = context.results;
  const bool skip = results.skip != 0;
  const auto t = static_cast<double>(count_step(results));
  const step_factors f = {args.beta1,
                          static_cast<float>(1.0 - args.beta1),
                          args.beta2,
                          static_cast<float>(1.0 - args.beta2),
                          results.clip_coefficient,
                          static_cast<float>(1.0 / (1.0 - ::pow(args.beta1, t))),
                          static_cast<float>(1.0 / ::sqrt(1.0 - ::pow(args.beta2, t))),
                          args.eps};
  const bool zero_grad = args.zero_grad != 0;
  const uint64_t key =
      stream_key(context.inputs.seed, static_cast<uint64_t>(results.adam_t), rounding_op_id);
  const int64_t elements = set.block_count * optimizer_block;
  double* weight_sums = set.partial_sums;
  double* direction_sums = set.partial_sums + set.block_count;
  parallel_for(context, set.block_count, elements, [&](int64_t block) {
    const parameter_block& b = set.blocks[block];
    const graft_parameter& p = set.parameters[b.parameter];
    if (skip || p.lr_scale == 0.0f) {
      if (zero_grad)
        std::memset(p.grad + b.begin, 0, static_cast<size_t>(b.end - b.begin) * sizeof(float));
      return;
    }
    double directions = 0.0, weights = 0.0;
    for (int64_t i = b.begin; i < b.end; i += piece) {
      const int64_t count = at_most(piece, b.end - i);
      state_piece state(p, i, count);
      moments(f, p.grad + i, state.m(), state.v(), count, zero_grad);
      state.store_moments(key, b.parameter, true);
      directions +=
          direction_squares(f, p.weight_decay, state.weight(), state.m(), state.v(), count);
      weights += sum_of_squares(state.weight(), count);
    }
    direction_sums[block] = directions;
    weight_sums[block] = weights;
  });
  if (skip) return GRAFT_OK;
  // The trust of each parameter, where the sum of its first block was.
  for (int64_t block = 0, next = 0; block < set.block_count; block = next) {
    const graft_parameter& p = set.parameters[set.blocks[block].parameter];
    next = block + ceil_div(p.count, optimizer_block);
    if (p.lr_scale == 0.0f) continue;
    double weights = 0.0, directions = 0.0;
    for (int64_t i = block; i < next; ++i) {
      weights += weight_sums[i];
      directions += direction_sums[i];
    }
    const bool trusted = p.weight_decay > 0.0f && weights > 0.0 && directions > 0.0;
    weight_sums[block] = trusted ? ::sqrt(weights / directions) : 1.0;
  }
  parallel_for(context, set.block_count, elements, [&](int64_t block) {
    const parameter_block& b = set.blocks[block];
    const graft_parameter& p = set.parameters[b.parameter];
    if (p.lr_scale == 0.0f) return;
    const double trust = weight_sums[block - b.begin / optimizer_block];
    const double rate = static_cast<double>(context.inputs.lr) * p.lr_scale * trust;
    for (int64_t i = b.begin; i < b.end; i += piece) {
      const int64_t count = at_most(piece, b.end - i);
      state_piece state(p, i, count);
      update(f, p.weight_decay, static_cast<float>(rate), state.weight(), state.weight16(),
             state.m(), state.v(), count);
      state.store_weight();
    }
  });
  return GRAFT_OK;
}

}  // namespace graft::GRAFT_ISA
