// Tiles of the Hopper attention: shared memory, roles and the order of work.
//
// A block has two warpgroups of 64 queries each, which multiply, and one that copies. It stays on its
// multiprocessor and takes tile after tile of 128 queries.
#pragma once

#include "attention_mask.h"
#include "attention_work.h"
#include "context.h"
#include "device_sm90.h"

namespace graft::cuda {

constexpr int sm90_consumers = 2;              // warpgroups that multiply
constexpr int sm90_group_threads = 128;
constexpr int sm90_threads = sm90_group_threads * (1 + sm90_consumers);
constexpr int sm90_group_rows = 64;            // queries of one: a row of wgmma
constexpr int sm90_q_rows = sm90_group_rows * sm90_consumers;
constexpr int sm90_k_rows = 128;               // keys and values of a tile
constexpr int sm90_columns = swizzle_bytes / 2;  // of a panel: bf16 numbers of a swizzled row

// Stages of keys and values: as many as fit 227 KiB beside Q (64: 144 KiB, 128: 160 KiB). More than two
// let the copies of the next tile of queries run while this one ends.
constexpr int sm90_stages(int head_dim) { return head_dim == 64 ? 4 : 2; }

// A matrix is cut in panels of 64 columns, rows of 128 bytes in each: what a tensor copy writes and a
// product reads, swizzled.
template <int rows>
struct alignas(swizzle_atom_bytes) sm90_panel {
  static constexpr int bytes = rows * swizzle_bytes;
  bf16 values[rows * sm90_columns];
};

// `arrivals` end a phase of each.
template <int count>
GRAFT_DEVICE void start_barriers(mbarrier (&barriers)[count], int arrivals) {
  for (mbarrier& one : barriers) mbarrier_init(&one, arrivals);
}

template <int head_dim>
struct sm90_shared {
  static constexpr int panels = head_dim / sm90_columns, stages = sm90_stages(head_dim);
  sm90_panel<sm90_group_rows> q[sm90_consumers][panels];  // then the output of the same rows
  sm90_panel<sm90_k_rows> k[stages][panels];
  sm90_panel<sm90_k_rows> v[stages][panels];
  mbarrier q_full[sm90_consumers], q_empty[sm90_consumers];
  mbarrier k_full[stages], k_empty[stages];
  mbarrier v_full[stages], v_empty[stages];

