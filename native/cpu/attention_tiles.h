// Tile sizes of the CPU attention, one table.
//
//   k_tile, q_tile   a multiple of both NR (columns) and MR (rows) of tile_matmul.h, so that whole
//                    tiles have no remainder: lcm(6, 16) = 48 on AVX2, lcm(12, 32) = 96 on AVX-512.
//                    A tile of scores is 9 KiB (36 KiB on AVX-512).
//   q_span           queries that share one packing of a key tile in the forward pass; their outputs
//                    (240 x D floats, 60 KiB at D = 64) stay in L2 with the tiles.
#pragma once

#include <omp.h>

#include "../common/error.h"
#include "tile_matmul.h"

namespace graft::GRAFT_ISA {

#if defined(__AVX512F__)
constexpr int64_t q_tile = 96;
constexpr int64_t k_tile = 96;
constexpr int64_t q_span = 288;
#else
constexpr int64_t q_tile = 48;
constexpr int64_t k_tile = 48;
constexpr int64_t q_span = 240;
#endif
static_assert(q_tile % MR == 0 && k_tile % NR == 0 && k_tile % MR == 0 && q_span % q_tile == 0);

static inline int64_t thread_index() { return omp_get_thread_num(); }

// The workspace a kernel needs depends on the context's threads, so the kernel checks it.
static inline int check_workspace_bytes(const char* op, const void* workspace, int64_t got,
                                        int64_t needed) {
  if (needed == 0) return GRAFT_OK;
  if (workspace == nullptr)
    return fail(GRAFT_INVALID_ARGUMENT, "%s: workspace: expected an address, got NULL", op);
  if (reinterpret_cast<uintptr_t>(workspace) % 64 != 0)
    return fail(GRAFT_INVALID_ALIGNMENT, "%s: workspace: expected alignment to 64 bytes, got %p",
                op, workspace);
  if (got < needed)
    return fail(GRAFT_INVALID_SHAPE, "%s: workspace_bytes: expected at least %lld, got %lld", op,
                static_cast<long long>(needed), static_cast<long long>(got));
  return GRAFT_OK;
}

}  // namespace graft::GRAFT_ISA
