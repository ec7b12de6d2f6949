// A team is the threads that hold one row in registers: a warp, or all warps of a block. Thread t of a
// team has columns 8 (t + n threads) .. + 7 for n = 0 .. vectors - 1.
#pragma once

#include "hidden_dropout.h"
#include "reduce.h"

namespace graft::cuda {

template <int team_warps, int team_vectors, int team_block_warps>
struct row_team {
  static constexpr int warps = team_warps;
  static constexpr int vectors = team_vectors;
  static constexpr int block_warps = team_block_warps;
  static constexpr int teams = block_warps / warps;  // a block
  static constexpr int threads = warps * warp_size;
  static constexpr int block_threads = block_warps * warp_size;
  static_assert(warps == 1 || teams == 1, "a team meets by warp or by block");

  static __device__ __forceinline__ int64_t first_row() {
    return int64_t{blockIdx.x} * teams + static_cast<int>(threadIdx.x) / threads;
  }
  static __device__ __forceinline__ int64_t row_step() { return int64_t{gridDim.x} * teams; }
  static __device__ __forceinline__ int column(int n) {
    return (static_cast<int>(threadIdx.x) % threads + n * threads) * vector_columns;
  }
  // Sums over the team, in every thread of it. `scratch` is the block's, [warps].
  template <int count>
  static __device__ __forceinline__ void sum(float (&x)[count], float* scratch) {
    GRAFT_UNROLL
    for (int i = 0; i < count; ++i)
      x[i] = warps == 1 ? warp_sum(x[i]) : block_sum<threads>(x[i], scratch);
  }
};

// Dropout on a team's row.
template <typename Team>
GRAFT_DEVICE void drop_row(const hidden_dropout& rule, int64_t row, float (&x)[Team::vectors][8]) {
  GRAFT_UNROLL
  for (int n = 0; n < Team::vectors; n += 2) {
    keep_bytes keep[2];
    keep_bytes_of_pair(rule, row, {Team::column(n), Team::column(n + 1)}, keep);
    drop(rule, keep[0], x[n]);
    if (n + 1 < Team::vectors) drop(rule, keep[1], x[n + 1 < Team::vectors ? n + 1 : n]);
  }
}

// Blocks that fill the card, but leave `least_rows` rows or more to a team.
template <typename Team>
int64_t team_blocks(int multiprocessors, int blocks_an_sm, int64_t least_rows, int64_t rows) {
  const int64_t each = least_rows * Team::teams;
  const int64_t needed = (rows + each - 1) / each;
  const int64_t most = int64_t{multiprocessors} * blocks_an_sm;
  return needed < most ? needed : most;
}

constexpr int64_t most_team_channels = 8192;

// Calls run.operator()<warps, vectors>() with the smallest team for a row; false if there is none.
template <typename Run>
bool with_team(int64_t channels, int64_t most_channels, const Run& run) {
  if (channels > most_channels) return false;
  if (channels <= 256)
    run.template operator()<1, 1>();
  else if (channels <= 512)
    run.template operator()<1, 2>();
  else if (channels <= 768)
    run.template operator()<1, 3>();
  else if (channels <= 1024)
    run.template operator()<1, 4>();
  else if (channels <= 2048)
    run.template operator()<4, 2>();
  else if (channels <= 4096)
    run.template operator()<8, 2>();
  else
    run.template operator()<16, 2>();
  return true;
}

}  // namespace graft::cuda