  __device__ __forceinline__ void start() {
    start_barriers(q_full, 1);
    start_barriers(q_empty, 4);
    start_barriers(k_full, 1);
    start_barriers(v_full, 1);
    start_barriers(k_empty, 4 * sm90_consumers);
    start_barriers(v_empty, 4 * sm90_consumers);
  }
};

// Named barriers.
constexpr int sm90_turn = 1;       // + consumer: it may give its products to the tensor cores
constexpr int sm90_group = 3;      // + consumer: its four warps
constexpr int sm90_last_values = 5;  // of the producer's warps 0, 2 and 3
constexpr int sm90_copied = 6;       // of its warps 2 and 3

// Tiles of all sequences and heads.
struct sm90_list {
  const int32_t *cu_seqlens_q, *cu_seqlens_k;
  const step_state* step;
  int heads;
  uint32_t all_heads;  // of all sequences
  uint32_t tiles;      // of the longest sequence; all_heads of them are below 2^31
  bool causal;
  bool late_first;     // under a causal mask: the last tiles of a sequence have most to do
};

struct sm90_work {
  int b, h;
  sequence seq;
  int tile;
};

// Calls body for this block's tiles, in the same order in all of its threads. The list of all tiles is
// longest first: under a causal mask the longest tiles of all heads come before the others; without one the
// tiles of a head follow one another, for they share its rows in the second-level cache. Blocks draw from the
// list in turn, every other round backwards, so that none gets the longer one each time. Which block has a
// tile changes none of its bits.
template <typename Body>
GRAFT_DEVICE void for_sm90_work(const sm90_list& list, Body body) {
  const uint32_t all = list.all_heads * list.tiles, blocks = gridDim.x;
  const int live = list.step->inputs.sequences;
  bool backwards = false;
  GRAFT_NO_UNROLL
  for (uint32_t first = 0; first < all; first += blocks, backwards = !backwards) {
    const uint32_t own = first + (backwards ? blocks - 1 - blockIdx.x : blockIdx.x);
    if (own >= all) continue;
    const uint32_t head = list.causal ? own % list.all_heads : own / list.tiles;
    uint32_t tile = list.causal ? own / list.all_heads : own % list.tiles;
    if (list.causal && list.late_first) tile = list.tiles - 1 - tile;
    const auto heads = static_cast<uint32_t>(list.heads);
    sm90_work work{static_cast<int>(head / heads), static_cast<int>(head % heads), {},
                   static_cast<int>(tile)};
    if (live != 0 && work.b >= live) continue;
    work.seq = sequence_of(list.cu_seqlens_q, list.cu_seqlens_k, work.b);
    body(work);
  }
}

// Stage and phase of a tile of a stream: a block's tiles are counted through.
struct sm90_place {
  int stage, parity;
};
template <int stages>
GRAFT_DEVICE sm90_place place_of(uint32_t count) {
  return {static_cast<int>(count % stages), static_cast<int>(count / stages % 2)};
}

// A box of every panel of a matrix.
template <int panels, int rows>
GRAFT_DEVICE void copy_panels(sm90_panel<rows>* to, const tensor_map& map, int h, int token,
                              mbarrier* full) {
  GRAFT_UNROLL
  for (int i = 0; i < panels; ++i)
    copy_tensor(to[i].values, map, i * sm90_columns, h, token, full);
}

// A warp has read what the barrier guards.
GRAFT_DEVICE void release_to_copies(mbarrier* empty) {
  sync_warp();
  if (lane_id() == 0) mbarrier_arrive(empty);
}

// A block: a warpgroup that copies and two that multiply, with as many registers a thread as each needs.
template <int copying, int multiplying, typename Shared, typename Producer, typename Consumer,
          typename Params>
GRAFT_DEVICE void run_sm90_block([[maybe_unused]] const Params& p) {
#ifdef GRAFT_SM90A
  auto& memory = *shared_memory<Shared>();
  if (threadIdx.x == 0) {
    memory.start();
    mbarrier_init_fence();
  }
  sync_threads();
  if (threadIdx.x < sm90_group_threads) {
    release_registers<copying>();
    Producer{p, memory}.run();
  } else {
    take_registers<multiplying>();
    Consumer{p, memory, warp_id() / 4 - 1}.run();
  }
#else
  wrong_image();
#endif
}

// ---- forward

struct sm90_forward_params {
  tensor_map q_map, k_map, v_map;  // [D, H, T], boxes of one panel
  sm90_list list;                  // of tiles of queries
  const void* v;
  void* out;
  float* lse_HT;
  int64_t v_token_stride, out_token_stride;
  int64_t tokens_q;
  int out_width;
  int head_dim;
  float scale_log2;  // |scale| * log2(e)
  float keep_scale;  // 256 / (256 - k)
  int32_t dropout;   // k of k/256
  uint32_t op_id;
  bool negative;     // scale < 0
};

// A tile of queries of one sequence and head.
struct sm90_tile {
  int b, h;
  sequence seq;
  int i0, rows;     // its queries
  int key_tiles;    // that some of them see
  int whole_tiles;  // that all of them see, as far as it matters: values need no second look
  bool both;        // there are queries for both consumers
};

// Keys come in tiles of k_rows.
template <int k_rows, typename Body>
GRAFT_DEVICE void for_query_tiles(const sm90_list& list, Body body) {
  for_sm90_work(list, [&](const sm90_work& work) {
    sm90_tile tile;
    tile.b = work.b;
    tile.h = work.h;
    tile.seq = work.seq;
    tile.i0 = work.tile * sm90_q_rows;
    if (tile.i0 >= tile.seq.q_count) return;
    const int left = tile.seq.q_count - tile.i0;
    tile.rows = left < sm90_q_rows ? left : sm90_q_rows;
    tile.both = tile.rows > sm90_group_rows;
    const key_limit limit{tile.seq.q_count, tile.seq.k_count, list.causal};
    const int seen = limit(tile.i0 + tile.rows - 1);
    tile.key_tiles = seen / k_rows + (seen % k_rows != 0);
    tile.whole_tiles = list.causal ? limit(tile.i0) / k_rows : tile.key_tiles;
    body(tile);
  });
}
template <typename Body>
GRAFT_DEVICE void for_sm90_tiles(const sm90_forward_params& p, Body body) {
  for_query_tiles<sm90_k_rows>(p.list, body);
}

}  // namespace graft::cuda
