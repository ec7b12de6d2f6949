// dQ = scale dS K on Hopper, and row_facts of each query: attention_dq.h by warpgroup products.
//
// A multiplying warpgroup keeps 64 queries with dO; keys and values stream past both, 128 a tile. S and dP
// are products of shared operands; dS goes from accumulators to operand in registers.
#pragma once

#include "attention_dq.h"
#include "attention_gradient_sm90.h"

namespace graft::cuda {

struct sm90_dq_shared {
  static constexpr int stages = sm90_dq_stages;
  sm90_panel<64> q[sm90_consumers], dout[sm90_consumers];  // q: then dQ
  sm90_panel<sm90_dq_keys> k[stages], v[stages];
  mbarrier q_full[sm90_consumers], q_empty[sm90_consumers];
  mbarrier full[stages], empty[stages];  // full: K's and V's arrival

  __device__ __forceinline__ void start() {
    start_barriers(q_full, 1);
    start_barriers(q_empty, 4);
    start_barriers(full, 2);
    start_barriers(empty, 4 * sm90_consumers);
  }
};

// Sequences of few keys stream twice: first for the sums of each row.
GRAFT_DEVICE int rounds_of(const sm90_tile& tile) {
  return whole_rows(tile.seq) ? 2 * tile.key_tiles : tile.key_tiles;
}

struct sm90_dq_producer {
  const sm90_gradient_params& g;
  sm90_dq_shared& memory;

  // A tile that ends inside the sequence: dS is 0 behind it, K must be a number.
  static __device__ __forceinline__ bool ends_inside(const sm90_tile& tile, int t) {
    return tile.seq.k_count - t * sm90_dq_keys < sm90_dq_keys;
  }

  __device__ __forceinline__ void keys_and_values() const {
    uint32_t count = 0;
    for_query_tiles<sm90_dq_keys>(g.list, [&](const sm90_tile& tile) {
      GRAFT_NO_UNROLL
      for (int round = 0; round < rounds_of(tile); ++round, ++count) {
        const int t = round < tile.key_tiles ? round : round - tile.key_tiles;
        const sm90_place at = place_of<sm90_dq_stages>(count);
        const int token = static_cast<int>(tile.seq.k_begin) + t * sm90_dq_keys;
        if (lane_id() == 0) {
          mbarrier_wait(&memory.empty[at.stage], at.parity ^ 1);
          mbarrier_arrive_expect(&memory.full[at.stage], sm90_panel<sm90_dq_keys>::bytes);
          copy_panels<1>(&memory.v[at.stage], g.v_map, tile.h, token, &memory.full[at.stage]);
          if (!ends_inside(tile, t)) {
            mbarrier_arrive_expect(&memory.full[at.stage], sm90_panel<sm90_dq_keys>::bytes);
            copy_panels<1>(&memory.k[at.stage], g.k_map, tile.h, token, &memory.full[at.stage]);
          }
        }
        sync_warp();
        if (ends_inside(tile, t)) barrier_sync(sm90_last_values, 96);
      }
    });
  }

  __device__ __forceinline__ void queries() const {
    if (lane_id() != 0) return;
    int parity[sm90_consumers] = {1, 1};
    for_query_tiles<sm90_dq_keys>(g.list, [&](const sm90_tile& tile) {
      GRAFT_UNROLL
      for (int group = 0; group < sm90_consumers; ++group) {
        if (group > 0 && !tile.both) continue;
        const int token = static_cast<int>(tile.seq.q_begin) + tile.i0 + group * 64;
        mbarrier_wait(&memory.q_empty[group], parity[group]);
        parity[group] ^= 1;
        mbarrier_arrive_expect(&memory.q_full[group], 2 * sm90_panel<64>::bytes);
        copy_panels<1>(&memory.q[group], g.q_map, tile.h, token, &memory.q_full[group]);
        copy_panels<1>(&memory.dout[group], g.dout_map, tile.h, token, &memory.q_full[group]);
      }
    });
  }

