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
  GRAFT_TRY(check_pointer(op, "logits", args.logits, args.rows, dtype_bytes(args.dtype)));
  GRAFT_TRY(check_pointer(op, "targets", args.targets, args.rows, 4));
  return check_optional_pointer(op, "losses", args.losses, 4);
}

}  // namespace graft
