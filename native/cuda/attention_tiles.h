// Tile sizes of the attention kernels: one table, with what rejected the alternatives.
#pragma once

#include "device.h"

namespace graft::cuda {

struct bf16 {
  uint16_t bits;
};

// A block holds warps * row_blocks * 16 queries of one (sequence, head) and walks over its keys,
// k_rows at a time.
struct attention_tile {
  int head_dim;         // columns in shared memory; a smaller D is filled up with zeros
  int warps;
  int row_blocks;       // blocks of 16 queries a warp
  int k_rows;           // keys and values of a tile
  bool q_in_registers;  // else Q is read from shared memory for each tile of keys
  int blocks_per_sm;    // __launch_bounds__: what the registers must leave room for

  constexpr int threads() const { return 32 * warps; }
  constexpr int q_rows() const { return 16 * row_blocks * warps; }
};



constexpr attention_tile forward_tiles_bf16[] = {
    {32, 4, 2, 64, true, 2},
    {64, 4, 2, 64, true, 2},
    {96, 4, 2, 32, false, 2},
    {128, 4, 2, 32, false, 2},
    {256, 4, 1, 32, false, 1},
};

constexpr attention_tile forward_tiles_fp32[] = {
    {32, 4, 2, 32, false, 2},
    {64, 4, 2, 32, false, 2},
    {96, 4, 1, 32, false, 2},
    {128, 4, 1, 32, false, 2},
    {256, 2, 1, 16, false, 1},
};

template <typename T>
constexpr attention_tile forward_tile(int head_dim) {
  for (int i = 0; i < 5; ++i) {
    const attention_tile& tile =
        sizeof(T) == 2 ? forward_tiles_bf16[i] : forward_tiles_fp32[i];
    if (tile.head_dim == head_dim) return tile;
  }
  return {};
}

// Q and two stages of K and V.
template <typename T>
constexpr int forward_shared_bytes(const attention_tile& tile) {
  return (tile.q_rows() + 4 * tile.k_rows) * tile.head_dim * static_cast<int>(sizeof(T));
}

}  // namespace graft::cuda
