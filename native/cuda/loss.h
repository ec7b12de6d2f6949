// What the losses share: a double a row (or segment) in the workspace, and the block that finishes
// last, which adds them to the step state's sums. Thread i adds those of rows i, i + threads, ...,
// a tree adds the threads: the order depends on the number of rows alone.
#pragma once

#include "../common/check.h"
#include "context.h"
#include "reduce.h"

namespace graft::cuda {

struct loss_part {
  double sum, weight;
  int64_t count;
};

struct loss_scratch {
  double warps[32];
  int is_last;
};

// Every thread of the grid comes here after its last row. part_of(i) is row i's part.
template <int threads, typename PartOf>
GRAFT_DEVICE void add_losses(step_state* step, int slot, int64_t rows, loss_scratch* scratch,
                             const PartOf& part_of) {
  thread_fence();
  sync_threads();
  if (threadIdx.x == 0)
    scratch->is_last = atomic_add(&step->finished, 1) == static_cast<int>(gridDim.x) - 1;
  sync_threads();
  if (scratch->is_last == 0) return;
  thread_fence();
  loss_part total = {0.0, 0.0, 0};
  for (int64_t i = threadIdx.x; i < rows; i += threads) {
    const loss_part part = part_of(i);
    total.sum += part.sum;
    total.weight += part.weight;
    total.count += part.count;
  }
  total.sum = block_sum<threads>(total.sum, scratch->warps);
  total.weight = block_sum<threads>(total.weight, scratch->warps);
  // A double holds any count of labels exactly.
  const double count = block_sum<threads>(static_cast<double>(total.count), scratch->warps);
  if (threadIdx.x != 0) return;
  step->finished = 0;
  step->results.loss_sum[slot] += total.sum;
  step->results.loss_weight[slot] += total.weight;
  step->results.loss_count[slot] += static_cast<int64_t>(count);
}

// The workspace query: bytes_each for every loss; `of` names what there is a loss of.
inline int loss_workspace(const char* op, const char* of, int64_t losses, int64_t bytes_each,
                          int64_t* bytes) {
  GRAFT_TRY(check_range(op, of, losses, 0, INT64_MAX / bytes_each));
  *bytes = losses * bytes_each;
  return GRAFT_OK;
}

}  // namespace graft::cuda
