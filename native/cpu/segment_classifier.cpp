// Softmax cross-entropy over the rows of each segment, with the logits' gradient in their place.
//
//   loss_s = ln sum_r e^x_r - x_target;   dlogits_r = loss_scale (e^x_r / sum - [r = target])
//
// One number a row, where the model has hundreds of channels: evaluated in double, one after the
// other. A segment of -inf only, a +inf or a NaN gives NaN, as IEEE arithmetic does.
//
//   name         dtype  shape           stride  aligned to  in/out
//   logits       T      [R]             stride  element     in/out (in only with forward_only)
//   cu_segments  i32    [segments + 1]          element     in
//   targets      i32    [segments]              element     in
//   losses       f32    [segments]              element     out, optional
#include <math.h>

#include "../common/check.h"
#include "loss.h"
#include "parallel.h"
#include "simd.h"

namespace graft::GRAFT_ISA {
namespace {

template <typename T>
double run_segment(T* logits, int64_t stride, int64_t length, int64_t target, bool backward,
                   double scale) {
  double top = -INFINITY;
  for (int64_t r = 0; r < length; ++r) {
    const double x = static_cast<double>(to_float(logits[r * stride]));
    if (!(x <= top)) top = x;  // a NaN stays
  }
  double sum = 0.0;
  for (int64_t r = 0; r < length; ++r)
    sum += ::exp(static_cast<double>(to_float(logits[r * stride])) - top);
  const double loss =
      ::log(sum) - (static_cast<double>(to_float(logits[target * stride])) - top);
  if (backward)
    for (int64_t r = 0; r < length; ++r) {
      const double p = ::exp(static_cast<double>(to_float(logits[r * stride])) - top) / sum;
      assign(logits + r * stride, static_cast<float>(scale * (p - (r == target ? 1.0 : 0.0))));
    }
  return loss;
}

template <typename T>
void clear(T* logits, int64_t stride, int64_t begin, int64_t end) {
  for (int64_t r = begin; r < end; ++r) assign(logits + r * stride, 0.0f);
}

template <typename T>
void run(cpu_context& context, const graft_segment_classifier_args& args) {
  auto* logits = static_cast<T*>(args.logits);
  auto* losses = static_cast<double*>(args.workspace);  // [segments], summed in order afterwards
  const int64_t stride = stride_or(args.stride, 1);
  const double scale = static_cast<double>(context.inputs.loss_scale[args.slot]);
  const bool backward = args.forward_only == 0;
  const int32_t* cu = args.cu_segments;
  parallel_for(context, args.segments, args.rows * 16, [&](int64_t s) {
    double loss = 0.0;
    if (args.targets[s] != args.ignore_index)
      loss = run_segment(logits + cu[s] * stride, stride, cu[s + 1] - cu[s], args.targets[s],
                         backward, scale);
    else if (backward)
      clear(logits, stride, cu[s], cu[s + 1]);
    losses[s] = loss;
    if (args.losses != nullptr) args.losses[s] = static_cast<float>(loss);
  });
  if (backward) {
    clear(logits, stride, 0, args.segments == 0 ? args.rows : cu[0]);
    if (args.segments > 0) clear(logits, stride, cu[args.segments], args.rows);
  }
  double total = 0.0;
  int64_t count = 0;
  for (int64_t s = 0; s < args.segments; ++s) {
    if (args.targets[s] == args.ignore_index) continue;
    total += losses[s];
    ++count;
  }
  add_loss(context, args.slot, total, static_cast<double>(count), count);
}

int check_segments(const graft_segment_classifier_args& args) {
  int64_t before = 0;
  for (int64_t s = 0; s <= args.segments && args.segments > 0; ++s) {
    const int64_t at = args.cu_segments[s];
    if (at < before || at > args.rows)
      return fail(GRAFT_INVALID_SHAPE,
                  "segment_classifier: cu_segments: expected %lld..%lld, got %lld at %lld",
                  static_cast<long long>(before), static_cast<long long>(args.rows),
                  static_cast<long long>(at), static_cast<long long>(s));
    before = at;
  }
  for (int64_t s = 0; s < args.segments; ++s) {
    const int32_t target = args.targets[s];
    const int32_t length = args.cu_segments[s + 1] - args.cu_segments[s];
    if (target == args.ignore_index || (target >= 0 && target < length)) continue;
    return fail(GRAFT_INVALID_SHAPE,
                "segment_classifier: targets: expected 0..%d or %d, got %d in segment %lld",
                length - 1, args.ignore_index, target, static_cast<long long>(s));
  }
  return GRAFT_OK;
}

}  // namespace

int segment_classifier_workspace(const cpu_context&, const graft_segment_classifier_args& args,
                                 int64_t* bytes) {
  return loss_workspace("segment_classifier_workspace", "segments", args.segments, bytes);
}

int segment_classifier(cpu_context& context, const graft_segment_classifier_args& args) {
  int64_t bytes = 0;
  GRAFT_TRY(segment_classifier_workspace(context, args, &bytes));
  GRAFT_TRY(check_workspace("segment_classifier", args.workspace, args.workspace_bytes, bytes));
  GRAFT_TRY(check_segments(args));
  if (args.dtype == GRAFT_BFLOAT16)
    run<bf16>(context, args);
  else
    run<float>(context, args);
  return GRAFT_OK;
}

}  // namespace graft::GRAFT_ISA
