// Tile sizes of the attention kernels: one table, with what rejected the alternatives.
#pragma once

#include "elements.h"

namespace graft::cuda {

// A block holds warps * row_blocks * 16 queries of one (sequence, head) and walks over its keys,
// k_rows at a time.
struct attention_tile {
  int head_dim;         // columns in shared memory; a smaller D is filled up with zeros
  int columns;          // of the output a block sums; fewer than head_dim: several blocks share them
  int warps;
  int row_blocks;       // blocks of 16 queries a warp
  int k_rows;           // keys and values of a tile
  bool q_in_registers;  // else Q is read from shared memory for each tile of keys
  int blocks_per_sm;    // __launch_bounds__: what the registers must leave room for

  constexpr int threads() const { return 32 * warps; }
  constexpr int q_rows() const { return 16 * row_blocks * warps; }
  constexpr int column_parts() const { return head_dim / columns; }
};

// Shared memory in KiB; scripts/cuda-resources.py tells the registers, none spills. Two blocks on an SM
// leave 255 registers a thread and, on sm_86, 89 and 120, at most 99 KiB a block.
//   bf16   32: 24   64: 48   96: 48   128: 64   256: 96        fp32   32: 32   64: 64   96: 72   128, 256: 96
// Rejected for bf16, all by spilled registers: 32 at three blocks an SM (24 to 68 bytes); 64 with Q in
// registers (56 bytes of stack) or with 128 keys (140 bytes); 96 with 64 keys (32 bytes with dropout);
// 128 with 64 keys would take 96 KiB, one block an SM on sm_80. fp32 256 with all columns in a block
// spills 24 to 92 bytes.
constexpr attention_tile forward_tiles_bf16[] = {
    {32, 32, 4, 2, 64, true, 2},
    {64, 64, 4, 2, 64, false, 2},
    {96, 96, 4, 2, 32, false, 2},
    {128, 128, 4, 2, 32, false, 2},
    {256, 256, 4, 1, 32, false, 1},
};

constexpr attention_tile forward_tiles_fp32[] = {
    {32, 32, 4, 2, 32, false, 2},
    {64, 64, 4, 2, 32, false, 2},
    {96, 96, 4, 1, 32, false, 2},
    {128, 128, 4, 1, 32, false, 2},
    {256, 128, 2, 1, 16, false, 1},
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
