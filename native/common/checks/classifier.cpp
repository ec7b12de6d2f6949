#include <cmath>

#include "../check.h"

namespace graft {

int check_classifier(const graft_classifier_args& args) {
  const char* op = "classifier";
  GRAFT_TRY(check_float_dtype(op, "dtype", args.dtype));
  GRAFT_TRY(check_range(op, "rows", args.rows, 0));
  GRAFT_TRY(check_range(op, "vocabulary", args.vocabulary, 1, INT32_MAX));
  GRAFT_TRY(check_stride(op, "row_stride", args.row_stride, args.vocabulary));
  GRAFT_TRY(check_product(op, "rows x row_stride", args.rows,
                          stride_or(args.row_stride, args.vocabulary), 4));
  GRAFT_TRY(check_range(op, "slot", args.slot, 0, GRAFT_LOSS_SLOTS - 1));
  GRAFT_TRY(check_range(op, "forward_only", args.forward_only, 0, 1));
  if (!(args.label_smoothing >= 0.0f && args.label_smoothing <= 1.0f))
    return fail(GRAFT_INVALID_SHAPE, "%s: label_smoothing: expected 0..1, got %g", op,
                static_cast<double>(args.label_smoothing));
  GRAFT_TRY(check_pointer(op, "logits", args.logits, args.rows, dtype_bytes(args.dtype)));
  GRAFT_TRY(check_pointer(op, "targets", args.targets, args.rows, 4));
  GRAFT_TRY(check_optional_pointer(op, "weights", args.weights, 4));
  return check_optional_pointer(op, "losses", args.losses, 4);
}

int check_segment_classifier(const graft_segment_classifier_args& args) {
  const char* op = "segment_classifier";
  GRAFT_TRY(check_float_dtype(op, "dtype", args.dtype));
  GRAFT_TRY(check_range(op, "rows", args.rows, 0, INT32_MAX));
  GRAFT_TRY(check_range(op, "segments", args.segments, 0, INT32_MAX));
  GRAFT_TRY(check_stride(op, "stride", args.stride, 1));
  GRAFT_TRY(check_product(op, "rows x stride", args.rows, stride_or(args.stride, 1), 4));
  GRAFT_TRY(check_range(op, "slot", args.slot, 0, GRAFT_LOSS_SLOTS - 1));
  GRAFT_TRY(check_range(op, "forward_only", args.forward_only, 0, 1));
  GRAFT_TRY(check_pointer(op, "logits", args.logits, args.rows, dtype_bytes(args.dtype)));
  GRAFT_TRY(check_pointer(op, "cu_segments", args.cu_segments, args.segments, 4));
  GRAFT_TRY(check_pointer(op, "targets", args.targets, args.segments, 4));
  return check_optional_pointer(op, "losses", args.losses, 4);
}

// What the losses with float targets share.
template <typename Args>
static int check_elements(const char* op, const char* name, const void* values, const Args& args) {
  GRAFT_TRY(check_float_dtype(op, "dtype", args.dtype));
  GRAFT_TRY(check_range(op, "rows", args.rows, 0));
  GRAFT_TRY(check_range(op, "columns", args.columns, 1));
  GRAFT_TRY(check_stride(op, "row_stride", args.row_stride, args.columns));
  GRAFT_TRY(check_product(op, "rows x row_stride", args.rows,
                          stride_or(args.row_stride, args.columns), 4));
  GRAFT_TRY(check_range(op, "slot", args.slot, 0, GRAFT_LOSS_SLOTS - 1));
  GRAFT_TRY(check_range(op, "forward_only", args.forward_only, 0, 1));
  if (!std::isfinite(args.ignore_value))
    return fail(GRAFT_INVALID_SHAPE, "%s: ignore_value: expected a finite number, got %g", op,
                static_cast<double>(args.ignore_value));
  GRAFT_TRY(check_pointer(op, name, values, args.rows, dtype_bytes(args.dtype)));
  GRAFT_TRY(check_pointer(op, "targets", args.targets, args.rows, 4));
  return check_optional_pointer(op, "losses", args.losses, 4);
}

int check_binary_cross_entropy(const graft_binary_cross_entropy_args& args) {
  const char* op = "binary_cross_entropy";
  GRAFT_TRY(check_optional_pointer(op, "positive_weight", args.positive_weight, 4));
  return check_elements(op, "logits", args.logits, args);
}

int check_mean_squared_error(const graft_mean_squared_error_args& args) {
  return check_elements("mean_squared_error", "predictions", args.predictions, args);
}

}  // namespace graft
