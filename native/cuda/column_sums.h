// Sums over rows (gradients of biases, gains and offsets) in a fixed order, without float atomics:
// each block sums its rows in registers, its warps are added in their order, and a second launch adds
// the blocks, in theirs. What is left between the two, [blocks][sums][channels], is a few per cent of
// the data and stays in the second-level cache; joining it in the last block to finish would leave
// that to one multiprocessor.
#pragma once

#include "context.h"
#include "row_vectors.h"

namespace graft::cuda {

// Columns of a warp: 8 a lane.
constexpr int strip_columns = warp_size * vector_columns;

// Eight sums to an address aligned to 16 bytes.
GRAFT_DEVICE void store_sums(const float (&own)[8], float* to) {
  store_packed(to, pack<float>(own));
}

// Adds the warps' sums of one strip of columns: lane l of each holds columns 8 l .. 8 l + 7. `shared`
// holds warps * strip_columns floats and is free again afterwards. The first `columns` are written.
template <int warps>
GRAFT_DEVICE void add_warps(const float (&own)[8], float* shared, float* to, int64_t columns) {
  store_sums(own, shared + warp_id() * strip_columns + lane_id() * vector_columns);
  sync_threads();
  for (int c = static_cast<int>(threadIdx.x); c < strip_columns; c += warps * warp_size) {
    float sum = shared[c];
    GRAFT_UNROLL
    for (int warp = 1; warp < warps; ++warp) sum += shared[warp * strip_columns + c];
    if (c < columns) to[c] = sum;
  }
  sync_threads();
}

// A block of 8 warps goes down a strip of columns, a row a warp; grid (strips, ranges of rows).
constexpr int strip_warps = 8;
constexpr int strip_threads = strip_warps * warp_size;
constexpr size_t strip_shared_bytes = strip_warps * strip_columns * sizeof(float);

struct row_ranges {
  int64_t rows_each;
  int64_t count;
};

// Fills the card once with `blocks_an_sm`, but leaves two rows or more to a warp.
inline row_ranges row_ranges_of(const cuda_context& context, int blocks_an_sm, int64_t rows,
                                int64_t channels) {
  const int64_t strips = (channels + strip_columns - 1) / strip_columns;
  const int64_t blocks = int64_t{blocks_an_sm} * context.multiprocessors;
  const int64_t most = strips > 0 && strips < blocks ? blocks / strips : 1;
  const int64_t least_rows = 2 * strip_warps;
  int64_t each = (rows + most - 1) / most;
  if (each < least_rows) each = least_rows;
  return {each, (rows + each - 1) / each};
}

inline dim3 strip_grid(int64_t channels, const row_ranges& ranges) {
  return dim3(static_cast<unsigned>((channels + strip_columns - 1) / strip_columns),
              static_cast<unsigned>(ranges.count));
}

// outs[s][c] += partial[0][s][c] + partial[1][s][c] + ...; a NULL among the outs is left out.
constexpr int most_column_sums = 3;
int join_column_sums(const cuda_context& context, const char* op, const float* partial,
                     int64_t blocks, int64_t channels, int sums,
                     float* const (&outs)[most_column_sums]);

}  // namespace graft::cuda
