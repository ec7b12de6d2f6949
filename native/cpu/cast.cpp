// to[i] = (to_dtype) from[i], round to nearest even; equal dtypes are copied bit by bit.
//
//   name  dtype           shape    aligned to  in/out
//   from  f32, bf16, i32  [count]  element     in
//   to    f32, bf16, i32  [count]  element     out
#include "../common/check.h"
#include "lanes.h"
#include "parallel.h"

namespace graft::GRAFT_ISA {
namespace {

template <bool streaming, typename From, typename To>
void convert(const cpu_context& context, const From* from, To* to, int64_t count) {
  parallel_ranges(context, count, block_elements, count, [&](int64_t begin, int64_t end) {
    for_lanes(begin, end, [&](int64_t i, auto lanes) GRAFT_INLINE {
      put<streaming>(to + i, load(from + i, lanes), lanes);
    });
    if constexpr (streaming) stream_fence();
  });
}

template <typename From, typename To>
void launch(const cpu_context& context, const graft_cast_args& args) {
  const auto* from = static_cast<const From*>(args.from);
  auto* to = static_cast<To*>(args.to);
  if (is_streamed(to, args.count, W))
    convert<true>(context, from, to, args.count);
  else
    convert<false>(context, from, to, args.count);
}

}  // namespace

int cast(cpu_context& context, const graft_cast_args& args) {
  if (args.from_dtype == args.to_dtype) {
    const int64_t element = dtype_bytes(args.to_dtype);
    const auto* from = static_cast<const uint8_t*>(args.from);
    auto* to = static_cast<uint8_t*>(args.to);
    parallel_ranges(context, args.count, 16 * block_elements, args.count,
                    [&](int64_t begin, int64_t end) {
                      std::memcpy(to + begin * element, from + begin * element,
                                  static_cast<size_t>((end - begin) * element));
                    });
  } else if (args.from_dtype == GRAFT_FLOAT32) {
    launch<float, bf16>(context, args);
  } else {
    launch<bf16, float>(context, args);
  }
  return GRAFT_OK;
}

}  // namespace graft::GRAFT_ISA
