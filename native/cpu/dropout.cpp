// y[r, c] = keep(r, c) ? x[r, c] * 256 / (256 - k) : 0, with the keep bytes of keep_mask.h
// (Srivastava et al., JMLR 2014, section 10 for the scaling).
//
//   name  dtype  shape   stride  aligned to  in/out
//   x     T      [R, C]  packed  element     in
//   y     T      [R, C]  packed  element     out; may be x
#include "keep_mask.h"
#include "lanes.h"
#include "parallel.h"

namespace graft::GRAFT_ISA {
namespace {

template <bool streaming, typename T>
void drop_rows(const cpu_context& context, const graft_dropout_args& args, const T* x, T* y) {
  const int64_t channels = args.channels;
  const dropout_rule rule = dropout_of(context, args.dropout, args.op_id);
  parallel_ranges(
      context, args.rows, rows_per_block(channels), args.rows * channels,
      [&](int64_t begin, int64_t end) {
        alignas(64) uint8_t bytes[keep_chunk];
        for (int64_t row = begin; row < end; ++row) {
          const T* from = x + row * channels;
          T* to = y + row * channels;
          for (int64_t start = 0; start < channels; start += keep_chunk) {
            const int64_t stop = at_most(start + keep_chunk, channels);
            keep_row(rule.key, start, stop, static_cast<uint32_t>(row), 0, 0, bytes);
            for_lanes(start, stop, [&](int64_t c, auto lanes) GRAFT_INLINE {
              const vf kept =
                  drop(load(from + c, lanes), bytes + (c - start), rule.k, rule.scale);
              put<streaming>(to + c, kept, lanes);
            });
          }
        }
        if constexpr (streaming) stream_fence();
      });
}

template <typename T>
void launch(const cpu_context& context, const graft_dropout_args& args) {
  const auto* x = static_cast<const T*>(args.x);
  auto* y = static_cast<T*>(args.y);
  const int64_t elements = args.rows * args.channels;
  if (args.dropout == 0) {
    if (x != y)
      parallel_ranges(context, elements, 16 * block_elements, elements,
                      [&](int64_t begin, int64_t end) {
                        std::memcpy(static_cast<void*>(y + begin), x + begin,
                                    static_cast<size_t>(end - begin) * sizeof(T));
                      });
  } else if (x != y && is_streamed(y, elements, args.channels)) {
    drop_rows<true>(context, args, x, y);
  } else {
    drop_rows<false>(context, args, x, y);
  }
}

}  // namespace

int dropout(cpu_context& context, const graft_dropout_args& args) {
  if (args.dtype == GRAFT_BFLOAT16)
    launch<bf16>(context, args);
  else
    launch<float>(context, args);
  return GRAFT_OK;
}

}  // namespace graft::GRAFT_ISA
