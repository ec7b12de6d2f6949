// Parallel loops whose result does not depend on the number of threads: work is cut in blocks by its
// size alone, each block is computed by one thread, and sums over blocks are taken in block order.
#pragma once

#include <cstdint>

#include "cpu.h"

namespace graft::GRAFT_ISA {

// Opening an OpenMP region costs a few microseconds; fewer elements than this are done sooner by one
// thread.
constexpr int64_t serial_elements = 32768;

// Elements a block of an elementwise op holds: large beside a thread's start, small beside the work.
constexpr int64_t block_elements = 16384;

// Sums over rows: at most this many blocks (the partial sums must stay small beside the data), and
// no fewer rows than this in each.
constexpr int64_t most_sum_blocks = 64;
constexpr int64_t least_sum_rows = 8;

static inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
static inline int64_t at_most(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t at_least(int64_t a, int64_t b) { return a > b ? a : b; }

// body(block) for each block in [0, blocks); `elements` is the size of the whole.
template <typename Body>
static inline void parallel_for(const cpu_context& context, int64_t blocks, int64_t elements,
                                const Body& body) {
  const int threads = static_cast<int>(at_most(context.threads, blocks));
  if (threads <= 1 || elements < serial_elements) {
    for (int64_t block = 0; block < blocks; ++block) body(block);
    return;
  }
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t block = 0; block < blocks; ++block) body(block);
}

// body(begin, end) over [0, count) in blocks of `size`.
template <typename Body>
static inline void parallel_ranges(const cpu_context& context, int64_t count, int64_t size,
                                   int64_t elements, const Body& body) {
  parallel_for(context, ceil_div(count, size), elements, [&](int64_t block) {
    const int64_t begin = block * size;
    body(begin, at_most(begin + size, count));
  });
}

// Rows a block of a row-wise op without sums holds.
static inline int64_t rows_per_block(int64_t channels) {
  return at_least(1, block_elements / at_least(1, channels));
}

// Rows cut in fixed blocks for sums over rows.
struct sum_blocks {
  int64_t rows_each;
  int64_t count;
};
static inline sum_blocks sum_blocks_of(int64_t rows) {
  const int64_t each = at_least(least_sum_rows, ceil_div(rows, most_sum_blocks));
  return {each, ceil_div(rows, each)};
}

// out[c] += partial[0][c] + partial[1][c] + ..., block by block; partial rows are `stride` apart.
static inline void add_partial_sums(const cpu_context& context, const float* partial,
                                    int64_t stride, int64_t blocks, int64_t channels, float* out) {
  parallel_ranges(context, channels, 256, blocks * channels, [&](int64_t begin, int64_t end) {
    float sums[256] = {};
    for (int64_t block = 0; block < blocks; ++block) {
      const float* row = partial + block * stride;
      for (int64_t c = begin; c < end; ++c) sums[c - begin] += row[c];
    }
    for (int64_t c = begin; c < end; ++c) out[c] += sums[c - begin];
  });
}

}  // namespace graft::GRAFT_ISA
