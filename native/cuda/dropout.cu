// y[r, c] = keep(r, c) ? x[r, c] * 256 / (256 - k) : 0, with the keep bytes of hidden_dropout.h
// (Srivastava et al., JMLR 2014, section 10 for the scaling). A warp a row, two eights a lane at a time.
//
//   name  dtype  shape   stride  aligned to  in/out
//   x     T      [R, C]  packed  element     in
//   y     T      [R, C]  packed  element     out; may be x
#include "hidden_dropout.h"

namespace graft::cuda {
namespace {

constexpr int threads = 256;
constexpr int warps = threads / warp_size;
constexpr int blocks_an_sm = 4;

template <typename T, bool wide>
__global__ void __launch_bounds__(threads, blocks_an_sm)
    drop_rows(const T* x, T* y, graft_dropout_args args, const step_state* step) {
  constexpr int apart = warp_size * vector_columns;
  const int64_t channels = args.channels;
  const hidden_dropout rule = dropout_of(step, args.dropout, args.op_id);
  for (int64_t row = int64_t{blockIdx.x} * warps + warp_id(); row < args.rows;
       row += int64_t{gridDim.x} * warps)
    for (int64_t first = 0; first < channels; first += 2 * apart) {
      const int64_t c = first + lane_id() * vector_columns;
      const int64_t at = row * channels + c;
      float values[2][8];
      GRAFT_UNROLL
      for (int i = 0; i < 2; ++i)
        load8<wide, reuse::none>(x + at + i * apart, channels - c - i * apart, values[i]);
      keep_bytes keep[2];
      keep_bytes_of_pair(rule, row, {c, c + apart}, keep);
      GRAFT_UNROLL
      for (int i = 0; i < 2; ++i) {
        drop(rule, keep[i], values[i]);
        store8<wide>(y + at + i * apart, channels - c - i * apart, values[i]);
      }
    }
}

template <typename T>
cudaError_t launch_drop(const cuda_context& context, const graft_dropout_args& args) {
  const auto* x = static_cast<const T*>(args.x);
  auto* y = static_cast<T*>(args.y);
  if (args.dropout == 0 && x == y) return cudaSuccess;
  if (args.dropout == 0)
    return cudaMemcpyAsync(y, x, static_cast<size_t>(args.rows * args.channels) * sizeof(T),
                           cudaMemcpyDeviceToDevice, context.stream);
  const int64_t most = int64_t{blocks_an_sm} * context.multiprocessors;
  const int64_t needed = (args.rows + warps - 1) / warps;
  return launch(rows_are_wide(args.rows, args.channels, x, y) ? drop_rows<T, true>
                                                              : drop_rows<T, false>,
                {dim3(static_cast<unsigned>(needed < most ? needed : most)), threads, 0,
                 context.stream},
                x, y, args, context.step);
}

}  // namespace

int dropout(cuda_context& context, const graft_dropout_args& args) {
  if (args.rows == 0 || args.channels == 0) return GRAFT_OK;
  return check(context, "dropout",
               args.dtype == GRAFT_BFLOAT16 ? launch_drop<bf16>(context, args)
                                            : launch_drop<float>(context, args));
}

}  // namespace graft::cuda
