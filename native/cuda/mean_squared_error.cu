// Squared error with the gradient in the predictions' place.
//
//   loss = (x - y)^2;   dprediction = loss_scale 2 (x - y)
//
//   name         dtype  shape   stride      aligned to  in/out
//   predictions  T      [R, K]  row_stride  element     in/out (in only with forward_only)
//   targets      f32    [R, K]  packed      element     in
//   losses       f32    [R]                 element     out, optional
//   workspace: element_row_loss [R]
#include "element_loss.h"

namespace graft::cuda {
namespace {

struct squared_error {
  __device__ __forceinline__ element_loss operator()(double x, float target, int64_t) const {
    const double difference = x - static_cast<double>(target);
    return {difference * difference, 2.0 * difference};
  }
};

}  // namespace

int mean_squared_error_workspace(const cuda_context&, const graft_mean_squared_error_args& args,
                                 int64_t* bytes) {
  return loss_workspace("mean_squared_error_workspace", "rows", args.rows,
                        sizeof(element_row_loss), bytes);
}

int mean_squared_error(cuda_context& context, const graft_mean_squared_error_args& args) {
  return run_element_losses(context, "mean_squared_error", args, args.predictions,
                            squared_error{});
}

}  // namespace graft::cuda
