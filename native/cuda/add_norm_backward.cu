// The derivative of residual + dropout + LayerNorm, and of its gain, offset and bias, in one pass.
//
//   ds = dsum + rstd (g - mean_c(g) - xhat mean_c(g xhat)),  g = gamma dropout_out'(dout)
//   dresidual = ds;  dx = dropout'(ds);  dgamma += sum_r dout xhat;  dbeta += sum_r dout;
//   dbias += sum_r dx                                        (Ba et al. 2016, arXiv:1607.06450)
//
// A warp (up to 1,024 columns) or a block (up to 8,192) takes row after row. The next row is on its
// way to shared memory (cp.async) while this one is computed: a lane waits for its own copies only, so
// that no barrier stands between. The three column sums stay in registers until the rows are done.
// Other rows and addresses: add_norm_backward_strips.h.
//
//   name                 dtype  shape   stride  aligned to  in/out
//   dout, dsum, sum      T      [R, C]  packed  element     in; dsum optional
//   gamma                T      [C]             element     in
//   mean, rstd           f32    [R]             element     in
//   dresidual, dx        T      [R, C]  packed  element     out, optional; may be dsum or dout, dout
//   dgamma, dbeta, dbias f32    [C]             element     in/out, optional
#include "../common/check.h"
#include "add_norm_backward_strips.h"
#include "row_teams.h"

namespace graft::cuda {
namespace {

// A thread's words of the rows in flight: [stages][operands][vectors][words] of [threads].
constexpr int stages = 2;
constexpr int operands = 3;  // dout, sum, dsum
template <typename T, typename Team>
constexpr int ring_words =
    stages * operands * Team::vectors * packed8<T>::words * Team::block_threads;

template <typename T, typename Team>
struct row_ring {
  uint4* words;  // shared
  const T* from[operands];