  __device__ __forceinline__ void last_keys(int thread) const {
    uint32_t count = 0;
    for_query_tiles<sm90_dq_keys>(g.list, [&](const sm90_tile& tile) {
      const int last = tile.key_tiles - 1;
      GRAFT_NO_UNROLL
      for (int round = 0; round < rounds_of(tile); ++round, ++count) {
        if (round != last && round != last + tile.key_tiles) continue;
        if (!ends_inside(tile, last)) continue;
        const sm90_place at = place_of<sm90_dq_stages>(count);
        barrier_sync(sm90_last_values, 96);
        copy_rows_to_panels<1>(&memory.k[at.stage], rows_of(g.p.k, tile.seq.k_begin, tile.h, g.p),
                               last * sm90_dq_keys, tile.seq.k_count, g.p.head_dim, thread);
        copy_async_wait_all();
        fence_async_proxy();
        barrier_sync(sm90_copied, 64);
        if (thread == 0) mbarrier_arrive(&memory.full[at.stage]);
      }
    });
  }

  __device__ __forceinline__ void run() const {
    if (warp_id() == 0)
      keys_and_values();
    else if (warp_id() == 1)
      queries();
    else
      last_keys(static_cast<int>(threadIdx.x) - 64);
  }
};

template <bool dropped>
struct sm90_dq_consumer {
  using scores = sm90_scores<64, sm90_dq_keys>;
  using values = sm90_values<64, sm90_dq_keys>;
  const sm90_gradient_params& g;
  sm90_dq_shared& memory;
  const int group;
  uint64_t dropout_key = 0;
  int q_parity = 0;
  uint32_t count = 0;

  // shift, inverse and delta of the lane's rows where they follow from L and O; else the start of sums.
  __device__ __forceinline__ void start_facts(lane_rows<1>& facts, const sm90_tile& tile, int warp_first,
                                              const float* lse) const {
    using layout = shared_tile<bf16, sm90_columns>;
    const bool whole = whole_rows(tile.seq);
    const auto out = rows_of<bf16>(g.p.out, tile.seq.q_begin, tile.h, g.p.head_dim);
    GRAFT_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int own = warp_first + lane_id() / 4 + 8 * half;
      facts.shift[0][half] = whole ? -INFINITY : 0.0f;
      facts.inverse[0][half] = facts.delta[0][half] = 0.0f;
      if (whole) continue;
      float delta = 0.0f;
      if (own < tile.rows) {
        const float2 shift = shift_and_rest(lse[own]);
        facts.shift[0][half] = shift.x;
        facts.inverse[0][half] = shift.y;
        GRAFT_NO_UNROLL
        for (int c = lane_id() % 4; c < layout::chunks; c += 4)
          delta = add_products(delta, read_chunk<bf16>(out, tile.i0 + own, c, g.p.head_dim),
                               load(reinterpret_cast<const uint4*>(memory.dout[group].values +
                                                                   layout::at(own % 64, c))),
                               static_cast<const bf16*>(nullptr));
      }
      facts.delta[0][half] = quad_sum(delta);
    }
  }

  __device__ __forceinline__ void attend(const sm90_tile& tile) {
    const backward_params& p = g.p;
    const int group_first = warp_id() % 4 * 16;             // in the panels
    const int warp_first = group * 64 + group_first;        // in the tile
    const int first = tile.i0 + warp_first;                 // in the sequence
    const int row = first + lane_id() / 4;                  // of this lane
    const key_limit limit{tile.seq.q_count, tile.seq.k_count, p.causal};
    const bool whole = whole_rows(tile.seq);
    const attention_dropout dropout = dropout_of(p, dropout_key, tile.b, tile.h);
    mbarrier_wait(&memory.q_full[group], q_parity);
    q_parity ^= 1;
    const int64_t first_row = tile.h * p.tokens_q + tile.seq.q_begin + tile.i0;
    const float* const lse = p.lse_HT + first_row;
    lane_rows<1> facts;
    start_facts(facts, tile, warp_first, lse);

    const uint64_t q = scores::operand(&memory.q[group]), dout = scores::operand(&memory.dout[group]);
    float s[1][16][4], dp[1][16][4], dq[1][8][4] = {};
    uint32_t ds[values::steps][4];
    GRAFT_NO_UNROLL
    for (int round = 0; round < rounds_of(tile); ++round, ++count) {
      const bool sums_only = whole && round < tile.key_tiles;
      const int t = round < tile.key_tiles ? round : round - tile.key_tiles;
      const int j0 = t * sm90_dq_keys;
      const sm90_place at = place_of<sm90_dq_stages>(count);
      mbarrier_wait(&memory.full[at.stage], at.parity);
      wgmma_fence(s, dp);
      scores::issue(q, scores::operand(&memory.k[at.stage]), s);
      scores::issue(dout, scores::operand(&memory.v[at.stage]), dp);
      wgmma_commit();
      wgmma_wait<0>(s, dp);
      if constexpr (dropped) {
        drop_probabilities(dp, dropout, row, j0);
        scale_kept(dp, p.keep_scale);
      }
      if (p.negative) negate(s);
      const score_tile here{limit, row, j0, p.scale_log2};
      if (sums_only) {
        add_row_sums(s, dp, here, facts);
        if (t + 1 == tile.key_tiles) normalise(facts);
      } else {
        score_gradient(s, dp, here, facts, whole, limit(first) - j0 < sm90_dq_keys);
        values::pack(dp, ds);
        // A key of infinity or NaN reaches only the rows that see it.
        if (t >= tile.whole_tiles &&
            values::bad_values(&memory.k[at.stage], static_cast<int>(threadIdx.x) % sm90_group_threads,
                               sm90_group + group)) {
          values::add_seen(ds, &memory.k[at.stage], tile_sight{limit, row, j0}, dq);
        } else {
          wgmma_fence(dq, ds);
          values::issue(ds, values::operand(&memory.k[at.stage]), dq);
          wgmma_commit();
          wgmma_wait<0>(dq);
        }
      }
      release_to_copies(&memory.empty[at.stage]);
    }
    write(tile, facts, dq, group_first, lse, first_row, limit);
  }

