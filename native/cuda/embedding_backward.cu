// dtable[ids[t]] += dout[t] for one table, without float atomics.
//
// `order` sorts the rows by id, so each id has one run in it. A block takes a tile of `order` and a strip
// of columns, and adds the runs that begin in the tile: short ones by a warp each, in the order of t;
// long ones (a position, a frequent word, a type of which there are two) by all warps, 32 rows a warp
// in turn, and the warps' sums in their order. Which warp adds what depends on the run alone. Rows of
// few ids go by narrow strips of many warps, as their runs are nearly all the parallel work there is.
//
//   name    dtype  shape      aligned to  in/out
//   ids     i32    [T]        element     in; in [0, rows) (the caller has checked)
//   order   i32    [T]        element     in: stable permutation sorting rows by id
//   dout    T      [T, C]     element     in
//   dtable  f32    [rows, C]  element     in/out
#include "context.h"
#include "row_vectors.h"

namespace graft::cuda {
namespace {

template <int strip_lanes, int block_warps, int tile_places>
struct run_tile {
  static constexpr int lanes = strip_lanes;  // that share a row of the strip
  static constexpr int columns = lanes * vector_columns;
  static constexpr int warps = block_warps;
  static constexpr int threads = warps * warp_size;
  static constexpr int places = tile_places;  // of `order`
};
using wide_strip = run_tile<32, 8, 64>;      // 512 bytes of a bfloat16 row
using narrow_strip = run_tile<4, 16, 1024>;  // 64 bytes
// Rows to an id, on average, from which strips are narrow.
constexpr int64_t many_rows = 256;

constexpr int long_run = 64;
constexpr int rows_at_once = 4;  // loads in flight a lane
constexpr int warps_an_sm = 24;  // 80 registers a thread; 32 warps would spill

template <typename Tile>
struct shared_state {
  alignas(16) float sums[Tile::warps][Tile::columns];
  int32_t ids[Tile::places + 1];  // of the tile, behind that of the place before
  int short_count, long_count;
  int short_starts[Tile::places];
  int long_starts[Tile::places / long_run + 1];
};

struct run_place {
  int32_t id;
  int64_t begin;
};

template <typename T>
struct arrays {
  const int32_t* ids;
  const int32_t* order;
  const T* dout;
  float* dtable;
  int64_t tokens, channels;

