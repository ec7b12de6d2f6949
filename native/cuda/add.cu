// out = a + b, elementwise.
//
//   name  dtype  shape    aligned to  in/out
//   a, b  T      [count]  element     in
//   out   T      [count]  element     out; may be a or b
#include "elementwise.h"

namespace graft::cuda {
namespace {

template <typename T, bool wide>
__global__ void __launch_bounds__(elementwise_threads, elementwise_blocks_an_sm)
    sum(const T* a, const T* b, T* out, int64_t count) {
  for_eights(count, [&](int64_t at, int64_t left) {
    float x[8], y[8];
    load8<wide, reuse::none>(a + at, left, x);
    load8<wide, reuse::none>(b + at, left, y);
    GRAFT_UNROLL
    for (int i = 0; i < 8; ++i) x[i] += y[i];
    store8<wide>(out + at, left, x);
  });
}

template <typename T>
cudaError_t launch_sum(const cuda_context& context, const graft_add_args& args) {
  const auto* a = static_cast<const T*>(args.a);
  const auto* b = static_cast<const T*>(args.b);
  auto* out = static_cast<T*>(args.out);
  return launch(rows_are_wide(1, args.count, a, b, out) ? sum<T, true> : sum<T, false>,
                elementwise_launch(context, args.count), a, b, out, args.count);
}

}  // namespace

int add(cuda_context& context, const graft_add_args& args) {
  if (args.count == 0) return GRAFT_OK;
  return check(context, "add",
               args.dtype == GRAFT_BFLOAT16 ? launch_sum<bf16>(context, args)
                                            : launch_sum<float>(context, args));
}

}  // namespace graft::cuda
