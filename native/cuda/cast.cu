// to[i] = (to_dtype) from[i], round to nearest even; equal dtypes are copied bit by bit.
//
//   name  dtype           shape    aligned to  in/out
//   from  f32, bf16, i32  [count]  element     in
//   to    f32, bf16, i32  [count]  element     out
#include "../common/check.h"
#include "elementwise.h"

namespace graft::cuda {
namespace {

template <typename From, typename To, bool wide>
__global__ void __launch_bounds__(elementwise_threads, elementwise_blocks_an_sm)
    convert(const From* from, To* to, int64_t count) {
  for_eights(count, [&](int64_t at, int64_t left) {
    float x[8];
    load8<wide, reuse::none>(from + at, left, x);
    store8<wide>(to + at, left, x);
  });
}

template <typename From, typename To>
cudaError_t launch_convert(const cuda_context& context, const graft_cast_args& args) {
  const auto* from = static_cast<const From*>(args.from);
  auto* to = static_cast<To*>(args.to);
  return launch(rows_are_wide(1, args.count, from, to) ? convert<From, To, true>
                                                       : convert<From, To, false>,
                elementwise_launch(context, args.count), from, to, args.count);
}

}  // namespace

int cast(cuda_context& context, const graft_cast_args& args) {
  if (args.count == 0) return GRAFT_OK;
  cudaError_t status;
  if (args.from_dtype == args.to_dtype)
    status = cudaMemcpyAsync(args.to, args.from,
                             static_cast<size_t>(args.count * dtype_bytes(args.to_dtype)),
                             cudaMemcpyDeviceToDevice, context.stream);
  else if (args.from_dtype == GRAFT_FLOAT32)
    status = launch_convert<float, bf16>(context, args);
  else
    status = launch_convert<bf16, float>(context, args);
  return check(context, "cast", status);
}

}  // namespace graft::cuda
