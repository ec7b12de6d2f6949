// Global gradient norm: grad_norm = sqrt(sum g^2) over all parameters that are not frozen,
// clip_coefficient = min(1, max_norm / grad_norm) (Pascanu et al. 2013, arXiv:1211.5063, algorithm 1).
// Squares and sums are in double, so no float32 gradient overflows or underflows; each block of
// optimizer_block elements has its own sum, and the blocks are added in order.
//
//   name          dtype  shape     in/out
//   grad          f32    [count]   in (of each parameter)
//   step results  grad_norm, clip_coefficient, skip   out
#include <math.h>

#include "parallel.h"
#include "squares.h"

namespace graft::GRAFT_ISA {
int grad_norm(cpu_context& context, const graft_grad_norm_args& args) {
  graft_parameter_set& set = *args.parameters;
  parallel_for(context, set.block_count, set.block_count * optimizer_block, [&](int64_t block) {
    const parameter_block& b = set.blocks[block];
    const graft_parameter& p = set.parameters[b.parameter];
    set.partial_sums[block] =
        p.lr_scale == 0.0f ? 0.0 : sum_of_squares(p.grad + b.begin, b.end - b.begin);
  });
  double total = 0.0;
  for (int64_t block = 0; block < set.block_count; ++block) total += set.partial_sums[block];
  const double norm = ::sqrt(total);
  graft_step_results& results = context.results;
  results.grad_norm = static_cast<float>(norm);
  results.skip = __builtin_isfinite(results.grad_norm) ? 0 : 1;
  results.clip_coefficient = args.max_norm > 0.0f && args.max_norm < norm
                                 ? static_cast<float>(args.max_norm / norm)
                                 : 1.0f;
  return GRAFT_OK;
}

}  // namespace graft::GRAFT_ISA
