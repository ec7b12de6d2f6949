// Attention forward for Hopper: the result of attention_forward.cu by warpgroup products (wgmma) on tiles
// that tensor copies (TMA) bring, while another warpgroup's softmax runs.
//
//   Shah et al., "FlashAttention-3", arXiv:2407.08608: warp specialisation (3.1), turns of two warpgroups
//   (3.1, figure 1), products of the next tile beside the softmax of this one (3.2, algorithm 2).
//
//   operands      those of attention_forward.cu, bf16; q, k, v aligned to 16 bytes, token strides and D
//                 multiples of 8 elements, D <= 128
//
// Registers: 128 x 40 for the copying warpgroup and 256 x 232 for the others, of 65,536; a multiprocessor has
// one block. A warpgroup holds 64 x 128 scores (64 a thread), as many probabilities in bf16 (32) and 64 x D
// sums (32 or 64).
#include <algorithm>
#include <cmath>
#include <limits>

#include "attention_dropout.h"
#include "attention_forward_sm90.h"
#include "attention_sm90_launch.h"
#include "attention_sm90_producer.h"
#include "attention_sm90_products.h"
#include "attention_softmax.h"

namespace graft::cuda {
namespace {

// One of the two warpgroups that multiply.
template <int head_dim, bool dropped>
struct consumer {
  using shared = sm90_shared<head_dim>;
  using scores = sm90_scores<head_dim>;
  using values = sm90_values<head_dim>;
  static constexpr int column_blocks = head_dim / 8;

  const sm90_forward_params& p;
  shared& memory;
  const int group;  // 0 or 1
  uint64_t dropout_key = 0;
  int q_parity = 0;
  uint32_t count = 0;  // tiles of keys so far

  // Turns: a warpgroup gives its products to the tensor cores, then it is the other's turn, and it takes
  // up its softmax. A tile without queries for the second has no turns.
  __device__ __forceinline__ void take_turn(bool both) const {
    if (both) barrier_sync(sm90_turn + group, sm90_consumers * sm90_group_threads);
  }
  __device__ __forceinline__ void pass_turn(bool both) const {
    if (both) barrier_arrive(sm90_turn + 1 - group, sm90_consumers * sm90_group_threads);
  }

  // Philox wants registers, which at D = 128 are there only once the last values are multiplied.
  static constexpr bool drop_beside_values = head_dim == 64;

  // Scores to probabilities. Returns whether a row's maximum grew.
  __device__ __forceinline__ bool soften(float (&s)[1][16][4], running_softmax<1>& softmax,
                                         const key_limit& limit, int first, int j0,
                                         float (&shrink)[2]) const {
    if (p.negative) negate(s);
    // Only tiles on the diagonal or at the end of the keys.
    if (limit(first) - j0 < sm90_k_rows) mask_scores(s, limit, first + lane_id() / 4, j0);
    return warp_any(softmax.exponentials(s[0], 0, p.scale_log2, shrink));
  }
  static __device__ __forceinline__ void rescale(float (&o)[1][column_blocks][4],
                                                 const float (&shrink)[2]) {
    GRAFT_UNROLL
    for (int n = 0; n < column_blocks; ++n) {
      GRAFT_UNROLL
      for (int e = 0; e < 4; ++e) o[0][n][e] *= shrink[e / 2];
    }
  }

