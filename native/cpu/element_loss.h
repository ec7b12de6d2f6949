// Losses of single elements against float targets [R, K], with the gradient in the element's place:
// what binary cross-entropy and mean squared error share. They have a few columns a sequence where a
// model has thousands of activations, so they are evaluated in double, one element after the other.
#pragma once

#include "../common/check.h"
#include "loss.h"
#include "parallel.h"
#include "simd.h"

namespace graft::GRAFT_ISA {

// A loss and its derivative.
struct element_loss {
  double loss;
  double derivative;
};

// loss_of(x, y, column) of each element with y != ignore_value. Args holds rows, columns, targets,
// losses and so on as graft.h has them; `values` is its logits or predictions.
template <typename T, typename Args, typename Loss>
static inline void run_element_losses(cpu_context& context, const Args& args, T* values,
                                      const Loss& loss_of) {
  auto* losses = static_cast<double*>(args.workspace);  // [R], summed in row order afterwards
  const int64_t K = args.columns;
  const int64_t stride = stride_or(args.row_stride, K);
  const double scale = static_cast<double>(context.inputs.loss_scale[args.slot]);
  const bool backward = args.forward_only == 0;
  parallel_for(context, args.rows, args.rows * stride, [&](int64_t r) {
    T* x = values + r * stride;
    const float* y = args.targets + r * K;
    double total = 0.0;
    for (int64_t k = 0; k < K; ++k) {
      element_loss e = {0.0, 0.0};
      if (y[k] != args.ignore_value)
        e = loss_of(static_cast<double>(to_float(x[k])), static_cast<double>(y[k]), k);
      total += e.loss;
      if (backward) assign(x + k, static_cast<float>(scale * e.derivative));
    }
    if (backward)
      std::memset(static_cast<void*>(x + K), 0, static_cast<size_t>(stride - K) * sizeof(T));
    losses[r] = total;
    if (args.losses != nullptr) args.losses[r] = static_cast<float>(total);
  });
  double total = 0.0;
  for (int64_t r = 0; r < args.rows; ++r) total += losses[r];
  int64_t count = 0;
  for (int64_t i = 0; i < args.rows * K; ++i) count += args.targets[i] != args.ignore_value;
  add_loss(context, args.slot, total, static_cast<double>(count), count);
}

// Every target passes `right` or is ignored, before anything is written.
template <typename Args, typename Right>
static inline int check_targets(const char* op, const char* expected, const Args& args,
                                const Right& right) {
  for (int64_t i = 0; i < args.rows * args.columns; ++i) {
    const float y = args.targets[i];
    if (y == args.ignore_value || right(y)) continue;
    return fail(GRAFT_INVALID_SHAPE, "%s: targets: expected %s or %g, got %g in row %lld, column %lld",
                op, expected, static_cast<double>(args.ignore_value), static_cast<double>(y),
                static_cast<long long>(i / args.columns), static_cast<long long>(i % args.columns));
  }
  return GRAFT_OK;
}

}  // namespace graft::GRAFT_ISA
