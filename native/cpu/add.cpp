// out = a + b, elementwise.
//
//   name  dtype  shape    aligned to  in/out
//   a, b  T      [count]  element     in
//   out   T      [count]  element     out; may be a or b
#include "lanes.h"
#include "parallel.h"

namespace graft::GRAFT_ISA {
namespace {

template <bool streaming, typename T>
void sum(const cpu_context& context, const T* a, const T* b, T* out, int64_t count) {
  parallel_ranges(context, count, block_elements, count, [&](int64_t begin, int64_t end) {
    for_lanes(begin, end, [&](int64_t i, auto lanes) GRAFT_INLINE {
      put<streaming>(out + i, load(a + i, lanes) + load(b + i, lanes), lanes);
    });
    if constexpr (streaming) stream_fence();
  });
}

template <typename T>
void launch(const cpu_context& context, const graft_add_args& args) {
  const auto* a = static_cast<const T*>(args.a);
  const auto* b = static_cast<const T*>(args.b);
  auto* out = static_cast<T*>(args.out);
  if (out != a && out != b && is_streamed(out, args.count, W))
    sum<true>(context, a, b, out, args.count);
  else
    sum<false>(context, a, b, out, args.count);
}

}  // namespace

int add(cpu_context& context, const graft_add_args& args) {
  if (args.dtype == GRAFT_BFLOAT16)
    launch<bf16>(context, args);
  else
    launch<float>(context, args);
  return GRAFT_OK;
}

}  // namespace graft::GRAFT_ISA