  __device__ __forceinline__ void attend(const sm90_tile& tile) {
    const int warp_first = group * sm90_group_rows + warp_id() % 4 * 16;  // in the tile
    const int first = tile.i0 + warp_first;                               // in the sequence
    const int row = first + lane_id() / 4;                                // of this lane
    const key_limit limit{tile.seq.q_count, tile.seq.k_count, p.list.causal};
    const attention_dropout dropout{dropout_key, static_cast<uint32_t>(tile.b),
                                    static_cast<uint32_t>(tile.h), static_cast<uint32_t>(p.dropout)};
    running_softmax<1> softmax;
    float s[1][16][4], o[1][column_blocks][4] = {}, shrink[2];
    uint32_t probabilities[values::steps][4];
    const uint64_t q = scores::operand(memory.q[group]);
    mbarrier_wait(&memory.q_full[group], q_parity);
    q_parity ^= 1;

    int t = 0;
    GRAFT_NO_UNROLL
    while (t < tile.key_tiles) {
      {  // Scores and probabilities of tile t, with nothing beside them.
        const sm90_place at = place_of<shared::stages>(count + t);
        mbarrier_wait(&memory.k_full[at.stage], at.parity);
        take_turn(tile.both);
        wgmma_fence(s);
        scores::issue(q, scores::operand(memory.k[at.stage]), s);
        wgmma_commit();
        pass_turn(tile.both);
        wgmma_wait<0>(s);
        release_to_copies(&memory.k_empty[at.stage]);
        if (soften(s, softmax, limit, first, t * sm90_k_rows, shrink)) rescale(o, shrink);
        values::pack(s, probabilities);
        if constexpr (dropped) drop_packed(probabilities, dropout, row, t * sm90_k_rows);
        ++t;
      }
      // Scores of tile t and values of tile t - 1 together; then the softmax of t beside those values.
      GRAFT_NO_UNROLL
      for (; t < tile.key_tiles && t - 1 < tile.whole_tiles; ++t) {
        const sm90_place at = place_of<shared::stages>(count + t);
        const sm90_place before = place_of<shared::stages>(count + t - 1);
        mbarrier_wait(&memory.k_full[at.stage], at.parity);
        mbarrier_wait(&memory.v_full[before.stage], before.parity);
        take_turn(tile.both);
        wgmma_fence(s, o, probabilities);
        scores::issue(q, scores::operand(memory.k[at.stage]), s);
        wgmma_commit();
        values::issue(probabilities, values::operand(memory.v[before.stage]), o);
        wgmma_commit();
        pass_turn(tile.both);
        wgmma_wait<1>(s);
        release_to_copies(&memory.k_empty[at.stage]);
        const bool grew = soften(s, softmax, limit, first, t * sm90_k_rows, shrink);
        if constexpr (dropped && drop_beside_values)
          drop_probabilities(s, dropout, row, t * sm90_k_rows);
        wgmma_wait<0>(o);
        release_to_copies(&memory.v_empty[before.stage]);
        if (grew) rescale(o, shrink);
        values::pack(s, probabilities);
        if constexpr (dropped && !drop_beside_values)
          drop_packed(probabilities, dropout, row, t * sm90_k_rows);
      }
      // Values of tile t - 1, the last or one that not all queries see.
      const sm90_place before = place_of<shared::stages>(count + t - 1);
      const auto* v = memory.v[before.stage];
      mbarrier_wait(&memory.v_full[before.stage], before.parity);
      if (t - 1 >= tile.whole_tiles &&
          values::bad_values(v, static_cast<int>(threadIdx.x) % sm90_group_threads, sm90_group + group)) {
        take_turn(tile.both);
        pass_turn(tile.both);
        values::add_seen(probabilities, v,
                         tile_sight{limit, row, (t - 1) * sm90_k_rows}, o);
      } else {
        take_turn(tile.both);
        wgmma_fence(o, probabilities);
        values::issue(probabilities, values::operand(v), o);
        wgmma_commit();
        pass_turn(tile.both);
        wgmma_wait<0>(o);
      }
      release_to_copies(&memory.v_empty[before.stage]);
    }
    count += static_cast<uint32_t>(tile.key_tiles);
    write(tile, softmax, o, warp_first);
  }

  // The output goes through the place of the queries, whose products are done.
  __device__ __forceinline__ void write(const sm90_tile& tile, const running_softmax<1>& softmax,
                                        const float (&o)[1][column_blocks][4], int warp_first) const {
    bf16* const place = memory.q[group][0].values;
    const int group_first = warp_first - group * sm90_group_rows;
    barrier_sync(sm90_group + group, sm90_group_threads);
    GRAFT_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int own = warp_first + lane_id() / 4 + 8 * half;
      const float sum = quad_sum(softmax.row_sum[0][half]);
      // A row without keys: its output is 0 whatever V holds, and its log-sum-exp -inf.
      const bool empty = sum == 0.0f;
      const float factor = p.keep_scale / sum;
      GRAFT_UNROLL
      for (int n = 0; n < column_blocks; ++n)
        put_pair<bf16, head_dim>(place, group_first + lane_id() / 4 + 8 * half, n,
                                 empty ? 0.0f : o[0][n][2 * half] * factor,
                                 empty ? 0.0f : o[0][n][2 * half + 1] * factor);
      if (lane_id() % 4 == 0 && own < tile.rows)
        p.lse_HT[int64_t{tile.h} * p.tokens_q + tile.seq.q_begin + tile.i0 + own] =
            empty ? -INFINITY : fma_rn(softmax.row_max[0][half], ln_2, natural_log(sum));
    }
    sync_warp();
    const head_rows<bf16> out{static_cast<bf16*>(p.out) + tile.seq.q_begin * p.out_token_stride +
                                  int64_t{tile.h} * p.head_dim,
                              p.out_token_stride, p.out_width};
    write_rows<bf16, head_dim, 16>(out, place, group_first, tile.i0 + warp_first,
                                   tile.rows - warp_first, p.head_dim);
    // The next queries come by a tensor copy.
    fence_async_proxy();
    release_to_copies(&memory.q_empty[group]);
  }

