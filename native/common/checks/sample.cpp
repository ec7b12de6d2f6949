#include "../check.h"

#include <cmath>

namespace graft {
namespace {

int number_error(const char* name, const char* expected, float got) {
  return fail(GRAFT_INVALID_SHAPE, "sample: %s: expected %s, got %g", name, expected,
              static_cast<double>(got));
}

}  // namespace

int check_sample(const graft_sample_args& args) {
  const char* op = "sample";
  GRAFT_TRY(check_float_dtype(op, "dtype", args.dtype));
  GRAFT_TRY(check_range(op, "batch", args.batch, 0, UINT32_MAX));
  GRAFT_TRY(check_range(op, "vocabulary", args.vocabulary, 1, INT32_MAX));
  GRAFT_TRY(check_stride(op, "row_stride", args.row_stride, args.vocabulary));
  GRAFT_TRY(check_product(op, "batch x row_stride", args.batch,
                          stride_or(args.row_stride, args.vocabulary), 4));
  GRAFT_TRY(check_range(op, "top_k", args.top_k, 0));
  if (!(args.temperature >= 0.0f) || !std::isfinite(args.temperature))
    return number_error("temperature", "a finite number of 0 or more", args.temperature);
  if (!(args.top_p > 0.0f && args.top_p <= 1.0f))
    return number_error("top_p", "a number in (0, 1]", args.top_p);
  if (!(args.repetition_penalty > 0.0f) || !std::isfinite(args.repetition_penalty))
    return number_error("repetition_penalty", "a finite number above 0", args.repetition_penalty);
  GRAFT_TRY(check_pointer(op, "logits", args.logits, args.batch, dtype_bytes(args.dtype)));
  GRAFT_TRY(check_pointer(op, "next", args.next, args.batch, 4));
  if (args.history == nullptr && args.history_counts == nullptr) return GRAFT_OK;
  GRAFT_TRY(check_range(op, "history_stride", args.history_stride, 0));
  GRAFT_TRY(check_product(op, "batch x history_stride", args.batch, args.history_stride, 4));
  GRAFT_TRY(check_pointer(op, "history", args.history, args.batch, 4));
  return check_pointer(op, "history_counts", args.history_counts, args.batch, 4);
}

}  // namespace graft
