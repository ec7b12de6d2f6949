// LAMB over a parameter set (You et al., arXiv:1904.00962, algorithm 2).
//
//   g = clip grad;  m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2
//   r = m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps) + weight_decay w
//   w -= lr lr_scale |w| / |r| r
//
// Two passes, for |r| is known only when all of a parameter has been seen: the first writes the
// moments and sums the squares of w and r a block, the second makes r again (16 bytes read, where
// keeping it would write 4 and read 4 in memory that nobody has). 44 bytes a parameter with the
// bfloat16 copy.
//
//   name      dtype  shape    aligned to  in/out
//   grad      f32    [count]  element     in; 0 afterwards with zero_grad
//   weight    f32    [count]  element     in/out
//   weight16  bf16   [count]  element     out, optional
//   m, v      f32    [count]  element     in/out
#include <math.h>

#include "lanes.h"
#include "parallel.h"
#include "squares.h"

namespace graft::GRAFT_ISA {
namespace {

// r goes through a buffer of this many elements on its way to the sum.
constexpr int64_t piece = 1024;

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

// Moments of count <= piece elements, and the square of r.
double moments(const step_factors& f, float decay, float* grad, const float* weight, float* m,
               float* v, int64_t count, bool zero_grad) {
  float r[piece];
  const vf clip = splat(f.clip);
  const vf beta1 = splat(f.beta1), one_minus_beta1 = splat(f.one_minus_beta1);
  const vf beta2 = splat(f.beta2), one_minus_beta2 = splat(f.one_minus_beta2);
  for_lanes(0, count, [&](int64_t i, auto lanes) GRAFT_INLINE {
    const vf g = load(grad + i, lanes) * clip;
    const vf next_m = fma(beta1, load(m + i, lanes), one_minus_beta1 * g);
    const vf next_v = fma(beta2, load(v + i, lanes), one_minus_beta2 * g * g);
    store(m + i, next_m, lanes);
    store(v + i, next_v, lanes);
    store(r + i, direction(f, decay, load(weight + i, lanes), next_m, next_v), lanes);
    if (zero_grad) store(grad + i, zero(), lanes);
  });
  return sum_of_squares(r, count);
}

void update(const step_factors& f, float decay, float rate, const graft_parameter& p,
            int64_t begin, int64_t end) {
  auto* weight16 = static_cast<bf16*>(p.weight16);
  for_lanes(begin, end, [&](int64_t i, auto lanes) GRAFT_INLINE {
    const vf w = load(p.weight + i, lanes);
    const vf r = direction(f, decay, w, load(p.m + i, lanes), load(p.v + i, lanes));
    const vf next = fma(splat(-rate), r, w);
    store(p.weight + i, next, lanes);
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
    double sum = 0.0;
    for (int64_t i = b.begin; i < b.end; i += piece)
      sum += moments(f, p.weight_decay, p.grad + i, p.weight + i, p.m + i, p.v + i,
                     at_most(piece, b.end - i), zero_grad);
    direction_sums[block] = sum;
    weight_sums[block] = sum_of_squares(p.weight + b.begin, b.end - b.begin);
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
    update(f, p.weight_decay, static_cast<float>(rate), p, b.begin, b.end);
  });
  return GRAFT_OK;
}

}  // namespace graft::GRAFT_ISA
