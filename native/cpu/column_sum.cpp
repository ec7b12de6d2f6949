// out[c] += sum_r x[r, c] in float32, by fixed blocks of rows.
//
//   name  dtype  shape   stride  aligned to  in/out
//   x     T      [R, C]  packed  element     in
//   out   f32    [C]             element     in/out
#include "../common/check.h"
#include "lanes.h"
#include "parallel.h"

namespace graft::GRAFT_ISA {
namespace {

// Four rows at a time: one reading and writing of the sums for four of the data.
template <typename T>
void sum_rows(const T* x, int64_t rows, int64_t channels, float* sums) {
  std::memset(sums, 0, static_cast<size_t>(channels) * sizeof(float));
  int64_t row = 0;
  for (; row + 4 <= rows; row += 4) {
    const T* r = x + row * channels;
    for_lanes(0, channels, [&](int64_t c, auto lanes) GRAFT_INLINE {
      const vf front = load(r + c, lanes) + load(r + channels + c, lanes);
      const vf back = load(r + 2 * channels + c, lanes) + load(r + 3 * channels + c, lanes);
      store(sums + c, load(sums + c, lanes) + (front + back), lanes);
    });
  }
  for (; row < rows; ++row) {
    const T* r = x + row * channels;
    for_lanes(0, channels, [&](int64_t c, auto lanes) GRAFT_INLINE {
      store(sums + c, load(sums + c, lanes) + load(r + c, lanes), lanes);
    });
  }
}

template <typename T>
void run(const cpu_context& context, const graft_column_sum_args& args) {
  const auto* x = static_cast<const T*>(args.x);
  auto* partial = static_cast<float*>(args.workspace);
  const int64_t channels = args.channels;
  const sum_blocks blocks = sum_blocks_of(args.rows);
  parallel_ranges(context, args.rows, blocks.rows_each, args.rows * channels,
                  [&](int64_t begin, int64_t end) {
                    sum_rows(x + begin * channels, end - begin, channels,
                             partial + begin / blocks.rows_each * channels);
                  });
  add_partial_sums(context, partial, channels, blocks.count, channels, args.out);
}

}  // namespace

int column_sum_workspace(const cpu_context&, const graft_column_sum_args& args, int64_t* bytes) {
  const char* op = "column_sum_workspace";
  GRAFT_TRY(check_range(op, "rows", args.rows, 0));
  GRAFT_TRY(check_range(op, "channels", args.channels, 0));
  GRAFT_TRY(check_product(op, "rows x channels", args.rows, args.channels, 4));
  *bytes = sum_blocks_of(args.rows).count * args.channels * int64_t{sizeof(float)};
  return GRAFT_OK;
}

int column_sum(cpu_context& context, const graft_column_sum_args& args) {
  int64_t bytes = 0;
  GRAFT_TRY(column_sum_workspace(context, args, &bytes));
  GRAFT_TRY(check_workspace("column_sum", args.workspace, args.workspace_bytes, bytes));
  if (args.dtype == GRAFT_BFLOAT16)
    run<bf16>(context, args);
  else
    run<float>(context, args);
  return GRAFT_OK;
}

}  // namespace graft::GRAFT_ISA
