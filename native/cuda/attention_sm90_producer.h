// The copying warpgroup of the Hopper attention. Warp 0 brings keys and values, warp 1 queries, which
// must wait for the output of the last tile; warps 2 and 3 the last values of a sequence.
#pragma once

#include "attention_sm90_tiles.h"

namespace graft::cuda {

// Rows [first, first + rows) of a sequence of `live` rows, those behind it 0; by 64 threads, `thread` of them.
// What they have started they must wait for, and fence_async_proxy.
template <int panels, int rows>
GRAFT_DEVICE void copy_rows_to_panels(sm90_panel<rows>* to, const head_rows<const bf16>& from, int first,
                                      int live, int head_dim, int thread) {
  using layout = shared_tile<bf16, sm90_columns>;
  GRAFT_UNROLL
  for (int panel = 0; panel < panels; ++panel) {
    GRAFT_NO_UNROLL
    for (int row = thread / layout::chunks; row < rows; row += 64 / layout::chunks) {
      const int c = thread % layout::chunks, column = panel * sm90_columns + c * layout::chunk;
      const bool inside = first + row < live && column < head_dim;
      copy_async<16>(to[panel].values + layout::at(row, c),
                     inside ? from.first + (first + row) * from.token_stride + column : from.first,
                     inside ? 16 : 0);
    }
  }
}

template <int head_dim>
struct sm90_producer {
  using shared = sm90_shared<head_dim>;
  static constexpr int panels = shared::panels;
  const sm90_forward_params& p;
  shared& memory;

  template <int rows>
  __device__ __forceinline__ void copy(sm90_panel<rows>* to, const tensor_map& map, int h, int token,
                                       mbarrier* full) const {
    mbarrier_arrive_expect(full, panels * sm90_panel<rows>::bytes);
    copy_panels<panels>(to, map, h, token, full);
  }

  // A sequence's last tile may end inside. Scores of what lies behind are masked, but 0 times a value
  // could be NaN: those rows must be 0, and a tensor copy knows no ends of sequences.
  static __device__ __forceinline__ bool ends_inside(const sm90_tile& tile, int t) {
    return tile.seq.k_count - t * sm90_k_rows < sm90_k_rows;
  }

  __device__ __forceinline__ void keys_and_values() const {
    uint32_t count = 0;
    for_sm90_tiles(p, [&](const sm90_tile& tile) {
      GRAFT_NO_UNROLL
      for (int t = 0; t < tile.key_tiles; ++t, ++count) {
        const sm90_place at = place_of<shared::stages>(count);
        const int token = static_cast<int>(tile.seq.k_begin) + t * sm90_k_rows;
        if (lane_id() == 0) {
          mbarrier_wait(&memory.k_empty[at.stage], at.parity ^ 1);
          copy(memory.k[at.stage], p.k_map, tile.h, token, &memory.k_full[at.stage]);
          mbarrier_wait(&memory.v_empty[at.stage], at.parity ^ 1);
          if (!ends_inside(tile, t))
            copy(memory.v[at.stage], p.v_map, tile.h, token, &memory.v_full[at.stage]);
        }
        sync_warp();
        // The stage is free, and the copiers have done their last one.
        if (ends_inside(tile, t)) barrier_sync(sm90_last_values, 96);
      }
    });
  }

  // Also where no key is seen: their place is the output's as well.
  __device__ __forceinline__ void queries() const {
    if (lane_id() != 0) return;
    int parity[sm90_consumers] = {1, 1};
    for_sm90_tiles(p, [&](const sm90_tile& tile) {
      GRAFT_UNROLL
      for (int group = 0; group < sm90_consumers; ++group) {
        if (group > 0 && !tile.both) continue;
        mbarrier_wait(&memory.q_empty[group], parity[group]);
        parity[group] ^= 1;
        copy(memory.q[group], p.q_map, tile.h,
             static_cast<int>(tile.seq.q_begin) + tile.i0 + group * sm90_group_rows,
             &memory.q_full[group]);
      }
    });
  }

  // By 64 threads, `thread` of them.
  __device__ __forceinline__ void last_values(int thread) const {
    uint32_t count = 0;
    for_sm90_tiles(p, [&](const sm90_tile& tile) {
      const int t = tile.key_tiles - 1;
      count += static_cast<uint32_t>(tile.key_tiles);
      if (t < 0 || !ends_inside(tile, t)) return;
      const sm90_place at = place_of<shared::stages>(count - 1);
      const auto v = rows_of<bf16>(p.v, p.v_token_stride, 16, tile.seq.k_begin, tile.h, p.head_dim);
      barrier_sync(sm90_last_values, 96);
      copy_rows_to_panels<panels>(memory.v[at.stage], v, t * sm90_k_rows, tile.seq.k_count, p.head_dim,
                                  thread);
      copy_async_wait_all();
      fence_async_proxy();
      barrier_sync(sm90_copied, 64);
      if (thread == 0) mbarrier_arrive(&memory.v_full[at.stage]);
    });
  }

  __device__ __forceinline__ void run() const {
    if (warp_id() == 0)
      keys_and_values();
    else if (warp_id() == 1)
      queries();
    else
      last_values(static_cast<int>(threadIdx.x) - 64);
  }
};

}  // namespace graft::cuda
