// out[t] = token_table[ids[t]] + position_table[positions[t]] + type_table[types[t]], and its
// backward dtable[ids[t]] += dout[t] for one table, each row's sum in the order of t.
//
//   name            dtype  shape      aligned to  in/out
//   ids, positions, types  i32  [T]   element     in
//   *_table         T      [rows, C]  element     in
//   out, dout       T      [T, C]     element     out, in
//   order           i32    [T]        element     in: stable permutation sorting rows by id
//   dtable          f32    [rows, C]  element     in/out
#include "../common/check.h"
#include "lanes.h"
#include "parallel.h"

namespace graft::GRAFT_ISA {
namespace {

int check_ids(const char* op, const char* name, const int32_t* ids, int64_t tokens, int64_t rows) {
  for (int64_t t = 0; t < tokens; ++t)
    if (ids[t] < 0 || ids[t] >= rows)
      return fail(GRAFT_INVALID_SHAPE, "%s: %s: expected 0..%lld, got %d in row %lld", op, name,
                  static_cast<long long>(rows - 1), ids[t], static_cast<long long>(t));
  return GRAFT_OK;
}

template <bool streaming, typename T>
void look_up(const cpu_context& context, const graft_embedding_args& args) {
  const auto* token_table = static_cast<const T*>(args.token_table);
  const auto* position_table = static_cast<const T*>(args.position_table);
  const auto* type_table = static_cast<const T*>(args.type_table);
  auto* out = static_cast<T*>(args.out);
  const int64_t channels = args.channels;
  parallel_ranges(
      context, args.tokens, rows_per_block(channels), args.tokens * channels,
      [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t) {
          const T* token = token_table + args.ids[t] * channels;
          const T* position =
              position_table == nullptr ? nullptr : position_table + args.positions[t] * channels;
          const T* type = type_table == nullptr ? nullptr : type_table + args.types[t] * channels;
          T* to = out + t * channels;
          for_lanes(0, channels, [&](int64_t c, auto lanes) GRAFT_INLINE {
            vf x = load(token + c, lanes);
            if (position != nullptr) x += load(position + c, lanes);
            if (type != nullptr) x += load(type + c, lanes);
            put<streaming>(to + c, x, lanes);
          });
        }
        if constexpr (streaming) stream_fence();
      });
}

template <typename T>
void launch_forward(const cpu_context& context, const graft_embedding_args& args) {
  const int64_t elements = args.tokens * args.channels;
  if (is_streamed(static_cast<const T*>(args.out), elements, args.channels))
    look_up<true, T>(context, args);
  else
    look_up<false, T>(context, args);
}

// Work is cut in tiles: a range of `order` by a strip of columns. A run of equal ids belongs to the
// tile in which it begins, so every sum is one thread's, in the order of t; strips keep long runs (a
// table of two rows) parallel.
constexpr int64_t tile_tokens = 256;
constexpr int64_t tile_columns = 128;

template <typename T>
void add_tile(const graft_embedding_backward_args& args, int64_t begin, int64_t end, int64_t first,
              int64_t last) {
  const auto* dout = static_cast<const T*>(args.dout);
  const int32_t* ids = args.ids;
  const int32_t* order = args.order;
  int64_t i = begin;
  while (i > 0 && i < end && ids[order[i]] == ids[order[i - 1]]) ++i;
  while (i < end) {
    const int32_t id = ids[order[i]];
    alignas(64) float sums[tile_columns];
    float* row = args.dtable + id * args.channels;
    std::memcpy(sums, row + first, static_cast<size_t>(last - first) * sizeof(float));
    for (; i < args.tokens && ids[order[i]] == id; ++i) {
      const T* d = dout + order[i] * args.channels + first;
      for_lanes(0, last - first, [&](int64_t c, auto lanes) GRAFT_INLINE {
        store(sums + c, load(sums + c, lanes) + load(d + c, lanes), lanes);
      });
    }
    std::memcpy(row + first, sums, static_cast<size_t>(last - first) * sizeof(float));
  }
}

template <typename T>
void add_rows(const cpu_context& context, const graft_embedding_backward_args& args) {
  const int64_t strips = ceil_div(args.channels, tile_columns);
  const int64_t ranges = ceil_div(args.tokens, tile_tokens);
  // Ranges outermost within a strip: threads share out strips first where runs are long.
  parallel_for(context, strips * ranges, args.tokens * args.channels, [&](int64_t tile) {
    const int64_t begin = tile % ranges * tile_tokens;
    const int64_t first = tile / ranges * tile_columns;
    add_tile<T>(args, begin, at_most(begin + tile_tokens, args.tokens), first,
                at_most(first + tile_columns, args.channels));
  });
}

}  // namespace

int embedding_forward(cpu_context& context, const graft_embedding_args& args) {
  const char* op = "embedding_forward";
  GRAFT_TRY(check_ids(op, "ids", args.ids, args.tokens, args.token_rows));
  if (args.position_table != nullptr)
    GRAFT_TRY(check_ids(op, "positions", args.positions, args.tokens, args.position_rows));
  if (args.type_table != nullptr)
    GRAFT_TRY(check_ids(op, "types", args.types, args.tokens, args.type_rows));
  if (args.dtype == GRAFT_BFLOAT16)
    launch_forward<bf16>(context, args);
  else
    launch_forward<float>(context, args);
  return GRAFT_OK;
}

int embedding_backward(cpu_context& context, const graft_embedding_backward_args& args) {
  const char* op = "embedding_backward";
  GRAFT_TRY(check_ids(op, "ids", args.ids, args.tokens, args.rows));
  GRAFT_TRY(check_ids(op, "order", args.order, args.tokens, args.tokens));
  // Rising by (id, t): so the order is a permutation, and each id has one run.
  for (int64_t i = 1; i < args.tokens; ++i) {
    const int32_t before = args.order[i - 1], after = args.order[i];
    if (args.ids[before] < args.ids[after] ||
        (args.ids[before] == args.ids[after] && before < after))
      continue;
    return fail(GRAFT_INVALID_SHAPE,
                "%s: order: expected the stable permutation that sorts by id, got row %d (id %d) "
                "before row %d (id %d) at place %lld",
                op, before, args.ids[before], after, args.ids[after], static_cast<long long>(i));
  }
  if (args.dtype == GRAFT_BFLOAT16)
    add_rows<bf16>(context, args);
  else
    add_rows<float>(context, args);
  return GRAFT_OK;
}

}  // namespace graft::GRAFT_ISA