  __device__ __forceinline__ uint4* at(int stage, int operand, int n, int word) const {
    const int slot =
        ((stage * operands + operand) * Team::vectors + n) * packed8<T>::words + word;
    return words + slot * Team::block_threads + threadIdx.x;
  }
  __device__ __forceinline__ void fetch(int64_t row, int channels, int stage) const {
    GRAFT_UNROLL
    for (int operand = 0; operand < operands; ++operand) {
      if (from[operand] == nullptr) continue;
      GRAFT_UNROLL
      for (int n = 0; n < Team::vectors; ++n) {
        if (Team::column(n) >= channels) continue;
        const auto* global = reinterpret_cast<const uint4*>(from[operand] + row * channels +
                                                            Team::column(n));
        GRAFT_UNROLL
        for (int word = 0; word < packed8<T>::words; ++word)
          copy_async<16>(at(stage, operand, n, word), global + word);
      }
    }
  }
  __device__ __forceinline__ void read(int stage, int operand, int n, float (&x)[8]) const {
    packed8<T> packed;
    GRAFT_UNROLL
    for (int word = 0; word < packed8<T>::words; ++word)
      packed.word[word] = load(at(stage, operand, n, word));
    unpack(packed, x);
  }
  // Zeroes what dropout left out of dout. (Scaled when read: that must not be rounded.)
  __device__ __forceinline__ void clear_dropped(const hidden_dropout& rule, int64_t row, int stage,
                                                int channels) const {
    const auto clear = [&](int n, const keep_bytes& keep) {
      if (Team::column(n) >= channels) return;
      float d[8];
      read(stage, 0, n, d);
      GRAFT_UNROLL
      for (int i = 0; i < 8; ++i) d[i] = keeps(keep, i, rule.k) ? d[i] : 0.0f;
      const packed8<T> packed = pack<T>(d);
      GRAFT_UNROLL
      for (int word = 0; word < packed8<T>::words; ++word)
        store(at(stage, 0, n, word), packed.word[word]);
    };
    GRAFT_NO_UNROLL
    for (int n = 0; n < Team::vectors; n += 2) {
      keep_bytes keep[2];
      keep_bytes_of_pair(rule, row, {Team::column(n), Team::column(n + 1)}, keep);
      clear(n, keep[0]);
      if (n + 1 < Team::vectors) clear(n + 1, keep[1]);
    }
  }
};

// Behind the ring. The rules lie there, too, because registers are dear.
template <typename Team>
struct block_state {
  hidden_dropout rule, out_rule;
  float scratch[Team::warps];
};

// The sums take 24 registers a vector.
template <typename Team>
constexpr int backward_blocks_an_sm = Team::vectors == 4 || Team::warps == 16 ? 1 : 2;

template <typename T, typename Team>
__global__ void __launch_bounds__(Team::block_threads, backward_blocks_an_sm<Team>)
    backward_in_registers(backward_arrays<T> a, graft_add_norm_backward_args args,
                          const step_state* step) {
  constexpr int vectors = Team::vectors;
  auto* shared = shared_memory<uint4>();
  const row_ring<T, Team> ring = {shared, {a.dout, a.sum, a.dsum}};
  auto* block = reinterpret_cast<block_state<Team>*>(shared + ring_words<T, Team>);
  const int channels = static_cast<int>(args.channels);
  const float inverse_count = 1.0f / static_cast<float>(channels);
  if (threadIdx.x == 0) {
    block->rule = dropout_of(step, args.dropout, args.op_id);
    block->out_rule = dropout_of(step, args.out_dropout, args.out_op_id);
  }
  sync_threads();
  const float out_scale = kept_scale(args.out_dropout);
  const auto inside = [channels](int n) { return Team::column(n) < channels; };

  float dgamma[vectors][8] = {};
  float dbeta[vectors][8] = {};
  float dbias[vectors][8] = {};
  float next_mean = 0.0f, next_rstd = 0.0f;
  const auto fetch = [&](int64_t row, int stage) {
    if (row < args.rows) {
      ring.fetch(row, channels, stage);
      next_mean = load_readonly(args.mean + row);
      next_rstd = load_readonly(args.rstd + row);
    }
    copy_async_commit();
  };

  int stage = 0;
  fetch(Team::first_row(), stage);
  for (int64_t row = Team::first_row(); row < args.rows; row += Team::row_step()) {
    const float mean = next_mean, rstd = next_rstd;
    fetch(row + Team::row_step(), stage ^ 1);
    copy_async_wait<1>();
    if (args.out_dropout > 0) ring.clear_dropped(block->out_rule, row, stage, channels);

    // d, xhat and g of eight columns; computed again below rather than kept.
    float d[8], xhat[8], g[8];
    const auto read = [&](int n) {
      float gamma[8];
      ring.read(stage, 0, n, d);
      ring.read(stage, 1, n, xhat);
      unpack(load_packed<reuse::soon>(a.gamma + Team::column(n)), gamma);
      GRAFT_UNROLL
      for (int i = 0; i < 8; ++i) {
        d[i] *= out_scale;
        xhat[i] = (xhat[i] - mean) * rstd;
        g[i] = d[i] * gamma[i];
      }
    };
    float sums[2] = {0.0f, 0.0f};
    GRAFT_UNROLL
    for (int n = 0; n < vectors; ++n) {
      if (!inside(n)) continue;
      read(n);
      GRAFT_UNROLL
      for (int i = 0; i < 8; ++i) {
        sums[0] += g[i];
        sums[1] = fma_rn(g[i], xhat[i], sums[1]);
      }
    }
    Team::sum(sums, block->scratch);
    const float g_mean = sums[0] * inverse_count, g_xhat_mean = sums[1] * inverse_count;

    keep_bytes keep[2] = {};
    GRAFT_UNROLL
    for (int n = 0; n < vectors; ++n) {
      if (n % 2 == 0 && args.dropout > 0)
        keep_bytes_of_pair(block->rule, row, {Team::column(n), Team::column(n + 1)}, keep);
      if (!inside(n)) continue;
      read(n);
      float ds[8];
      if (a.dsum != nullptr) {
        ring.read(stage, 2, n, ds);
      } else {
        GRAFT_UNROLL
        for (int i = 0; i < 8; ++i) ds[i] = 0.0f;
      }
      add_norm_derivative(d, xhat, g, g_mean, g_xhat_mean, rstd, ds, dgamma[n], dbeta[n]);
      const int64_t at = row * channels + Team::column(n);
      if (a.dresidual != nullptr) store_packed(a.dresidual + at, pack<T>(ds));
      if (args.dropout > 0) drop(block->rule, keep[n % 2], ds);
      if (a.dx != nullptr) store_packed(a.dx + at, pack<T>(ds));
      GRAFT_UNROLL
      for (int i = 0; i < 8; ++i) dbias[n][i] += ds[i];
    }
    stage ^= 1;
  }
  copy_async_wait_all();
  if (a.partial == nullptr) return;

  float* const partial = a.partial + int64_t{blockIdx.x} * 3 * channels;
  if constexpr (Team::warps == 1) {
    // The ring's memory, now of all threads.
    sync_threads();
    auto* strip = reinterpret_cast<float*>(shared);
    GRAFT_UNROLL
    for (int n = 0; n < vectors; ++n) {
      const int first = n * strip_columns;
      add_warps<Team::block_warps>(dgamma[n], strip, partial + first, channels - first);
      add_warps<Team::block_warps>(dbeta[n], strip, partial + channels + first, channels - first);
      add_warps<Team::block_warps>(dbias[n], strip, partial + 2 * channels + first,
                                   channels - first);
    }
  } else {
    GRAFT_UNROLL
    for (int n = 0; n < vectors; ++n) {
      if (!inside(n)) continue;
      store_sums(dgamma[n], partial + Team::column(n));
      store_sums(dbeta[n], partial + channels + Team::column(n));
      store_sums(dbias[n], partial + 2 * channels + Team::column(n));
    }
  }
}

// Warps of a block. float32 has twice the bytes in flight, and no block may hold more than sm_86's 99
// KiB of them. Three vectors with 8 warps, 128 registers a thread, would spill 8 to 16 bytes.
template <typename T>
constexpr int warps_together(int warps, int vectors) {
  return warps > 1 ? warps : sizeof(T) == 4 ? 4 : vectors == 3 ? 6 : 8;
}
template <typename T, int warps, int vectors>
using team_of = row_team<warps, vectors, warps_together<T>(warps, vectors)>;
template <typename T>
constexpr int64_t most_channels_in_flight = sizeof(T) == 2 ? most_team_channels : 4096;

template <typename Team>
int64_t backward_blocks(const cuda_context& context, int64_t rows) {
  return team_blocks<Team>(context.multiprocessors, backward_blocks_an_sm<Team>, 2, rows);
}

// The means of strips, filled up so that the sums behind them are aligned.
int64_t means_bytes(int64_t rows) { return (rows + 7) / 8 * 8 * int64_t{sizeof(float2)}; }

template <typename T>
backward_arrays<T> arrays_of(const graft_add_norm_backward_args& args) {
  const bool sums = args.dgamma != nullptr || args.dbeta != nullptr || args.dbias != nullptr;
  auto* workspace = static_cast<uint8_t*>(args.workspace);
  return {static_cast<const T*>(args.dout),
          static_cast<const T*>(args.dsum),
          static_cast<const T*>(args.sum),
          static_cast<const T*>(args.gamma),
          static_cast<T*>(args.dresidual),
          static_cast<T*>(args.dx),
          sums ? reinterpret_cast<float*>(workspace + means_bytes(args.rows)) : nullptr,
          reinterpret_cast<float2*>(workspace)};
}

template <typename T>
bool launch_in_registers(const cuda_context& context, const graft_add_norm_backward_args& args,
                         const backward_arrays<T>& a, cudaError_t& status, int64_t& blocks) {
  return args.channels % vector_columns == 0 &&
         rows_are_wide(args.rows, args.channels, a.dout, a.dsum, a.sum, a.gamma, a.dresidual,
                       a.dx) &&
         with_team(args.channels, most_channels_in_flight<T>, [&]<int warps, int vectors>() {
           using team = team_of<T, warps, vectors>;
           // with_team never asks for it, but instantiates it.
           if constexpr (team::threads * vectors * vector_columns <= most_channels_in_flight<T>) {
             blocks = backward_blocks<team>(context, args.rows);
             const size_t bytes = ring_words<T, team> * sizeof(uint4) + sizeof(block_state<team>);
             status = launch(backward_in_registers<T, team>,
                             {dim3(static_cast<unsigned>(blocks)), team::block_threads, bytes,
                              context.stream},
                             a, args, context.step);
           }
         });
}

template <typename T>
cudaError_t launch_strips(const cuda_context& context, const graft_add_norm_backward_args& args,
                          const backward_arrays<T>& a, int64_t& blocks) {
  const int64_t most = int64_t{means_blocks_an_sm} * context.multiprocessors;
  const cudaError_t status =
      launch(backward_means<T>,
             {dim3(static_cast<unsigned>(args.rows < most ? args.rows : most)), means_threads,
              means_threads / warp_size * sizeof(float), context.stream},
             a, args, context.step);
  if (status != cudaSuccess) return status;
  const row_ranges ranges = row_ranges_of(context, strip_blocks_an_sm, args.rows, args.channels);
  blocks = ranges.count;
  return launch(
      backward_strip<T>,
      {strip_grid(args.channels, ranges), strip_threads, strip_shared_bytes, context.stream}, a,
      args, context.step, ranges.rows_each);
}

template <typename T>
int run(const cuda_context& context, const graft_add_norm_backward_args& args) {
  const char* op = "add_norm_backward";
  const backward_arrays<T> a = arrays_of<T>(args);
  cudaError_t status = cudaSuccess;
  int64_t blocks = 0;
  if (!launch_in_registers(context, args, a, status, blocks))
    status = launch_strips(context, args, a, blocks);
  GRAFT_TRY(check(context, op, status));
  if (a.partial == nullptr) return GRAFT_OK;
  return join_column_sums(context, op, a.partial, blocks, args.channels, 3,
                          {args.dgamma, args.dbeta, args.dbias});
}

template <typename T>
int64_t most_blocks(const cuda_context& context, const graft_add_norm_backward_args& args) {
  int64_t blocks = 0;
  with_team(args.channels, most_channels_in_flight<T>, [&]<int warps, int vectors>() {
    blocks = backward_blocks<team_of<T, warps, vectors>>(context, args.rows);
  });
  const int64_t ranges =
      row_ranges_of(context, strip_blocks_an_sm, args.rows, args.channels).count;
  return blocks > ranges ? blocks : ranges;
}

}  // namespace

int add_norm_backward_workspace(const cuda_context& context,
                                const graft_add_norm_backward_args& args, int64_t* bytes) {
  const char* op = "add_norm_backward_workspace";
  GRAFT_TRY(check_range(op, "rows", args.rows, 0));
  GRAFT_TRY(check_range(op, "channels", args.channels, 1));
  GRAFT_TRY(check_product(op, "rows x channels", args.rows, args.channels, 4));
  // The addresses are not known yet, so it suffices for either way.
  const int64_t blocks = args.dtype == GRAFT_BFLOAT16 ? most_blocks<bf16>(context, args)
                                                      : most_blocks<float>(context, args);
  constexpr int64_t column_bytes = 3 * int64_t{sizeof(float)};
  GRAFT_TRY(check_product(op, "channels", args.channels, column_bytes, blocks + 1));
  *bytes = means_bytes(args.rows) + blocks * args.channels * column_bytes;
  return GRAFT_OK;
}

int add_norm_backward(cuda_context& context, const graft_add_norm_backward_args& args) {
  int64_t bytes = 0;
  GRAFT_TRY(add_norm_backward_workspace(context, args, &bytes));
  GRAFT_TRY(check_workspace("add_norm_backward", args.workspace, args.workspace_bytes, bytes));
  if (args.rows == 0) return GRAFT_OK;
  return args.dtype == GRAFT_BFLOAT16 ? run<bf16>(context, args) : run<float>(context, args);
}

}  // namespace graft::cuda
