// dV = (M * P)^T dO and dK = scale dS^T Q on Hopper: attention_dkdv.h by warpgroup products.
//
// A multiplying warpgroup keeps 64 keys with their values; queries, dO and row_facts stream past both, 64 a
// tile. Scores are taken with keys as rows, so that P^T and dS^T are operands in registers.
#pragma once

#include "attention_dkdv.h"
#include "attention_gradient_sm90.h"

namespace graft::cuda {

struct sm90_dkdv_shared {
  static constexpr int stages = sm90_dkdv_stages;
  sm90_panel<64> k[sm90_consumers], v[sm90_consumers];  // then dK, dV
  sm90_panel<64> q[stages], dout[stages];
  float4 facts[stages][sm90_dkdv_queries];
  uint32_t scratch[4 * sm90_consumers][keep_scratch_words];
  mbarrier k_full[sm90_consumers], k_empty[sm90_consumers];
  mbarrier full[stages], empty[stages];  // full: the arrival of tensor copies, and of the rest

  __device__ __forceinline__ void start() {
    start_barriers(k_full, 1);
    start_barriers(k_empty, 4);
    start_barriers(full, 2);
    start_barriers(empty, 4 * sm90_consumers);
  }
};

// A tile of keys of one sequence and head, and the tiles of queries [from, to) that see some.
struct sm90_key_tile {
  int b, h;
  sequence seq;
  int j0, rows;
  int from, to;
  bool both;
};

template <typename Body>
GRAFT_DEVICE void for_key_tiles(const sm90_list& list, Body body) {
  for_sm90_work(list, [&](const sm90_work& work) {
    sm90_key_tile tile;
    tile.b = work.b;
    tile.h = work.h;
    tile.seq = work.seq;
    tile.j0 = work.tile * 64 * sm90_consumers;
    if (tile.j0 >= tile.seq.k_count) return;
    const int left = tile.seq.k_count - tile.j0;
    tile.rows = left < 64 * sm90_consumers ? left : 64 * sm90_consumers;
    tile.both = tile.rows > 64;
    // The first query that sees a key of the tile.
    const int ahead = tile.j0 - (tile.seq.k_count - tile.seq.q_count);
    tile.from = list.causal && ahead > 0 ? ahead / sm90_dkdv_queries : 0;
    tile.to = tile.seq.q_count / sm90_dkdv_queries + (tile.seq.q_count % sm90_dkdv_queries != 0);
    body(tile);
  });
}

struct sm90_dkdv_producer {
  const sm90_gradient_params& g;
  sm90_dkdv_shared& memory;

  // A tile that ends inside the sequence: P and dS are 0 behind it, Q and dO must be numbers.
  static __device__ __forceinline__ bool ends_inside(const sm90_key_tile& tile, int t) {
    return tile.seq.q_count - t * sm90_dkdv_queries < sm90_dkdv_queries;
  }

  __device__ __forceinline__ void queries() const {
    if (lane_id() != 0) return;
    uint32_t count = 0;
    for_key_tiles(g.list, [&](const sm90_key_tile& tile) {
      GRAFT_NO_UNROLL
      for (int t = tile.from; t < tile.to; ++t, ++count) {
        const sm90_place at = place_of<sm90_dkdv_stages>(count);
        mbarrier* const full = &memory.full[at.stage];
        const int token = static_cast<int>(tile.seq.q_begin) + t * sm90_dkdv_queries;
        mbarrier_wait(&memory.empty[at.stage], at.parity ^ 1);
        if (ends_inside(tile, t)) {
          mbarrier_arrive(full);
          continue;
        }
        mbarrier_arrive_expect(full, 2 * sm90_panel<64>::bytes);
        copy_panels<1>(&memory.q[at.stage], g.q_map, tile.h, token, full);
        copy_panels<1>(&memory.dout[at.stage], g.dout_map, tile.h, token, full);
      }
    });
  }

