// Row copies by index (gather) and back (scatter, scatter-add). A warp a row.
//
//   gather   out[n] = in[index[n]], 0 where index[n] = -1
//   scatter  out = 0 unless accumulate;  out[index[n]] += in[n] where index[n] != -1
//
//   name   dtype  shape (gather / scatter)        aligned to  in/out
//   in     T      [source_rows, C] / [count, C]   element     in
//   out    T      [count, C] / [source_rows, C]   element     out (in/out: accumulate)
//   index  i32    [count] in [-1, source_rows)    element     in (the caller has checked)
#include "context.h"
#include "row_vectors.h"

namespace graft::cuda {
namespace {

constexpr int threads = 256;
constexpr int warps = threads / warp_size;
constexpr int blocks_an_sm = 6;

// body(n, column, columns left) for the warps' rows and the lanes' eights.
template <typename Body>
GRAFT_DEVICE void for_rows(int64_t count, int64_t channels, const Body& body) {
  for (int64_t n = int64_t{blockIdx.x} * warps + warp_id(); n < count;
       n += int64_t{gridDim.x} * warps)
    for (int64_t c = lane_id() * vector_columns; c < channels; c += warp_size * vector_columns)
      body(n, c, channels - c);
}

// As bits: a float32 on the way would change NaNs.
template <bool wide, typename T>
GRAFT_DEVICE void copy8(const T* from, T* to, int64_t count) {
  if (wide && count >= 8) {
    store_packed(to, load_packed<reuse::none>(from));
    return;
  }
  GRAFT_UNROLL
  for (int i = 0; i < 8; ++i)
    if (i < count) to[i] = from[i];
}

template <typename T, bool wide>
__global__ void __launch_bounds__(threads, blocks_an_sm)
    gather(const T* in, T* out, const int32_t* index, int64_t count, int64_t channels) {
  for_rows(count, channels, [&](int64_t n, int64_t c, int64_t left) {
    const int64_t source = index[n];
    T* to = out + n * channels + c;
    if (source >= 0) {
      copy8<wide>(in + source * channels + c, to, left);
    } else {
      const float zeros[8] = {};
      store8<wide>(to, left, zeros);
    }
  });
}

template <typename T, bool wide, bool accumulate>
__global__ void __launch_bounds__(threads, blocks_an_sm)
    scatter(const T* in, T* out, const int32_t* index, int64_t count, int64_t channels) {
  for_rows(count, channels, [&](int64_t n, int64_t c, int64_t left) {
    const int64_t target = index[n];
    if (target < 0) return;
    const T* from = in + n * channels + c;
    T* to = out + target * channels + c;
    if constexpr (accumulate) {
      float x[8], old[8];
      load8<wide, reuse::none>(from, left, x);
      load8<wide, reuse::none>(to, left, old);
      GRAFT_UNROLL
      for (int i = 0; i < 8; ++i) x[i] += old[i];
      store8<wide>(to, left, x);
    } else {
      copy8<wide>(from, to, left);
    }
  });
}

template <typename T>
using row_kernel = void (*)(const T*, T*, const int32_t*, int64_t, int64_t);

template <typename T>
cudaError_t launch_rows(const cuda_context& context, const graft_rows_args& args,
                        row_kernel<T> wide, row_kernel<T> narrow) {
  if (args.count == 0 || args.channels == 0) return cudaSuccess;
  const auto* in = static_cast<const T*>(args.in);
  auto* out = static_cast<T*>(args.out);
  const int64_t most = int64_t{blocks_an_sm} * context.multiprocessors;
  const int64_t needed = (args.count + warps - 1) / warps;
  // One side may have a single row where the other has more: both by the rule of several.
  return launch(rows_are_wide(2, args.channels, in, out) ? wide : narrow,
                {dim3(static_cast<unsigned>(needed < most ? needed : most)), threads, 0,
                 context.stream},
                in, out, args.index, args.count, args.channels);
}

template <typename T>
cudaError_t launch_gather(const cuda_context& context, const graft_rows_args& args) {
  return launch_rows<T>(context, args, gather<T, true>, gather<T, false>);
}

template <typename T>
cudaError_t launch_scatter(const cuda_context& context, const graft_rows_args& args) {
  if (args.accumulate != 0)
    return launch_rows<T>(context, args, scatter<T, true, true>, scatter<T, false, true>);
  const auto bytes = static_cast<size_t>(args.source_rows * args.channels) * sizeof(T);
  if (bytes > 0) {
    const cudaError_t status = cudaMemsetAsync(args.out, 0, bytes, context.stream);
    if (status != cudaSuccess) return status;
  }
  return launch_rows<T>(context, args, scatter<T, true, false>, scatter<T, false, false>);
}

}  // namespace

int gather_rows(cuda_context& context, const graft_rows_args& args) {
  return check(context, "gather_rows",
               args.dtype == GRAFT_BFLOAT16 ? launch_gather<bf16>(context, args)
                                            : launch_gather<float>(context, args));
}

int scatter_rows(cuda_context& context, const graft_rows_args& args) {
  return check(context, "scatter_rows",
               args.dtype == GRAFT_BFLOAT16 ? launch_scatter<bf16>(context, args)
                                            : launch_scatter<float>(context, args));
}

}  // namespace graft::cuda
