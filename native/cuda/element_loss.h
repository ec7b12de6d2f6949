// Losses of single elements against float targets [R, K], with the gradient in the element's place:
// what binary cross-entropy and mean squared error share. A warp takes a row, lane i its columns i,
// i + 32, ...; evaluated in double, as on the CPU.
#pragma once

#include "loss.h"
#include "row_chunks.h"

namespace graft::cuda {

constexpr int element_loss_threads = 256;

// Of a row: in the workspace.
struct element_row_loss {
  double sum;
  int64_t count;
};

// A loss and its derivative.
struct element_loss {
  double loss, derivative;
};

template <typename T>
struct element_loss_params {
  T* values;
  const float* targets;
  float* losses;
  element_row_loss* row_losses;
  step_state* step;
  int64_t rows, columns, row_stride;
  float ignore_value;
  int slot;
  bool backward;
};

template <typename T, typename Loss>
__global__ void __launch_bounds__(element_loss_threads)
    element_loss_kernel(element_loss_params<T> p, Loss loss_of) {
  constexpr int warps = element_loss_threads / warp_size;
  auto* scratch = shared_memory<loss_scratch>();
  const double scale = p.step->inputs.loss_scale[p.slot];
  for (int64_t r = int64_t{blockIdx.x} * warps + warp_id(); r < p.rows;
       r += int64_t{gridDim.x} * warps) {
    T* x = p.values + r * p.row_stride;
    const float* y = p.targets + r * p.columns;
    double sum = 0.0;
    int64_t count = 0;
    for (int64_t k = lane_id(); k < p.row_stride; k += warp_size) {
      element_loss e = {0.0, 0.0};
      if (k < p.columns && y[k] != p.ignore_value) {
        e = loss_of(static_cast<double>(value_of(x[k])), y[k], k);
        ++count;
      }
      sum += e.loss;
      if (p.backward) assign(x + k, static_cast<float>(scale * e.derivative));
    }
    sum = warp_sum(sum);
    count = warp_sum(count);
    if (lane_id() != 0) continue;
    p.row_losses[r] = {sum, count};
    if (p.losses != nullptr) p.losses[r] = static_cast<float>(sum);
  }
  add_losses<element_loss_threads>(
      p.step, p.slot, p.rows, scratch, [&](int64_t r) -> loss_part {
        const auto count = static_cast<int64_t>(load_l2(&p.row_losses[r].count));
        return {load_l2(&p.row_losses[r].sum), static_cast<double>(count), count};
      });
}

// Args holds rows, columns, targets, losses and so on as graft.h has them; `values` is its logits
// or predictions.
template <typename T, typename Args, typename Loss>
cudaError_t launch_element_losses(const cuda_context& context, const Args& args, void* values,
                                  const Loss& loss_of) {
  element_loss_params<T> p = {};
  p.values = static_cast<T*>(values);
  p.targets = args.targets;
  p.losses = args.losses;
  p.row_losses = static_cast<element_row_loss*>(args.workspace);
  p.step = context.step;
  p.rows = args.rows;
  p.columns = args.columns;
  p.row_stride = stride_or(args.row_stride, args.columns);
  p.ignore_value = args.ignore_value;
  p.slot = args.slot;
  p.backward = args.forward_only == 0;
  constexpr int64_t warps = element_loss_threads / warp_size;
  const int64_t wanted = (args.rows + warps - 1) / warps, most = context.multiprocessors * 8;
  return launch(element_loss_kernel<T, Loss>,
                {dim3(static_cast<unsigned>(wanted < most ? wanted : most)), element_loss_threads,
                 sizeof(loss_scratch), context.stream},
                p, loss_of);
}

template <typename Args, typename Loss>
int run_element_losses(const cuda_context& context, const char* op, const Args& args, void* values,
                       const Loss& loss_of) {
  int64_t bytes = 0;
  GRAFT_TRY(loss_workspace(op, "rows", args.rows, sizeof(element_row_loss), &bytes));
  GRAFT_TRY(check_workspace(op, args.workspace, args.workspace_bytes, bytes));
  if (args.rows == 0) return GRAFT_OK;
  return check(context, op,
               args.dtype == GRAFT_BFLOAT16
                   ? launch_element_losses<uint16_t>(context, args, values, loss_of)
                   : launch_element_losses<float>(context, args, values, loss_of));
}

}  // namespace graft::cuda