  __device__ __forceinline__ void keys_and_values() const {
    if (lane_id() != 0) return;
    int parity[sm90_consumers] = {1, 1};
    for_key_tiles(g.list, [&](const sm90_key_tile& tile) {
      GRAFT_UNROLL
      for (int group = 0; group < sm90_consumers; ++group) {
        if (group > 0 && !tile.both) continue;
        const int token = static_cast<int>(tile.seq.k_begin) + tile.j0 + group * 64;
        mbarrier_wait(&memory.k_empty[group], parity[group]);
        parity[group] ^= 1;
        mbarrier_arrive_expect(&memory.k_full[group], 2 * sm90_panel<64>::bytes);
        copy_panels<1>(&memory.k[group], g.k_map, tile.h, token, &memory.k_full[group]);
        copy_panels<1>(&memory.v[group], g.v_map, tile.h, token, &memory.k_full[group]);
      }
    });
  }

  // row_facts of each tile, and the last queries of a sequence; by 64 threads, `thread` of them. A tile's
  // are told of when the next one's are under way.
  __device__ __forceinline__ void facts(int thread) const {
    const backward_params& p = g.p;
    uint32_t count = 0;
    const auto tell = [&](uint32_t tile) {
      barrier_sync(sm90_copied, 64);
      if (thread == 0) mbarrier_arrive(&memory.full[place_of<sm90_dkdv_stages>(tile).stage]);
    };
    for_key_tiles(g.list, [&](const sm90_key_tile& tile) {
      const float4* const all = p.rows_HT + tile.h * p.tokens_q + tile.seq.q_begin;
      GRAFT_NO_UNROLL
      for (int t = tile.from; t < tile.to; ++t, ++count) {
        const sm90_place at = place_of<sm90_dkdv_stages>(count);
        mbarrier_wait(&memory.empty[at.stage], at.parity ^ 1);
        // Queries behind the last see no key: all their facts are 0.
        const int i0 = t * sm90_dkdv_queries, own = i0 + thread;
        const bool inside = own < tile.seq.q_count;
        copy_async<16>(&memory.facts[at.stage][thread], inside ? all + own : all, inside ? 16 : 0);
        if (ends_inside(tile, t)) {
          copy_rows_to_panels<1>(&memory.q[at.stage], rows_of(p.q, tile.seq.q_begin, tile.h, p), i0,
                                 tile.seq.q_count, p.head_dim, thread);
          copy_rows_to_panels<1>(&memory.dout[at.stage], rows_of(p.dout, tile.seq.q_begin, tile.h, p), i0,
                                 tile.seq.q_count, p.head_dim, thread);
        }
        copy_async_commit();
        if (t == tile.from) continue;
        copy_async_wait<1>();
        tell(count - 1);
      }
      if (tile.from >= tile.to) return;
      copy_async_wait_all();
      fence_async_proxy();
      tell(count - 1);
    });
  }

  __device__ __forceinline__ void run() const {
    if (warp_id() == 0)
      queries();
    else if (warp_id() == 1)
      keys_and_values();
    else
      facts(static_cast<int>(threadIdx.x) - 64);
  }
};

template <bool dropped>
struct sm90_dkdv_consumer {
  using scores = sm90_scores<64, sm90_dkdv_queries>;
  using values = sm90_values<64, sm90_dkdv_queries>;
  const sm90_gradient_params& g;
  sm90_dkdv_shared& memory;
  const int group;
  uint64_t dropout_key = 0;
  int k_parity = 0;
  uint32_t count = 0;

