#include "../check.h"

namespace graft {
namespace {

// A second table comes with its ids, or not at all.
int check_table(const char* op, const char* ids_name, const char* table_name, const int32_t* ids,
                const void* table, const graft_embedding_args& args, int64_t rows) {
  if (table == nullptr && ids == nullptr) return GRAFT_OK;
  GRAFT_TRY(check_range(op, table_name, rows, 0));
  GRAFT_TRY(check_product(op, table_name, rows, args.channels, 4));
  GRAFT_TRY(check_pointer(op, ids_name, ids, args.tokens, 4));
  return check_pointer(op, table_name, table, args.tokens * args.channels, dtype_bytes(args.dtype));
}

}  // namespace

int check_embedding_forward(const graft_embedding_args& args) {
  const char* op = "embedding_forward";
  GRAFT_TRY(check_float_dtype(op, "dtype", args.dtype));
  GRAFT_TRY(check_range(op, "tokens", args.tokens, 0));
  GRAFT_TRY(check_range(op, "channels", args.channels, 1));
  GRAFT_TRY(check_range(op, "token_rows", args.token_rows, 0));
  GRAFT_TRY(check_product(op, "tokens x channels", args.tokens, args.channels, 4));
  GRAFT_TRY(check_product(op, "token_rows x channels", args.token_rows, args.channels, 4));
  const int64_t bytes = dtype_bytes(args.dtype);
  GRAFT_TRY(check_pointer(op, "ids", args.ids, args.tokens, 4));
  GRAFT_TRY(check_pointer(op, "token_table", args.token_table, args.tokens, bytes));
  GRAFT_TRY(check_pointer(op, "out", args.out, args.tokens, bytes));
  GRAFT_TRY(check_table(op, "positions", "position_table", args.positions, args.position_table,
                        args, args.position_rows));
  return check_table(op, "types", "type_table", args.types, args.type_table, args, args.type_rows);
}

int check_embedding_backward(const graft_embedding_backward_args& args) {
  const char* op = "embedding_backward";
  GRAFT_TRY(check_float_dtype(op, "dtype", args.dtype));
  GRAFT_TRY(check_range(op, "tokens", args.tokens, 0, INT32_MAX));
  GRAFT_TRY(check_range(op, "channels", args.channels, 1));
  GRAFT_TRY(check_range(op, "rows", args.rows, 0));
  GRAFT_TRY(check_product(op, "tokens x channels", args.tokens, args.channels, 4));
  GRAFT_TRY(check_product(op, "rows x channels", args.rows, args.channels, 4));
  GRAFT_TRY(check_pointer(op, "ids", args.ids, args.tokens, 4));
  GRAFT_TRY(check_pointer(op, "order", args.order, args.tokens, 4));
  GRAFT_TRY(check_pointer(op, "dout", args.dout, args.tokens, dtype_bytes(args.dtype)));
  return check_pointer(op, "dtable", args.dtable, args.tokens, 4);
}

}  // namespace graft
