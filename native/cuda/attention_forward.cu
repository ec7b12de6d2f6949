// Attention without the score matrix: O = softmax(scale Q K^T + mask) V, log-sum-exp L.
//
//   Dao, "FlashAttention-2", arXiv:2307.08691, algorithm 1.
//   paper      code                                  paper   code
//   Q_i        q_BTHD, tile.q_rows() of them         m       softmax.row_max (times log2(e))
//   K_j, V_j   k_BTHD, v_BTHD, tile.k_rows           l       softmax.row_sum
//   S, P       s (P overwrites S)                    L       lse_HT
//   O_i        o
//
//   name           dtype        shape        strides        alignment    in/out
//   q              fp32, bf16   [Tq, H, D]   token, D, 1    element*     in
//   k, v           fp32, bf16   [Tk, H, D]   token, D, 1    element*     in
//   out            fp32, bf16   [Tq, H, D]   token, D, 1    element*     out
//   lse            fp32         [H, Tq]      Tq, 1          4            out
//   cu_seqlens     int32        [B + 1]                     4            in, device memory
//   step inputs    struct                                                in, device memory
//   * fast where pointer, token stride and D are multiples of 16 bytes.
//
//   Suffixes: B sequences, T tokens packed, H heads, D head dim.
//
// A block has one tile of queries of one (sequence, head); its warps share the tiles of keys and
// values in shared memory, two stages of each, and own their queries alone: scores, probabilities and
// output stay in their registers. Sums run in the order of keys, so a row's bits do not depend on the
// grid. bf16 operands, fp32 scores, statistics and sums.
#include <algorithm>
#include <cmath>
#include <limits>

#include "../common/check.h"
#include "attention_dropout.h"
#include "attention_forward_sm90.h"
#include "attention_mask.h"
#include "attention_products.h"
#include "attention_softmax.h"
#include "attention_work.h"
#include "context.h"

