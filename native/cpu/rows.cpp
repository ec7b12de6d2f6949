// Row copies by index (gather) and back (scatter, scatter-add).
//
//   gather   out[n] = in[index[n]], 0 where index[n] = -1
//   scatter  out = 0 unless accumulate;  out[index[n]] += in[n] where index[n] != -1
//
//   name   dtype  shape (gather / scatter)        aligned to  in/out
//   in     T      [source_rows, C] / [count, C]   element     in
//   out    T      [count, C] / [source_rows, C]   element     out (in/out: accumulate)
//   index  i32    [count] in [-1, source_rows)    element     in
#include "../common/check.h"
#include "lanes.h"
#include "parallel.h"

namespace graft::GRAFT_ISA {
namespace {

int check_index(const char* op, const graft_rows_args& args) {
  for (int64_t n = 0; n < args.count; ++n)
    if (args.index[n] < -1 || args.index[n] >= args.source_rows)
      return fail(GRAFT_INVALID_SHAPE, "%s: index: expected -1..%lld, got %d in row %lld", op,
                  static_cast<long long>(args.source_rows - 1), args.index[n],
                  static_cast<long long>(n));
  return GRAFT_OK;
}

template <typename T>
void add_rows(const cpu_context& context, const graft_rows_args& args) {
  const auto* in = static_cast<const T*>(args.in);
  auto* out = static_cast<T*>(args.out);
  const int64_t channels = args.channels;
  parallel_ranges(context, args.count, rows_per_block(channels), args.count * channels,
                  [&](int64_t begin, int64_t end) {
                    for (int64_t n = begin; n < end; ++n) {
                      if (args.index[n] < 0) continue;
                      const T* from = in + n * channels;
                      T* to = out + args.index[n] * channels;
                      for_lanes(0, channels, [&](int64_t c, auto lanes) GRAFT_INLINE {
                        store(to + c, load(to + c, lanes) + load(from + c, lanes), lanes);
                      });
                    }
                  });
}

}  // namespace

int gather_rows(cpu_context& context, const graft_rows_args& args) {
  GRAFT_TRY(check_index("gather_rows", args));
  const int64_t row_bytes = args.channels * dtype_bytes(args.dtype);
  const auto* in = static_cast<const uint8_t*>(args.in);
  auto* out = static_cast<uint8_t*>(args.out);
  parallel_ranges(context, args.count, rows_per_block(args.channels), args.count * args.channels,
                  [&](int64_t begin, int64_t end) {
                    for (int64_t n = begin; n < end; ++n) {
                      uint8_t* to = out + n * row_bytes;
                      if (args.index[n] < 0)
                        std::memset(to, 0, static_cast<size_t>(row_bytes));
                      else
                        std::memcpy(to, in + args.index[n] * row_bytes,
                                    static_cast<size_t>(row_bytes));
                    }
                  });
  return GRAFT_OK;
}

int scatter_rows(cpu_context& context, const graft_rows_args& args) {
  GRAFT_TRY(check_index("scatter_rows", args));
  if (args.accumulate != 0) {
    if (args.dtype == GRAFT_BFLOAT16)
      add_rows<bf16>(context, args);
    else
      add_rows<float>(context, args);
    return GRAFT_OK;
  }
  const int64_t row_bytes = args.channels * dtype_bytes(args.dtype);
  const auto* in = static_cast<const uint8_t*>(args.in);
  auto* out = static_cast<uint8_t*>(args.out);
  parallel_ranges(context, args.source_rows, rows_per_block(args.channels),
                  args.source_rows * args.channels, [&](int64_t begin, int64_t end) {
                    std::memset(out + begin * row_bytes, 0,
                                static_cast<size_t>((end - begin) * row_bytes));
                  });
  parallel_ranges(context, args.count, rows_per_block(args.channels), args.count * args.channels,
                  [&](int64_t begin, int64_t end) {
                    for (int64_t n = begin; n < end; ++n)
                      if (args.index[n] >= 0)
                        std::memcpy(out + args.index[n] * row_bytes, in + n * row_bytes,
                                    static_cast<size_t>(row_bytes));
                  });
  return GRAFT_OK;
}

}  // namespace graft::GRAFT_ISA
