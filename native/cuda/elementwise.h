// Arrays without rows, by eights of elements in turn over the grid.
#pragma once

#include "context.h"
#include "row_vectors.h"

namespace graft::cuda {

constexpr int elementwise_threads = 256;
constexpr int elementwise_blocks_an_sm = 6;

// body(offset, elements left) for the eights that are this thread's.
template <typename Body>
GRAFT_DEVICE void for_eights(int64_t count, const Body& body) {
  const int64_t step = int64_t{gridDim.x} * elementwise_threads * vector_columns;
  for (int64_t at = (int64_t{blockIdx.x} * elementwise_threads + threadIdx.x) * vector_columns;
       at < count; at += step)
    body(at, count - at);
}

inline launch_shape elementwise_launch(const cuda_context& context, int64_t count) {
  constexpr int64_t block = elementwise_threads * vector_columns;
  const int64_t needed = (count + block - 1) / block;
  const int64_t most = int64_t{elementwise_blocks_an_sm} * context.multiprocessors;
  return {dim3(static_cast<unsigned>(needed < most ? needed : most)), elementwise_threads, 0,
          context.stream};
}

}  // namespace graft::cuda
