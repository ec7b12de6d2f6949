// Binary cross-entropy on logits, the gradient in their place.
//
//   loss = -(p y ln s(x) + (1 - y) ln s(-x));   dlogit = loss_scale ((1 - y) s(x) - p y s(-x))
//
// s(x) = 1 / (1 + e^-x), p the positive weight. -ln s(x) = ln(1 + e^-|x|) + max(-x, 0) neither
// overflows nor cancels, whatever x is.
//
//   name             dtype  shape   stride      aligned to  in/out
//   logits           T      [R, K]  row_stride  element     in/out (in only with forward_only)
//   targets          f32    [R, K]  packed      element     in
//   positive_weight  f32    [K]                 element     in, optional
//   losses           f32    [R]                 element     out, optional
#include <math.h>

#include "element_loss.h"

namespace graft::GRAFT_ISA {
namespace {

template <typename T>
void run(cpu_context& context, const graft_binary_cross_entropy_args& args) {
  const float* weights = args.positive_weight;
  run_element_losses(context, args, static_cast<T*>(args.logits),
                     [&](double x, double y, int64_t k) -> element_loss {
                       const double positive =
                           y * (weights == nullptr ? 1.0 : static_cast<double>(weights[k]));
                       const double negative = 1.0 - y;
                       const double e = ::exp(-::fabs(x));
                       const double log_term = ::log1p(e);
                       const double large = 1.0 / (1.0 + e);  // s(|x|)
                       const double small = e / (1.0 + e);    // s(-|x|)
                       const bool up = x >= 0.0;
                       const double minus_log_s = log_term + (up ? 0.0 : -x);
                       const double minus_log_rest = log_term + (up ? x : 0.0);
                       return {positive * minus_log_s + negative * minus_log_rest,
                               negative * (up ? large : small) - positive * (up ? small : large)};
                     });
}

}  // namespace

int binary_cross_entropy_workspace(const cpu_context&, const graft_binary_cross_entropy_args& args,
                                   int64_t* bytes) {
  return loss_workspace("binary_cross_entropy_workspace", "rows", args.rows, bytes);
}

int binary_cross_entropy(cpu_context& context, const graft_binary_cross_entropy_args& args) {
  const char* op = "binary_cross_entropy";
  int64_t bytes = 0;
  GRAFT_TRY(binary_cross_entropy_workspace(context, args, &bytes));
  GRAFT_TRY(check_workspace(op, args.workspace, args.workspace_bytes, bytes));
  GRAFT_TRY(check_targets(op, "0..1", args, [](float y) { return y >= 0.0f && y <= 1.0f; }));
  if (args.positive_weight != nullptr)
    for (int64_t k = 0; k < args.columns; ++k)
      GRAFT_TRY(check_weight(op, "positive_weight", args.positive_weight[k], k));
  if (args.dtype == GRAFT_BFLOAT16)
    run<bf16>(context, args);
  else
    run<float>(context, args);
  return GRAFT_OK;
}

}  // namespace graft::GRAFT_ISA
