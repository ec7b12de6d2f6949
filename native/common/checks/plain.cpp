// cast, add, dropout, gather_rows, scatter_rows, column_sum, quantize.
#include "../check.h"

namespace graft {
namespace {

int check_rows(const char* op, const graft_rows_args& args, int64_t in_rows, int64_t out_rows) {
  GRAFT_TRY(check_float_dtype(op, "dtype", args.dtype));
  GRAFT_TRY(check_range(op, "count", args.count, 0));
  GRAFT_TRY(check_range(op, "source_rows", args.source_rows, 0));
  GRAFT_TRY(check_range(op, "channels", args.channels, 0));
  GRAFT_TRY(check_range(op, "accumulate", args.accumulate, 0, 1));
  GRAFT_TRY(check_product(op, "count x channels", args.count, args.channels, 4));
  GRAFT_TRY(check_product(op, "source_rows x channels", args.source_rows, args.channels, 4));
  const int64_t bytes = dtype_bytes(args.dtype);
  GRAFT_TRY(check_pointer(op, "index", args.index, args.count, 4));
  GRAFT_TRY(check_pointer(op, "in", args.in, in_rows * args.channels, bytes));
  return check_pointer(op, "out", args.out, out_rows * args.channels, bytes);
}

int check_cast_dtype(const char* name, int32_t dtype) {
  if (dtype == GRAFT_INT32) return GRAFT_OK;
  return check_float_dtype("cast", name, dtype);
}

}  // namespace

int check_cast(const graft_cast_args& args) {
  const char* op = "cast";
  GRAFT_TRY(check_cast_dtype("from_dtype", args.from_dtype));
  GRAFT_TRY(check_cast_dtype("to_dtype", args.to_dtype));
  if (args.from_dtype != args.to_dtype &&
      (args.from_dtype == GRAFT_INT32 || args.to_dtype == GRAFT_INT32))
    return fail(GRAFT_INVALID_DTYPE,
                "%s: from_dtype, to_dtype: expected float32 and bfloat16 or equal dtypes, got %d, %d",
                op, static_cast<int>(args.from_dtype), static_cast<int>(args.to_dtype));
  GRAFT_TRY(check_range(op, "count", args.count, 0));
  GRAFT_TRY(check_product(op, "count", args.count, 1, 4));
  GRAFT_TRY(check_pointer(op, "from", args.from, args.count, dtype_bytes(args.from_dtype)));
  return check_pointer(op, "to", args.to, args.count, dtype_bytes(args.to_dtype));
}

int check_add(const graft_add_args& args) {
  const char* op = "add";
  GRAFT_TRY(check_float_dtype(op, "dtype", args.dtype));
  GRAFT_TRY(check_range(op, "count", args.count, 0));
  GRAFT_TRY(check_product(op, "count", args.count, 1, 4));
  const int64_t bytes = dtype_bytes(args.dtype);
  GRAFT_TRY(check_pointer(op, "a", args.a, args.count, bytes));
  GRAFT_TRY(check_pointer(op, "b", args.b, args.count, bytes));
  return check_pointer(op, "out", args.out, args.count, bytes);
}

int check_dropout(const graft_dropout_args& args) {
  const char* op = "dropout";
  GRAFT_TRY(check_float_dtype(op, "dtype", args.dtype));
  GRAFT_TRY(check_range(op, "rows", args.rows, 0, UINT32_MAX));
  GRAFT_TRY(check_range(op, "channels", args.channels, 0));
  GRAFT_TRY(check_product(op, "rows x channels", args.rows, args.channels, 4));
  GRAFT_TRY(check_dropout(op, "dropout", args.dropout));
  const int64_t elements = args.rows * args.channels;
  GRAFT_TRY(check_pointer(op, "x", args.x, elements, dtype_bytes(args.dtype)));
  return check_pointer(op, "y", args.y, elements, dtype_bytes(args.dtype));
}

int check_gather_rows(const graft_rows_args& args) {
  return check_rows("gather_rows", args, args.source_rows, args.count);
}

int check_scatter_rows(const graft_rows_args& args) {
  return check_rows("scatter_rows", args, args.count, args.source_rows);
}

int check_quantize(const graft_quantize_args& args) {
  const char* op = "quantize";
  GRAFT_TRY(check_float_dtype(op, "dtype", args.dtype));
  if (args.to_dtype != GRAFT_FLOAT8_E4M3 && args.to_dtype != GRAFT_FLOAT8_E5M2)
    return fail(GRAFT_INVALID_DTYPE,
                "%s: to_dtype: expected GRAFT_FLOAT8_E4M3 or GRAFT_FLOAT8_E5M2, got %d", op,
                static_cast<int>(args.to_dtype));
  GRAFT_TRY(check_range(op, "rows", args.rows, 0));
  GRAFT_TRY(check_range(op, "channels", args.channels, 0));
  GRAFT_TRY(check_product(op, "rows x channels", args.rows, args.channels, 4));
  GRAFT_TRY(check_pointer(op, "scale", args.scale, 1, 4));
  return check_pointer(op, "x", args.x, args.rows * args.channels, dtype_bytes(args.dtype));
}

int check_column_sum(const graft_column_sum_args& args) {
  const char* op = "column_sum";
  GRAFT_TRY(check_float_dtype(op, "dtype", args.dtype));
  GRAFT_TRY(check_range(op, "rows", args.rows, 0));
  GRAFT_TRY(check_range(op, "channels", args.channels, 0));
  GRAFT_TRY(check_product(op, "rows x channels", args.rows, args.channels, 4));
  GRAFT_TRY(check_pointer(op, "x", args.x, args.rows * args.channels, dtype_bytes(args.dtype)));
  return check_pointer(op, "out", args.out, args.channels, 4);
}

}  // namespace graft
