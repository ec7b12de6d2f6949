// Which tile of which sequence and head a block has, and the launch of such a grid.
#pragma once

#include <algorithm>

#include "attention_loads.h"

namespace graft::cuda {

struct attention_grid {
  int64_t batch, heads, tiles;  // tiles of the longest sequence
  int64_t first_block;          // grids of more blocks than a launch takes are cut
};

struct attention_work {
  int64_t b, h;
  int tile;
};

// Longest work first. Under a causal mask late queries see most keys (late_first), and early keys are
// seen by most queries: the blocks of such tiles of all heads come before the others. Without a mask
// the tiles of one (sequence, head) run together, for they share its rows in the second-level cache.
GRAFT_DEVICE attention_work work_of(const attention_grid& grid, bool causal, bool late_first) {
  const uint64_t block = static_cast<uint64_t>(grid.first_block) + blockIdx.x;
  const auto heads = static_cast<uint64_t>(grid.heads), tiles = static_cast<uint64_t>(grid.tiles);
  uint64_t head, tile;
  if (causal) {
    const uint64_t all = heads * static_cast<uint64_t>(grid.batch);
    head = block % all;
    tile = late_first ? tiles - 1 - block / all : block / all;
  } else {
    head = block / tiles;
    tile = block % tiles;
  }
  return {static_cast<int64_t>(head / heads), static_cast<int64_t>(head % heads),
          static_cast<int>(tile)};
}

template <typename T>
GRAFT_DEVICE head_rows<const T> rows_of(const void* operand, int64_t token_stride, int width,
                                        int64_t first_token, int64_t h, int head_dim) {
  return {static_cast<const T*>(operand) + first_token * token_stride + h * head_dim, token_stride,
          width};
}

// Blocks of one launch at most (gridDim.x).
constexpr int64_t most_blocks = INT32_MAX;

// One block for each of p.grid's tiles.
template <typename Params>
cudaError_t launch_tiles(void (*kernel)(Params), int threads, int shared_bytes, cudaStream_t stream,
                         std::type_identity_t<std::remove_const_t<Params>> p) {
  const int64_t blocks = p.grid.batch * p.grid.heads * p.grid.tiles;
  for (p.grid.first_block = 0; p.grid.first_block < blocks; p.grid.first_block += most_blocks) {
    const auto grid = static_cast<unsigned>(std::min(blocks - p.grid.first_block, most_blocks));
    const cudaError_t status =
        launch(kernel, {dim3(grid), threads, static_cast<size_t>(shared_bytes), stream}, p);
    if (status != cudaSuccess) return status;
  }
  return cudaSuccess;
}

}  // namespace graft::cuda