  // From the sums of whole rows.
  static __device__ __forceinline__ void normalise(lane_rows<1>& facts) {
    GRAFT_UNROLL
    for (int half = 0; half < 2; ++half) {
      const float inverse = 1.0f / quad_sum(facts.inverse[0][half]);
      facts.inverse[0][half] = inverse;
      facts.delta[0][half] = quad_sum(facts.delta[0][half]) * inverse;
      if (facts.shift[0][half] == -INFINITY) facts.shift[0][half] = 0.0f;
    }
  }

  __device__ __forceinline__ void write(const sm90_tile& tile, const lane_rows<1>& facts,
                                        const float (&dq)[1][8][4], int group_first, const float* lse,
                                        int64_t first_row, const key_limit& limit) const {
    const int warp_first = group * 64 + group_first;
    float factor[2];
    GRAFT_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int in_panel = group_first + lane_id() / 4 + 8 * half, own = group * 64 + in_panel;
      const bool finite = quad_all(row_finite<bf16, 64>(memory.q[group].values, in_panel) &&
                                   row_finite<bf16, 64>(memory.dout[group].values, in_panel));
      // A row without keys has gradient 0 whatever its keys hold.
      const bool empty = own >= tile.rows || lse[own] == -INFINITY;
      factor[half] = empty ? 0.0f : g.p.scale;
      if (lane_id() % 4 != 0 || own >= tile.rows) continue;
      const int seen = empty ? 0 : limit(tile.i0 + own);
      store(g.p.rows_HT + first_row + own,
            packed({facts.shift[0][half], facts.inverse[0][half], facts.delta[0][half],
                    finite ? seen : ~seen}));
    }
    // The place of the queries, whose products are done.
    barrier_sync(sm90_group + group, sm90_group_threads);
    write_gradient(g.p.dq, memory.q[group], dq, factor, group_first, tile.seq.q_begin,
                   tile.i0 + warp_first, tile.rows - warp_first, tile.h, g.p);
    fence_async_proxy();
    release_to_copies(&memory.q_empty[group]);
  }

  __device__ __forceinline__ void run() {
    if constexpr (dropped)
      dropout_key = stream_key(g.list.step->inputs.seed, g.list.step->inputs.step, g.p.op_id);
    for_query_tiles<sm90_dq_keys>(g.list, [&](const sm90_tile& tile) {
      if (group == 0 || tile.both)
        attend(tile);
      else
        let_pass(memory, rounds_of(tile), count);  // without queries
    });
  }
};

template <bool dropped>
__global__ void __launch_bounds__(sm90_threads, 1)
    attention_dq_sm90_kernel(const __grid_constant__ sm90_gradient_params g) {
  run_sm90_block<56, 224, sm90_dq_shared, sm90_dq_producer, sm90_dq_consumer<dropped>>(g);
}

}  // namespace graft::cuda
