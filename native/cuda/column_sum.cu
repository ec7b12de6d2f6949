// out[c] += sum_r x[r, c] in float32, and the launch that joins the column sums of every op.
//
//   name     dtype  shape              stride  aligned to  in/out
//   x        T      [R, C]             packed  element     in
//   out      f32    [C]                        element     in/out
//   partial  f32    [blocks, sums, C]  packed  element     workspace
#include "column_sums.h"

#include "../common/check.h"

namespace graft::cuda {
namespace {

constexpr int rows_at_once = 4;
constexpr int blocks_an_sm = 3;  // at 4, 64 registers, it would spill on sm_100 and sm_120

template <typename T, bool wide>
__global__ void __launch_bounds__(strip_threads, blocks_an_sm)
    sum_strip(const T* x, float* partial, int64_t rows, int64_t channels, int64_t rows_each) {
  const int64_t first = int64_t{blockIdx.x} * strip_columns;
  const int64_t column = first + lane_id() * vector_columns;
  const int64_t begin = blockIdx.y * rows_each;
  const int64_t end = begin + rows_each < rows ? begin + rows_each : rows;
  float sums[8] = {};
  for (int64_t row = begin + warp_id(); row < end; row += rows_at_once * strip_warps) {
    float some[rows_at_once][8];
    GRAFT_UNROLL
    for (int i = 0; i < rows_at_once; ++i) {
      const int64_t r = row + i * strip_warps;
      load8<wide, reuse::none>(x + r * channels + column, r < end ? channels - column : 0, some[i]);
    }
    GRAFT_UNROLL
    for (int c = 0; c < 8; ++c) sums[c] += (some[0][c] + some[1][c]) + (some[2][c] + some[3][c]);
  }
  add_warps<strip_warps>(sums, shared_memory<float>(), partial + blockIdx.y * channels + first,
                         channels - first);
}

constexpr int join_warps = 16;

// Lane l of a block's warps has column l; warp w takes partial sums w, w + 16, ...
__global__ void __launch_bounds__(join_warps* warp_size)
    join(const float* partial, int64_t blocks, int64_t channels, int sums, float* out0, float* out1,
         float* out2) {
  auto* shared = shared_memory<float>();
  const int which = static_cast<int>(blockIdx.y);
  float* const out = which == 0 ? out0 : which == 1 ? out1 : out2;
  if (out == nullptr) return;
  const int64_t column = int64_t{blockIdx.x} * warp_size + lane_id();
  float sum = 0.0f;
  if (column < channels) {
    const float* from = partial + which * channels + column;
    const int64_t stride = sums * channels;
    for (int64_t block = warp_id(); block < blocks; block += join_warps)
      sum += load_l2(from + block * stride);
  }
  shared[threadIdx.x] = sum;
  sync_threads();
  if (warp_id() != 0 || column >= channels) return;
  for (int warp = 1; warp < join_warps; ++warp) sum += shared[warp * warp_size + lane_id()];
  out[column] += sum;
}

template <typename T>
cudaError_t launch_sum(const cuda_context& context, const graft_column_sum_args& args,
                       const row_ranges& ranges) {
  const auto* x = static_cast<const T*>(args.x);
  return launch(rows_are_wide(args.rows, args.channels, x) ? sum_strip<T, true> : sum_strip<T, false>,
                {strip_grid(args.channels, ranges), strip_threads, strip_shared_bytes,
                 context.stream},
                x, static_cast<float*>(args.workspace), args.rows, args.channels,
                ranges.rows_each);
}

}  // namespace

int join_column_sums(const cuda_context& context, const char* op, const float* partial,
                     int64_t blocks, int64_t channels, int sums,
                     float* const (&outs)[most_column_sums]) {
  const dim3 grid(static_cast<unsigned>((channels + warp_size - 1) / warp_size),
                  static_cast<unsigned>(sums));
  constexpr int threads = join_warps * warp_size;
  return check(context, op,
               launch(join, {grid, threads, threads * sizeof(float), context.stream}, partial,
                      blocks, channels, sums, outs[0], outs[1], outs[2]));
}

int column_sum_workspace(const cuda_context& context, const graft_column_sum_args& args,
                         int64_t* bytes) {
  const char* op = "column_sum_workspace";
  GRAFT_TRY(check_range(op, "rows", args.rows, 0));
  GRAFT_TRY(check_range(op, "channels", args.channels, 0));
  GRAFT_TRY(check_product(op, "rows x channels", args.rows, args.channels, 4));
  *bytes = row_ranges_of(context, blocks_an_sm, args.rows, args.channels).count *
           args.channels * int64_t{sizeof(float)};
  return GRAFT_OK;
}

int column_sum(cuda_context& context, const graft_column_sum_args& args) {
  const char* op = "column_sum";
  int64_t bytes = 0;
  GRAFT_TRY(column_sum_workspace(context, args, &bytes));
  GRAFT_TRY(check_workspace(op, args.workspace, args.workspace_bytes, bytes));
  if (bytes == 0) return GRAFT_OK;
  const row_ranges ranges = row_ranges_of(context, blocks_an_sm, args.rows, args.channels);
  GRAFT_TRY(check(context, op,
                  args.dtype == GRAFT_BFLOAT16 ? launch_sum<bf16>(context, args, ranges)
                                               : launch_sum<float>(context, args, ranges)));
  return join_column_sums(context, op, static_cast<const float*>(args.workspace), ranges.count,
                          args.channels, 1, {args.out, nullptr, nullptr});
}

}  // namespace graft::cuda