namespace graft::cuda {
namespace {

struct forward_params {
  const void *q, *k, *v;
  void* out;
  float* lse_HT;
  const int32_t *cu_seqlens_q, *cu_seqlens_k;
  const step_state* step;
  int64_t q_token_stride, k_token_stride, v_token_stride, out_token_stride;
  attention_grid grid;
  int64_t tokens_q;
  int q_width, k_width, v_width, out_width;
  int head_dim;
  float scale_log2;  // |scale| * log2(e)
  float keep_scale;  // 256 / (256 - k)
  int32_t dropout;   // k of k/256
  uint32_t op_id;
  bool negative;     // scale < 0
  bool causal;
};

template <typename T, int head_dim, bool dropped>
__global__ void __launch_bounds__(forward_tile<T>(head_dim).threads(),
                                  forward_tile<T>(head_dim).blocks_per_sm)
    attention_forward_kernel(const forward_params p) {
  constexpr attention_tile tile = forward_tile<T>(head_dim);
  constexpr int threads = tile.threads(), k_rows = tile.k_rows, row_blocks = tile.row_blocks;
  constexpr int warp_rows = 16 * row_blocks;
  constexpr int stage = k_rows * head_dim;  // elements
  using product = products<T, head_dim, row_blocks, tile.q_in_registers>;

  attention_work work = work_of(p.grid, p.causal, true);
  const int columns_from = work.tile % tile.column_parts() * tile.columns;
  work.tile /= tile.column_parts();
  const int live = p.step->inputs.sequences;
  if (live != 0 && work.b >= live) return;
  const sequence seq = sequence_of(p.cu_seqlens_q, p.cu_seqlens_k, work.b);
  const int i0 = work.tile * tile.q_rows();
  if (i0 >= seq.q_count) return;
  const int rows = seq.q_count - i0 < tile.q_rows() ? seq.q_count - i0 : tile.q_rows();
  const key_limit limit{seq.q_count, seq.k_count, p.causal};
  const int key_tiles = static_cast<int>((int64_t{limit(i0 + rows - 1)} + k_rows - 1) / k_rows);

  T* const q_tile = shared_memory<T>();
  T* const k_stages = q_tile + tile.q_rows() * head_dim;
  T* const v_stages = k_stages + 2 * stage;
  const auto k = rows_of<T>(p.k, p.k_token_stride, p.k_width, seq.k_begin, work.h, p.head_dim);
  const auto v = rows_of<T>(p.v, p.v_token_stride, p.v_width, seq.k_begin, work.h, p.head_dim);
  const auto copy_keys = [&](int t) {
    const int j0 = t * k_rows;
    copy_rows<T, head_dim, k_rows, threads>(k_stages + t % 2 * stage, k, j0, seq.k_count - j0,
                                            p.head_dim);
    copy_rows<T, head_dim, k_rows, threads>(v_stages + t % 2 * stage, v, j0, seq.k_count - j0,
                                            p.head_dim);
    copy_async_commit();
  };
  if (key_tiles > 0) {
    const auto q = rows_of<T>(p.q, p.q_token_stride, p.q_width, seq.q_begin, work.h, p.head_dim);
    copy_rows<T, head_dim, tile.q_rows(), threads>(q_tile, q, i0, rows, p.head_dim);
    copy_keys(0);
  }

  const int warp_first = warp_id() * warp_rows;        // in the tile
  const int first = i0 + warp_first;                   // in the sequence
  const int row = first + lane_id() / 4;               // of this lane
  const bool idle = warp_first >= rows;
  attention_dropout dropout{};
  if constexpr (dropped)
    dropout = {stream_key(p.step->inputs.seed, p.step->inputs.step, p.op_id), static_cast<uint32_t>(work.b),
               static_cast<uint32_t>(work.h), static_cast<uint32_t>(p.dropout)};

  product multiply;
  running_softmax<row_blocks> softmax;
  float o[row_blocks][tile.columns / 8][4] = {};

  for (int t = 0; t < key_tiles; ++t) {
    const int j0 = t * k_rows;
    const T* const values = v_stages + t % 2 * stage;
    copy_async_wait_all();
    // Behind this barrier tile t is there for all, and all have left tile t - 1, whose stage the next
    // copy takes.
    bool exactly = false;
    if (p.causal && limit(i0) - j0 < k_rows)
      exactly = sync_threads_or(!own_chunks_finite<T, head_dim, k_rows, threads>(values));
    else
      sync_threads();
    if (t + 1 < key_tiles) copy_keys(t + 1);
    if (t == 0) multiply.start(q_tile, warp_first);
    if (idle || limit(first + warp_rows - 1) <= j0) continue;

    float s[row_blocks][k_rows / 8][4] = {};
    multiply.scores(k_stages + t % 2 * stage, s);
    if (p.negative) negate(s);
    // Only tiles on the diagonal or at the end of the keys.
    if (limit(first) - j0 < k_rows) mask_scores(s, limit, row, j0);
    softmax.add_tile(s, o, p.scale_log2);
    if constexpr (dropped) drop_probabilities(s, dropout, row, j0);
    if (exactly)
      add_seen_values<head_dim>(s, values + columns_from, tile_sight{limit, row, j0}, o);
    else
      product::values(s, values + columns_from, o);
  }
  if (idle) return;

  // The warp's rows of the tile of Q are its own to write now: no other warp reads them.
  sync_warp();
  GRAFT_UNROLL
  for (int m = 0; m < row_blocks; ++m) {
    GRAFT_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int own = warp_first + lane_id() / 4 + 16 * m + 8 * half;
      const float sum = quad_sum(softmax.row_sum[m][half]);
      // A row without keys: its output is 0 whatever V holds, and its log-sum-exp -inf.
      const bool empty = sum == 0.0f;
      const float factor = p.keep_scale / sum;
      GRAFT_UNROLL
      for (int n = 0; n < tile.columns / 8; ++n)
        put_pair<T, head_dim>(q_tile + columns_from, own, n, empty ? 0.0f : o[m][n][2 * half] * factor,
                              empty ? 0.0f : o[m][n][2 * half + 1] * factor);
      if (lane_id() % 4 == 0 && own < rows && columns_from == 0)
        p.lse_HT[work.h * p.tokens_q + seq.q_begin + i0 + own] =
            empty ? -INFINITY : fma_rn(softmax.row_max[m][half], ln_2, natural_log(sum));
    }
  }
  sync_warp();
  const head_rows<T> out{static_cast<T*>(p.out) + seq.q_begin * p.out_token_stride +
                             work.h * p.head_dim,
                         p.out_token_stride, p.out_width};
  write_rows<T, head_dim, warp_rows, tile.columns>(out, q_tile, warp_first, first,
                                                   rows - warp_first, p.head_dim, columns_from);
}

template <typename T, int head_dim, bool dropped>
cudaError_t launch_forward(const cuda_context& context, forward_params p, int64_t max_queries) {
  constexpr attention_tile tile = forward_tile<T>(head_dim);
  p.grid.tiles = (max_queries + tile.q_rows() - 1) / tile.q_rows() * tile.column_parts();
  return launch_tiles(attention_forward_kernel<T, head_dim, dropped>, tile.threads(),
                      forward_shared_bytes<T>(tile), context.stream, p);
}

template <typename T, int head_dim>
cudaError_t launch_forward(const cuda_context& context, const forward_params& p,
                           int64_t max_queries) {
  return p.dropout > 0 ? launch_forward<T, head_dim, true>(context, p, max_queries)
                       : launch_forward<T, head_dim, false>(context, p, max_queries);
}

template <typename T>
cudaError_t launch_forward(const cuda_context& context, const graft_attention_args& a) {
  forward_params p{};
  const int64_t row = a.heads * a.head_dim;
  p.q = a.q;
  p.k = a.k;
  p.v = a.v;
  p.out = a.out;
  p.lse_HT = a.lse;
  p.cu_seqlens_q = a.cu_seqlens_q;
  p.cu_seqlens_k = a.cu_seqlens_k;
  p.step = context.step;
  p.q_token_stride = stride_or(a.q_token_stride, row);
  p.k_token_stride = stride_or(a.k_token_stride, row);
  p.v_token_stride = stride_or(a.v_token_stride, row);
  p.out_token_stride = stride_or(a.out_token_stride, row);
  p.q_width = access_bytes<T>(a.q, p.q_token_stride, a.head_dim);
  p.k_width = access_bytes<T>(a.k, p.k_token_stride, a.head_dim);
  p.v_width = access_bytes<T>(a.v, p.v_token_stride, a.head_dim);
  p.out_width = access_bytes<T>(a.out, p.out_token_stride, a.head_dim);
  p.tokens_q = a.tokens_q;
  p.grid.batch = a.batch;
  p.grid.heads = a.heads;
  p.head_dim = static_cast<int>(a.head_dim);
  // A scale of 0 becomes the least normal number: masked scores of -inf must stay -inf, not NaN.
  p.scale_log2 = std::max(std::fabs(a.scale) * log2_e, std::numeric_limits<float>::min());
  p.negative = a.scale < 0.0f;
  p.keep_scale = 256.0f / static_cast<float>(256 - a.dropout);
  p.dropout = a.dropout;
  p.op_id = a.op_id;
  p.causal = a.causal != 0;
  const int64_t queries = std::min(a.max_seqlen_q, a.tokens_q);
  if (a.head_dim <= 32) return launch_forward<T, 32>(context, p, queries);
  if (a.head_dim <= 64) return launch_forward<T, 64>(context, p, queries);
  if (a.head_dim <= 96) return launch_forward<T, 96>(context, p, queries);
  if (a.head_dim <= 128) return launch_forward<T, 128>(context, p, queries);
  return launch_forward<T, 256>(context, p, queries);
}

}  // namespace

int attention_forward(cuda_context& context, const graft_attention_args& args) {
  const char* op = "attention_forward";
  GRAFT_TRY(check_product(op, "batch, heads, max_seqlen_q", args.batch * args.heads,
                          args.max_seqlen_q, 1));
  if (args.engine == GRAFT_ATTENTION_SM90) return attention_forward_sm90(op, context, args);
  return check(context, op,
               args.dtype == GRAFT_BFLOAT16 ? launch_forward<bf16>(context, args)
                                            : launch_forward<float>(context, args));
}

}  // namespace graft::cuda
