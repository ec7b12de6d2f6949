// Softmax cross-entropy over the rows of each segment, with the logits' gradient in their place.
//
//   loss_s = ln sum_r e^x_r - x_target;   dlogits_r = loss_scale (e^x_r / sum - [r = target])
//
// One number a row, where the model has hundreds of channels: evaluated in double, a block a
// segment. The rows of no segment are one more. A segment of -inf only, a +inf, a NaN or a target
// outside of the segment gives NaN.
//
//   name         dtype  shape           stride  aligned to  in/out
//   logits       T      [R]             stride  element     in/out (in only with forward_only)
//   cu_segments  i32    [segments + 1]          element     in
//   targets      i32    [segments]              element     in
//   losses       f32    [segments]              element     out, optional
//   workspace: f64 [segments]
#include "loss.h"
#include "row_chunks.h"

namespace graft::cuda {
namespace {

constexpr int threads = 256;

template <typename T>
struct segment_params {
  T* logits;
  const int32_t* cu_segments;
  const int32_t* targets;
  float* losses;
  double* segment_losses;
  step_state* step;
  int64_t rows, segments, stride;
  int ignore_index;
  int slot;
  bool backward;
};

struct shared_state {
  loss_scratch scratch;
  float largest[threads / warp_size];
};

template <typename T>
GRAFT_DEVICE void clear(const segment_params<T>& p, int64_t begin, int64_t end) {
  for (int64_t r = begin + threadIdx.x; r < end; r += threads)
    assign(p.logits + r * p.stride, 0.0f);
}

// The loss, in every thread.
template <typename T>
GRAFT_DEVICE double run_segment(const segment_params<T>& p, int64_t begin, int64_t end, int target,
                                shared_state* shared) {
  const auto logit = [&](int64_t r) { return value_of(p.logits[r * p.stride]); };
  const bool is_row = target >= 0 && target < end - begin;
  const double x_target = is_row ? logit(begin + target) : float_from_bits(0x7FC00000u);
  float largest = float_from_bits(0xFF800000u);
  for (int64_t r = begin + threadIdx.x; r < end; r += threads) largest = maximum(largest, logit(r));
  const double top = block_maximum<threads>(largest, shared->largest);
  double sum = 0.0;
  for (int64_t r = begin + threadIdx.x; r < end; r += threads)
    sum += exponential(static_cast<double>(logit(r)) - top);
  sum = block_sum<threads>(sum, shared->scratch.warps);
  const double loss = natural_log(sum) - (x_target - top);
  // What is no row of the segment makes all its gradients NaN.
  const double scale = p.step->inputs.loss_scale[p.slot] + (is_row ? 0.0 : x_target);
  const double inverse = 1.0 / sum;
  if (p.backward)
    for (int64_t r = begin + threadIdx.x; r < end; r += threads) {
      const double probability = exponential(static_cast<double>(logit(r)) - top) * inverse;
      const double less = r - begin == target ? 1.0 : 0.0;
      assign(p.logits + r * p.stride, static_cast<float>(scale * (probability - less)));
    }
  return loss;
}

template <typename T>
__global__ void __launch_bounds__(threads) segment_classifier_kernel(segment_params<T> p) {
  auto* shared = shared_memory<shared_state>();
  for (int64_t s = blockIdx.x; s < p.segments; s += gridDim.x) {
    const int64_t begin = p.cu_segments[s], end = p.cu_segments[s + 1];
    const int target = p.targets[s];
    double loss = 0.0;
    if (target != p.ignore_index)
      loss = run_segment(p, begin, end, target, shared);
    else if (p.backward)
      clear(p, begin, end);
    if (threadIdx.x != 0) continue;
    p.segment_losses[s] = loss;
    if (p.losses != nullptr) p.losses[s] = static_cast<float>(loss);
  }
  if (p.backward && blockIdx.x == gridDim.x - 1) {
    clear(p, 0, p.segments == 0 ? p.rows : p.cu_segments[0]);
    if (p.segments > 0) clear(p, p.cu_segments[p.segments], p.rows);
  }
  add_losses<threads>(p.step, p.slot, p.segments, &shared->scratch, [&](int64_t s) -> loss_part {
    if (p.targets[s] == p.ignore_index) return {0.0, 0.0, 0};
    return {load_l2(p.segment_losses + s), 1.0, 1};
  });
}

template <typename T>
cudaError_t launch_segment_classifier(const cuda_context& context,
                                      const graft_segment_classifier_args& args) {
  segment_params<T> p = {};
  p.logits = static_cast<T*>(args.logits);
  p.cu_segments = args.cu_segments;
  p.targets = args.targets;
  p.losses = args.losses;
  p.segment_losses = static_cast<double*>(args.workspace);
  p.step = context.step;
  p.rows = args.rows;
  p.segments = args.segments;
  p.stride = stride_or(args.stride, 1);
  p.ignore_index = args.ignore_index;
  p.slot = args.slot;
  p.backward = args.forward_only == 0;
  const int64_t wanted = args.segments + 1, most = context.multiprocessors * 8;
  return launch(segment_classifier_kernel<T>,
                {dim3(static_cast<unsigned>(wanted < most ? wanted : most)), threads,
                 sizeof(shared_state), context.stream},
                p);
}

}  // namespace

int segment_classifier_workspace(const cuda_context&, const graft_segment_classifier_args& args,
                                 int64_t* bytes) {
  return loss_workspace("segment_classifier_workspace", "segments", args.segments, sizeof(double),
                        bytes);
}

int segment_classifier(cuda_context& context, const graft_segment_classifier_args& args) {
  const char* op = "segment_classifier";
  int64_t bytes = 0;
  GRAFT_TRY(segment_classifier_workspace(context, args, &bytes));
  GRAFT_TRY(check_workspace(op, args.workspace, args.workspace_bytes, bytes));
  return check(context, op,
               args.dtype == GRAFT_BFLOAT16 ? launch_segment_classifier<uint16_t>(context, args)
                                            : launch_segment_classifier<float>(context, args));
}

}  // namespace graft::cuda
