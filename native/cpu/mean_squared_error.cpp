// Squared error with the gradient in the predictions' place.
//
//   loss = (x - y)^2;   dprediction = loss_scale 2 (x - y)
//
//   name         dtype  shape   stride      aligned to  in/out
//   predictions  T      [R, K]  row_stride  element     in/out (in only with forward_only)
//   targets      f32    [R, K]  packed      element     in
//   losses       f32    [R]                 element     out, optional
#include <math.h>

#include "element_loss.h"

namespace graft::GRAFT_ISA {
namespace {

template <typename T>
void run(cpu_context& context, const graft_mean_squared_error_args& args) {
  run_element_losses(context, args, static_cast<T*>(args.predictions),
                     [](double x, double y, int64_t) -> element_loss {
                       const double difference = x - y;
                       return {difference * difference, 2.0 * difference};
                     });
}

}  // namespace

int mean_squared_error_workspace(const cpu_context&, const graft_mean_squared_error_args& args,
                                 int64_t* bytes) {
  return loss_workspace("mean_squared_error_workspace", "rows", args.rows, bytes);
}

int mean_squared_error(cpu_context& context, const graft_mean_squared_error_args& args) {
  const char* op = "mean_squared_error";
  int64_t bytes = 0;
  GRAFT_TRY(mean_squared_error_workspace(context, args, &bytes));
  GRAFT_TRY(check_workspace(op, args.workspace, args.workspace_bytes, bytes));
  GRAFT_TRY(check_targets(op, "a finite number", args, [](float y) { return isfinite(y) != 0; }));
  if (args.dtype == GRAFT_BFLOAT16)
    run<bf16>(context, args);
  else
    run<float>(context, args);
  return GRAFT_OK;
}

}  // namespace graft::GRAFT_ISA
