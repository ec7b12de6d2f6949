// Tile sizes of the backward pass of attention: one table for each of its kernels.
#pragma once

#include "attention_tiles.h"

namespace graft::cuda {

// A block keeps warps * row_blocks * 16 rows, of queries for dQ and of keys for dK and dV, and streams
// the rows of the other side past them in two stages.
struct gradient_tile {
  int head_dim;       // columns in shared memory; a smaller D is filled up with zeros
  int columns;        // of the gradients a block sums; fewer than head_dim: several blocks share them
  int warps;
  int row_blocks;     // blocks of 16 rows a warp
  int stream_rows;    // of a stage
  int step;           // stream rows whose scores a warp has in registers at a time
  bool kept;          // the rows themselves are in registers, else read for every product
  int blocks_per_sm;  // __launch_bounds__: what the registers must leave room for

  constexpr int threads() const { return 32 * warps; }
  constexpr int rows() const { return 16 * row_blocks * warps; }
  constexpr int column_parts() const { return head_dim / columns; }
};

constexpr gradient_tile dq_tiles_bf16[] = {
    {32, 32, 4, 2, 64, 32, true, 2},
    {64, 64, 4, 2, 64, 16, true, 2},
    {96, 96, 4, 1, 32, 32, true, 2},
    {128, 128, 4, 1, 32, 16, true, 2},
    {256, 256, 4, 1, 16, 16, false, 1},
};
constexpr gradient_tile dq_tiles_fp32[] = {
    {32, 32, 4, 2, 32, 16, false, 2},
    {64, 64, 4, 1, 32, 16, false, 2},
    {96, 96, 4, 1, 16, 16, false, 2},
    {128, 128, 4, 1, 16, 16, false, 2},
    {256, 128, 1, 1, 16, 16, false, 1},
};
constexpr gradient_tile dkdv_tiles_bf16[] = {
    {32, 32, 4, 2, 64, 32, true, 2},
    {64, 64, 4, 2, 64, 16, true, 2},
    {96, 96, 4, 1, 64, 16, false, 2},
    {128, 128, 4, 1, 32, 32, false, 2},
    {256, 128, 4, 1, 16, 16, false, 1},
};
constexpr gradient_tile dkdv_tiles_fp32[] = {
    {32, 32, 4, 2, 32, 16, false, 2},
    {64, 64, 4, 1, 32, 16, false, 2},
    {96, 96, 4, 1, 16, 16, false, 2},
    {128, 128, 4, 1, 16, 16, false, 2},
    {256, 128, 1, 1, 16, 16, false, 1},
};

template <int count>
constexpr gradient_tile tile_for(const gradient_tile (&tiles)[count], int head_dim) {
  for (const gradient_tile& tile : tiles)
    if (tile.head_dim == head_dim) return tile;
  return {};
}
template <typename T>
constexpr gradient_tile dq_tile(int head_dim) {
  return sizeof(T) == 2 ? tile_for(dq_tiles_bf16, head_dim) : tile_for(dq_tiles_fp32, head_dim);
}
template <typename T>
constexpr gradient_tile dkdv_tile(int head_dim) {
  return sizeof(T) == 2 ? tile_for(dkdv_tiles_bf16, head_dim)
                        : tile_for(dkdv_tiles_fp32, head_dim);
}

// Two operands of the block's own rows, two stages of two operands of the stream's.
template <typename T>
constexpr int gradient_shared_bytes(const gradient_tile& tile) {
  return (2 * tile.rows() + 4 * tile.stream_rows) * tile.head_dim * static_cast<int>(sizeof(T));
}

// A warp's place to hand out the keep-bytes of dropout (keep_bytes), aligned to 16 bytes.
constexpr int keep_scratch_words = 4 * warp_size;

// And, where queries stream, what is known of them, and each warp's scratch.
template <typename T>
constexpr int dkdv_shared_bytes(const gradient_tile& tile) {
  return gradient_shared_bytes<T>(tile) + 2 * tile.stream_rows * 16 +
         tile.warps * keep_scratch_words * 4;
}

}  // namespace graft::cuda
