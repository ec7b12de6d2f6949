#include "../check.h"

#include <cmath>

namespace graft {

int check_random(const graft_random_args& args) {
  const char* op = "random";
  GRAFT_TRY(check_float_dtype(op, "dtype", args.dtype));
  GRAFT_TRY(check_range(op, "count", args.count, 0));
  GRAFT_TRY(check_product(op, "count", args.count, 1, 4));
  GRAFT_TRY(check_range(op, "kind", args.kind, 0, 1));
  GRAFT_TRY(check_pointer(op, "out", args.out, args.count, dtype_bytes(args.dtype)));
  const float low = args.kind == 0 ? 0.0f : args.a;
  if (!std::isfinite(args.a) || !std::isfinite(args.b) || args.b < low)
    return fail(GRAFT_INVALID_SHAPE, "%s: a, b: expected finite numbers, b at least %g, got %g, %g",
                op, static_cast<double>(low), static_cast<double>(args.a),
                static_cast<double>(args.b));
  return GRAFT_OK;
}

}  // namespace graft