  __device__ __forceinline__ void attend(const sm90_key_tile& tile) {
    const backward_params& p = g.p;
    const int panel_first = warp_id() % 4 * 16;
    const int group_first = tile.j0 + group * 64;   // in the sequence
    const int first = group_first + panel_first;
    const int key = first + lane_id() / 4;          // of this lane
    const bool whole = whole_rows(tile.seq);
    const attention_dropout dropout = dropout_of(p, dropout_key, tile.b, tile.h);
    mbarrier_wait(&memory.k_full[group], k_parity);
    k_parity ^= 1;
    const uint64_t k = scores::operand(&memory.k[group]), v = scores::operand(&memory.v[group]);
    float s[1][8][4], dp[1][8][4], dk[1][8][4] = {}, dv[1][8][4] = {};
    uint32_t weights[values::steps][4], ds[values::steps][4];
    GRAFT_NO_UNROLL
    for (int t = tile.from; t < tile.to; ++t, ++count) {
      const sm90_place at = place_of<sm90_dkdv_stages>(count);
      mbarrier_wait(&memory.full[at.stage], at.parity);
      const float4* const queries = memory.facts[at.stage];
      // Usually every query of the tile sees every key of the warpgroup, and all is finite.
      bool seen_by_none = true, seen_by_all = true, finite = true;
      GRAFT_UNROLL
      for (int n = 0; n < sm90_dkdv_queries; n += warp_size) {
        const int raw = live_of(queries[n + lane_id()].w);
        const int sees = raw < 0 ? ~raw : raw;
        seen_by_none &= sees <= group_first;
        seen_by_all &= sees >= group_first + 64;
        finite &= raw >= 0;
      }
      if (!warp_all(seen_by_none)) {
        const bool masked = warp_any(!seen_by_all);
        const bool exactly = masked && warp_any(!finite);
        wgmma_fence(s, dp);
        scores::issue(k, scores::operand(&memory.q[at.stage]), s);
        scores::issue(v, scores::operand(&memory.dout[at.stage]), dp);
        wgmma_commit();
        wgmma_wait<0>(s, dp);
        if constexpr (dropped) scale_kept(dp, p.keep_scale);
        if (p.negative) negate(s);
        uint32_t keep[1][8] = {};
        if constexpr (dropped)
          keep_bytes(keep, dropout, first, t * sm90_dkdv_queries, memory.scratch[warp_id() - 4]);
        score_gradient_by_keys<dropped>(s, dp, keep, queries, p, key, whole, masked);
        values::pack(s, weights);
        values::pack(dp, ds);
        if (exactly) {
          const query_sight sees{queries, key};
          values::add_seen(weights, &memory.dout[at.stage], sees, dv);
          values::add_seen(ds, &memory.q[at.stage], sees, dk);
        } else {
          wgmma_fence(dv, dk, weights, ds);
          values::issue(weights, values::operand(&memory.dout[at.stage]), dv);
          values::issue(ds, values::operand(&memory.q[at.stage]), dk);
          wgmma_commit();
          wgmma_wait<0>(dv, dk);
        }
      }
      release_to_copies(&memory.empty[at.stage]);
    }

    // The places of the keys and values, whose products are done.
    barrier_sync(sm90_group + group, sm90_group_threads);
    const int live = tile.rows - group * 64 - panel_first;
    write_gradient(p.dk, memory.k[group], dk, {p.scale, p.scale}, panel_first, tile.seq.k_begin, first,
                   live, tile.h, p);
    write_gradient(p.dv, memory.v[group], dv, {p.keep_scale, p.keep_scale}, panel_first,
                   tile.seq.k_begin, first, live, tile.h, p);
    fence_async_proxy();
    release_to_copies(&memory.k_empty[group]);
  }

  __device__ __forceinline__ void run() {
    if constexpr (dropped)
      dropout_key = stream_key(g.list.step->inputs.seed, g.list.step->inputs.step, g.p.op_id);
    for_key_tiles(g.list, [&](const sm90_key_tile& tile) {
      if (group == 0 || tile.both)
        attend(tile);
      else
        let_pass(memory, tile.to - tile.from, count);  // without keys
    });
  }
};

template <bool dropped>
__global__ void __launch_bounds__(sm90_threads, 1)
    attention_dkdv_sm90_kernel(const __grid_constant__ sm90_gradient_params g) {
  run_sm90_block<56, 224, sm90_dkdv_shared, sm90_dkdv_producer, sm90_dkdv_consumer<dropped>>(g);
}

}  // namespace graft::cuda
