#include "../check.h"

namespace graft {
namespace {

int check_common(const char* op, const graft_activation_args& args) {
  GRAFT_TRY(check_float_dtype(op, "dtype", args.dtype));
  GRAFT_TRY(check_range(op, "rows", args.rows, 0));
  GRAFT_TRY(check_range(op, "channels", args.channels, 1));
  GRAFT_TRY(check_product(op, "rows x channels", args.rows, args.channels, 4));
  GRAFT_TRY(check_range(op, "activation", args.activation, GRAFT_GELU_TANH, GRAFT_RELU));
  GRAFT_TRY(check_pointer(op, "x", args.x, args.rows, dtype_bytes(args.dtype)));
  return check_optional_pointer(op, "bias", args.bias, dtype_bytes(args.dtype));
}

}  // namespace

int check_activation_forward(const graft_activation_args& args) {
  const char* op = "activation_forward";
  GRAFT_TRY(check_common(op, args));
  return check_pointer(op, "y", args.y, args.rows, dtype_bytes(args.dtype));
}

int check_activation_backward(const graft_activation_args& args) {
  const char* op = "activation_backward";
  GRAFT_TRY(check_common(op, args));
  GRAFT_TRY(check_pointer(op, "dy", args.dy, args.rows, dtype_bytes(args.dtype)));
  GRAFT_TRY(check_pointer(op, "dx", args.dx, args.rows, dtype_bytes(args.dtype)));
  return check_optional_pointer(op, "dbias", args.dbias, 4);
}

}  // namespace graft
