// What every loss has: a double a row (or segment) as workspace, so that the sum does not depend on
// threads, and three sums in the step state.
#pragma once

#include "../common/check.h"
#include "cpu.h"

namespace graft::GRAFT_ISA {

// `of` names what there is a loss of.
static inline int loss_workspace(const char* op, const char* of, int64_t losses, int64_t* bytes) {
  GRAFT_TRY(check_range(op, of, losses, 0, INT64_MAX / 8));
  *bytes = losses * int64_t{sizeof(double)};
  return GRAFT_OK;
}

static inline void add_loss(cpu_context& context, int slot, double sum, double weight,
                            int64_t count) {
  context.results.loss_sum[slot] += sum;
  context.results.loss_weight[slot] += weight;
  context.results.loss_count[slot] += count;
}

}  // namespace graft::GRAFT_ISA