  // Without queries it only lets the tiles go by.
  __device__ __forceinline__ void pass(const sm90_tile& tile) {
    GRAFT_NO_UNROLL
    for (int t = 0; t < tile.key_tiles; ++t, ++count) {
      const sm90_place at = place_of<shared::stages>(count);
      mbarrier_wait(&memory.k_full[at.stage], at.parity);
      release_to_copies(&memory.k_empty[at.stage]);
      mbarrier_wait(&memory.v_full[at.stage], at.parity);
      release_to_copies(&memory.v_empty[at.stage]);
    }
  }

  __device__ __forceinline__ void run() {
    if constexpr (dropped)
      dropout_key = stream_key(p.list.step->inputs.seed, p.list.step->inputs.step, p.op_id);
    if (group == 1) barrier_arrive(sm90_turn, sm90_consumers * sm90_group_threads);
    for_sm90_tiles(p, [&](const sm90_tile& tile) {
      if (group == 0 || tile.both)
        attend(tile);
      else
        pass(tile);
    });
  }
};

template <int head_dim, bool dropped>
__global__ void __launch_bounds__(sm90_threads, 1)
    attention_forward_sm90_kernel(const __grid_constant__ sm90_forward_params p) {
  run_sm90_block<40, 232, sm90_shared<head_dim>, sm90_producer<head_dim>, consumer<head_dim, dropped>>(p);
}

template <int head_dim>
cudaError_t launch_forward(const cuda_context& context, const graft_attention_args& a) {
  sm90_forward_params p{};
  p.list = sm90_list_of(context, a, a.max_seqlen_q, a.tokens_q, sm90_q_rows, true);
  if (p.list.tiles == 0) return cudaSuccess;
  const int64_t row = a.heads * a.head_dim;
  p.v_token_stride = stride_or(a.v_token_stride, row);
  cudaError_t status = sm90_map(&p.q_map, a.q, a.tokens_q, a.q_token_stride, a, sm90_group_rows);
  // Without keys nothing is copied from these.
  if (status == cudaSuccess && a.tokens_k > 0)
    status = sm90_map(&p.k_map, a.k, a.tokens_k, a.k_token_stride, a, sm90_k_rows);
  if (status == cudaSuccess && a.tokens_k > 0)
    status = sm90_map(&p.v_map, a.v, a.tokens_k, a.v_token_stride, a, sm90_k_rows);
  if (status != cudaSuccess) return status;
  p.v = a.v;
  p.out = a.out;
  p.lse_HT = a.lse;
  p.out_token_stride = stride_or(a.out_token_stride, row);
  p.out_width = access_bytes<bf16>(a.out, p.out_token_stride, a.head_dim);
  p.tokens_q = a.tokens_q;
  p.head_dim = static_cast<int>(a.head_dim);
  // A scale of 0 becomes the least normal number: masked scores of -inf must stay -inf, not NaN.
  p.scale_log2 = std::max(std::fabs(a.scale) * log2_e, std::numeric_limits<float>::min());
  p.negative = a.scale < 0.0f;
  p.keep_scale = 256.0f / static_cast<float>(256 - a.dropout);
  p.dropout = a.dropout;
  p.op_id = a.op_id;
  const launch_shape shape{sm90_grid(context, p.list), sm90_threads, sizeof(sm90_shared<head_dim>),
                           context.stream};
  return a.dropout > 0 ? launch(attention_forward_sm90_kernel<head_dim, true>, shape, p)
                       : launch(attention_forward_sm90_kernel<head_dim, false>, shape, p);
}

}  // namespace

int attention_forward_sm90(const char* op, const cuda_context& context,
                           const graft_attention_args& args) {
  GRAFT_TRY(check_sm90(op, context, args, 128));
  return check(context, op, args.head_dim <= 64 ? launch_forward<64>(context, args)
                                                : launch_forward<128>(context, args));
}

}  // namespace graft::cuda