  __device__ __forceinline__ int32_t id_at(int64_t place) const { return ids[order[place]]; }
};

// Adds the rows of a run: 32 from run.begin on, then those `step` places further, while there are any.
// Afterwards every lane has the sums of its columns.
template <typename Tile, bool wide, typename T>
GRAFT_DEVICE void sum_rows(const arrays<T>& a, const run_place& run, int64_t step, int64_t column,
                           float (&sums)[8]) {
  constexpr int groups = warp_size / Tile::lanes;  // rows a load of the warp covers
  const int group = lane_id() / Tile::lanes;
  uint32_t inside = all_lanes;
  for (int64_t first = run.begin; inside == all_lanes; first += step) {
    const int64_t place = first + lane_id();
    const int32_t own = place < a.tokens ? a.order[place] : -1;
    inside = warp_ballot(own >= 0 && a.ids[own < 0 ? 0 : own] == run.id);
    GRAFT_NO_UNROLL
    for (int row = 0; row < warp_size && inside >> row != 0; row += groups * rows_at_once) {
      float x[rows_at_once][8];
      GRAFT_UNROLL
      for (int i = 0; i < rows_at_once; ++i) {
        const int r = row + i * groups + group;
        const int64_t t = shuffle(own, r);
        const bool is_inside = ((inside >> r) & 1) != 0;
        load8<wide, reuse::none>(a.dout + t * a.channels + column,
                                 is_inside ? a.channels - column : 0, x[i]);
      }
      GRAFT_UNROLL
      for (int i = 0; i < rows_at_once; ++i) {
        GRAFT_UNROLL
        for (int c = 0; c < 8; ++c) sums[c] += x[i][c];
      }
    }
  }
  GRAFT_UNROLL
  for (int apart = Tile::lanes; apart < warp_size; apart *= 2) {
    GRAFT_UNROLL
    for (int c = 0; c < 8; ++c) sums[c] += shuffle_xor(sums[c], apart);
  }
}

template <typename Tile, bool wide, typename T>
GRAFT_DEVICE void add_short_run(const arrays<T>& a, const run_place& run, int64_t column) {
  float sums[8] = {};
  sum_rows<Tile, wide>(a, run, warp_size, column, sums);
  if (lane_id() >= Tile::lanes) return;
  float* const row = a.dtable + run.id * a.channels + column;
  float old[8];
  load8<wide>(row, a.channels - column, old);
  GRAFT_UNROLL
  for (int c = 0; c < 8; ++c) sums[c] += old[c];
  store8<wide>(row, a.channels - column, sums);
}

template <typename Tile, bool wide, typename T>
GRAFT_DEVICE void add_long_run(const arrays<T>& a, const run_place& run, int64_t column,
                               int64_t strip, shared_state<Tile>* shared) {
  float sums[8] = {};
  sum_rows<Tile, wide>(a, {run.id, run.begin + warp_id() * warp_size}, Tile::threads, column, sums);
  if (lane_id() < Tile::lanes)
    store_packed(&shared->sums[warp_id()][lane_id() * vector_columns], pack<float>(sums));
  sync_threads();
  const int c = static_cast<int>(threadIdx.x);
  if (c < Tile::columns && strip + c < a.channels) {
    float sum = shared->sums[0][c];
    for (int warp = 1; warp < Tile::warps; ++warp) sum += shared->sums[warp][c];
    a.dtable[run.id * a.channels + strip + c] += sum;
  }
  sync_threads();
}

template <typename Tile, typename T, bool wide>
__global__ void __launch_bounds__(Tile::threads, warps_an_sm / Tile::warps)
    add_runs(arrays<T> a, int64_t strips) {
  auto* shared = shared_memory<shared_state<Tile>>();
  const int64_t begin = blockIdx.x / strips * Tile::places;
  const int64_t strip = blockIdx.x % strips * Tile::columns;
  const int64_t column = strip + lane_id() % Tile::lanes * vector_columns;
  for (int i = static_cast<int>(threadIdx.x); i <= Tile::places; i += Tile::threads) {
    const int64_t place = begin + i - 1;
    shared->ids[i] = place >= 0 && place < a.tokens ? a.id_at(place) : -1;
  }
  if (threadIdx.x == 0) shared->short_count = shared->long_count = 0;
  sync_threads();
  // The lists' order is not fixed, and need not be: each run is a row of its own.
  for (int i = static_cast<int>(threadIdx.x); i < Tile::places; i += Tile::threads) {
    const int32_t id = shared->ids[i + 1];
    if (id < 0 || id == shared->ids[i]) continue;
    const int64_t far = begin + i + long_run - 1;
    if (far < a.tokens && a.id_at(far) == id)
      shared->long_starts[atomic_add(&shared->long_count, 1)] = i;
    else
      shared->short_starts[atomic_add(&shared->short_count, 1)] = i;
  }
  sync_threads();
  const auto run_at = [&](int i) { return run_place{shared->ids[i + 1], begin + i}; };
  for (int i = warp_id(); i < shared->short_count; i += Tile::warps)
    add_short_run<Tile, wide>(a, run_at(shared->short_starts[i]), column);
  for (int i = 0; i < shared->long_count; ++i)
    add_long_run<Tile, wide>(a, run_at(shared->long_starts[i]), column, strip, shared);
}

template <typename Tile, typename T>
cudaError_t launch_runs(const cuda_context& context, const arrays<T>& a, bool wide) {
  const int64_t strips = (a.channels + Tile::columns - 1) / Tile::columns;
  const int64_t tiles = (a.tokens + Tile::places - 1) / Tile::places;
  return launch(wide ? add_runs<Tile, T, true> : add_runs<Tile, T, false>,
                {dim3(static_cast<unsigned>(tiles * strips)), Tile::threads,
                 sizeof(shared_state<Tile>), context.stream},
                a, strips);
}

template <typename T>
cudaError_t run(const cuda_context& context, const graft_embedding_backward_args& args) {
  const arrays<T> a = {args.ids,    args.order,  static_cast<const T*>(args.dout),
                       args.dtable, args.tokens, args.channels};
  const bool wide = args.channels % vector_columns == 0 &&
                    rows_are_wide(args.tokens, args.channels, a.dout, a.dtable);
  return args.tokens / many_rows >= args.rows ? launch_runs<narrow_strip>(context, a, wide)
                                              : launch_runs<wide_strip>(context, a, wide);
}

}  // namespace

int embedding_backward(cuda_context& context, const graft_embedding_backward_args& args) {
  if (args.tokens == 0) return GRAFT_OK;
  return check(context, "embedding_backward",
               args.dtype == GRAFT_BFLOAT16 ? run<bf16>(context, args)
                                            : run<float>(context, args));
}

}  // namespace graft::cuda
