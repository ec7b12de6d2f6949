#include "../check.h"

namespace graft {
namespace {

template <typename Args>
int check_sizes(const char* op, const Args& args) {
  GRAFT_TRY(check_float_dtype(op, "dtype", args.dtype));
  GRAFT_TRY(check_range(op, "rows", args.rows, 0, UINT32_MAX));
  GRAFT_TRY(check_range(op, "channels", args.channels, 1));
  GRAFT_TRY(check_product(op, "rows x channels", args.rows, args.channels, 4));
  GRAFT_TRY(check_dropout(op, "dropout", args.dropout));
  return check_dropout(op, "out_dropout", args.out_dropout);
}

}  // namespace

int check_add_norm_forward(const graft_add_norm_args& args) {
  const char* op = "add_norm_forward";
  GRAFT_TRY(check_sizes(op, args));
  const int64_t bytes = dtype_bytes(args.dtype);
  if (!(args.eps >= 0.0f) || args.eps > 3.4e38f)
    return fail(GRAFT_INVALID_SHAPE, "%s: eps: expected a finite number of 0 or more, got %g", op,
                static_cast<double>(args.eps));
  GRAFT_TRY(check_pointer(op, "x", args.x, args.rows, bytes));
  GRAFT_TRY(check_optional_pointer(op, "residual", args.residual, bytes));
  GRAFT_TRY(check_optional_pointer(op, "sum", args.sum, bytes));
  if (args.rows > 0 && args.sum == nullptr && (args.residual != nullptr || args.dropout != 0))
    return fail(GRAFT_INVALID_ARGUMENT,
                "%s: sum: expected an address, as there is a residual or dropout, got NULL", op);
  GRAFT_TRY(check_pointer(op, "out", args.out, args.rows, bytes));
  GRAFT_TRY(check_pointer(op, "gamma", args.gamma, args.rows, bytes));
  GRAFT_TRY(check_pointer(op, "beta", args.beta, args.rows, bytes));
  GRAFT_TRY(check_pointer(op, "mean", args.mean, args.rows, 4));
  return check_pointer(op, "rstd", args.rstd, args.rows, 4);
}

int check_add_norm_backward(const graft_add_norm_backward_args& args) {
  const char* op = "add_norm_backward";
  GRAFT_TRY(check_sizes(op, args));
  const int64_t bytes = dtype_bytes(args.dtype);
  GRAFT_TRY(check_pointer(op, "dout", args.dout, args.rows, bytes));
  GRAFT_TRY(check_optional_pointer(op, "dsum", args.dsum, bytes));
  GRAFT_TRY(check_pointer(op, "sum", args.sum, args.rows, bytes));
  GRAFT_TRY(check_pointer(op, "gamma", args.gamma, args.rows, bytes));
  GRAFT_TRY(check_pointer(op, "mean", args.mean, args.rows, 4));
  GRAFT_TRY(check_pointer(op, "rstd", args.rstd, args.rows, 4));
  GRAFT_TRY(check_optional_pointer(op, "dresidual", args.dresidual, bytes));
  GRAFT_TRY(check_optional_pointer(op, "dx", args.dx, bytes));
  GRAFT_TRY(check_optional_pointer(op, "dgamma", args.dgamma, 4));
  GRAFT_TRY(check_optional_pointer(op, "dbeta", args.dbeta, 4));
  return check_optional_pointer(op, "dbias", args.dbias, 4);
}

}  // namespace graft
