// Binary cross-entropy on logits, the gradient in their place.
//
//   loss = -(p y ln s(x) + (1 - y) ln s(-x));   dlogit = loss_scale ((1 - y) s(x) - p y s(-x))
//
// s(x) = 1 / (1 + e^-x), p the positive weight. -ln s(x) = ln(1 + e^-|x|) + max(-x, 0) neither
// overflows nor cancels, whatever x is. A target outside of [0, 1] gives NaN.
//
//   name             dtype  shape   stride      aligned to  in/out
//   logits           T      [R, K]  row_stride  element     in/out (in only with forward_only)
//   targets          f32    [R, K]  packed      element     in
//   positive_weight  f32    [K]                 element     in, optional
//   losses           f32    [R]                 element     out, optional
//   workspace: element_row_loss [R]
#include "element_loss.h"

namespace graft::cuda {
namespace {

struct binary_cross_entropy_loss {
  const float* positive_weight;

  __device__ __forceinline__ element_loss operator()(double x, float target, int64_t k) const {
    const double y = target >= 0.0f && target <= 1.0f ? target : float_from_bits(0x7FC00000u);
    const double positive =
        y * (positive_weight == nullptr ? 1.0 : static_cast<double>(positive_weight[k]));
    const double negative = 1.0 - y;
    const bool up = x >= 0.0;
    const double e = exponential(up ? -x : x);
    const double log_term = natural_log_plus_one(e);
    const double large = 1.0 / (1.0 + e);  // s(|x|)
    const double small = e / (1.0 + e);    // s(-|x|)
    const double minus_log_s = log_term + (up ? 0.0 : -x);
    const double minus_log_rest = log_term + (up ? x : 0.0);
    return {positive * minus_log_s + negative * minus_log_rest,
            negative * (up ? large : small) - positive * (up ? small : large)};
  }
};

}  // namespace

int binary_cross_entropy_workspace(const cuda_context&, const graft_binary_cross_entropy_args& args,
                                   int64_t* bytes) {
  return loss_workspace("binary_cross_entropy_workspace", "rows", args.rows,
                        sizeof(element_row_loss), bytes);
}

int binary_cross_entropy(cuda_context& context, const graft_binary_cross_entropy_args& args) {
  return run_element_losses(context, "binary_cross_entropy", args, args.logits,
                            binary_cross_entropy_loss{args.positive_weight});
}

}  // namespace graft::cuda
