// The step state in device memory. What the host writes travels as a kernel's arguments: in order
// on the stream, no copy from memory that the caller may reuse, and no wait.
#include "context.h"

namespace graft::cuda {
namespace {

__global__ void clear(step_state* step) {
  if (threadIdx.x != 0) return;
  step_state start = {};
  start.inputs.struct_size = sizeof(graft_step_inputs);
  start.results.struct_size = sizeof(graft_step_results);
  start.results.clip_coefficient = 1.0f;
  for (float& scale : start.inputs.loss_scale) scale = 1.0f;
  *step = start;
}

__global__ void write_inputs(step_state* step, graft_step_inputs inputs) {
  if (threadIdx.x == 0) step->inputs = inputs;
}

__global__ void write_losses(step_state* step, graft_step_results from) {
  if (threadIdx.x != 0) return;
  GRAFT_UNROLL
  for (int slot = 0; slot < GRAFT_LOSS_SLOTS; ++slot) {
    step->results.loss_sum[slot] = from.loss_sum[slot];
    step->results.loss_weight[slot] = from.loss_weight[slot];
    step->results.loss_count[slot] = from.loss_count[slot];
  }
}

__global__ void write_counts(step_state* step, int64_t adam_t, int64_t skipped_steps) {
  if (threadIdx.x != 0) return;
  step->results.adam_t = adam_t;
  step->results.skipped_steps = skipped_steps;
}

launch_shape one_warp(const cuda_context& context) {
  return {dim3(1), warp_size, 0, context.stream};
}

}  // namespace

cudaError_t step_clear(const cuda_context& context) {
  return launch(clear, one_warp(context), context.step);
}

int step_begin(void* state, const graft_step_inputs* inputs) {
  const auto& context = *static_cast<cuda_context*>(state);
  GRAFT_TRY(enter(context, "step_begin"));
  return check(context, "step_begin",
               launch(write_inputs, one_warp(context), context.step, *inputs));
}

int loss_reset(void* state) {
  const auto& context = *static_cast<cuda_context*>(state);
  GRAFT_TRY(enter(context, "loss_reset"));
  return check(context, "loss_reset",
               launch(write_losses, one_warp(context), context.step, graft_step_results{}));
}

int step_read(void* state, graft_step_results* results) {
  const char* op = "step_read";
  const auto& context = *static_cast<cuda_context*>(state);
  GRAFT_TRY(enter_uncaptured(context, op));
  graft_step_results read;
  GRAFT_TRY(check(context, op,
                  cudaMemcpyAsync(&read, &context.step->results, sizeof read,
                                  cudaMemcpyDeviceToHost, context.stream)));
  GRAFT_TRY(check(context, op, cudaStreamSynchronize(context.stream)));
  *results = read;
  return GRAFT_OK;
}

int step_restore(void* state, const graft_step_results* results) {
  const char* op = "step_restore";
  const auto& context = *static_cast<cuda_context*>(state);
  GRAFT_TRY(enter(context, op));
  GRAFT_TRY(check(context, op, launch(write_losses, one_warp(context), context.step, *results)));
  return check(context, op,
               launch(write_counts, one_warp(context), context.step, results->adam_t,
                      results->skipped_steps));
}

}  // namespace graft::cuda
