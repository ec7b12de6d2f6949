// Attention without the score matrix: O = softmax(scale Q K^T + mask) V.
//
//   Dao, "FlashAttention-2", arXiv:2307.08691, algorithm 1.
//   paper   code                              paper   code
//   Q_i     t.q, q_tile rows of queries       m       row_max (running)
//   K_j     t.k, its transpose, k_tile keys   l       row_sum (running, W partial sums)
//   S, P    t.scores (P overwrites S)         L       lse
//
//   name         dtype        shape        strides        in/out
//   q            fp32, bf16   [Tq, H, D]   token, D, 1    in
//   k, v         fp32, bf16   [Tk, H, D]   token, D, 1    in
//   out          fp32, bf16   [Tq, H, D]   token, D, 1    out
//   lse          fp32         [H, Tq]      Tq, 1          out
//   cu_seqlens   int32        [B + 1]                     in
//
// All arithmetic is fp32 on tiles packed into the thread's workspace; bf16 is widened while packing
// and rounded once on the way out (dot products of bf16: attention_forward_dot.cpp). A task is a span of
// query tiles of one (sequence, head); how long spans are depends on the number of threads, a row's bits do
// not: they come from its tile alone.
#include "attention_forward.h"
#include "attention_workspace.h"
#include "functions.h"

namespace graft::GRAFT_ISA {
namespace {

// Queries i0 .. i0 + rows of a span whose first is `first` in its sequence.
struct query_tile {
  int64_t i0, rows;
};

// The running maximum and sum of each row take in a tile of scores, which become exp(score - max).
// shrink[i] is the factor by which the row's earlier results shrink. Columns a row does not see
// become 0, up to the columns the tile's products use.
void softmax_tile(const forward_tiles& t, const query_tile& q, key_limit limit, int64_t ahead,
                  int64_t used) {
  const int64_t score_row = tile_row(k_tile);
  float* row_max = t.row_max + q.i0;
  for (int64_t i = 0; i < q.rows; ++i) {
    float* scores = t.scores + i * score_row;
    vf highest = splat(-INFINITY);
    for_lanes(0, limit(ahead + i), [&](int64_t j, auto lanes) {
      highest = higher(or_else(load(scores + j), splat(-INFINITY), lanes), highest);
    });
    t.shift[i] = highest_lane(highest)[0];
  }
  for (int64_t i = 0; i < q.rows; i += W) {
    const vf old = load(row_max + i);
    const vf now = higher(load(t.shift + i), old);
    store(row_max + i, now);
    // A row that has seen nothing but -inf has no maximum to subtract: exp(-inf - 0) is the 0 wanted.
    const vf shift = now == splat(-INFINITY) ? zero() : now;
    store(t.shift + i, shift);
    store(t.shrink + i, exp2_low<6>((old - shift) * splat(log2_e)));
  }
  for (int64_t i = 0; i < q.rows; ++i) {
    float* scores = t.scores + i * score_row;
    const int64_t keys = limit(ahead + i);
    const vf shift = splat(t.shift[i]);
    float* sums = t.row_sum + (q.i0 + i) * W;
    vf sum = load(sums) * splat(t.shrink[i]);
    for_lanes(0, keys, [&](int64_t j, auto lanes) {
      vf p = exp2_low<6>((load(scores + j) - shift) * splat(log2_e));
      p = or_else(p, zero(), lanes);
      store(scores + j, p);
      sum += p;
    });
    store(sums, sum);
    for (int64_t j = round_up(keys, W); j < used; j += W) store(scores + j, zero());
  }
}

// Queries [first, first + rows) of one sequence and head, rows <= q_span, against all their keys.
template <typename T>
void forward_span(const graft_attention_args& a, const dropout_rule& dropout, const sequence& s,
                  int64_t b, int64_t h, int64_t first, int64_t rows, float* memory) {
  const int64_t d = a.head_dim;
  const int64_t width = round_up(d, NR);
  const int64_t row = tile_row(d), score_row = tile_row(k_tile);
  const forward_tiles t(memory, d);
  const T* q = static_cast<const T*>(a.q) + (s.q_begin + first) * a.q_token_stride + h * d;
  pack_rows(q, a.q_token_stride, rows, d, a.scale, t.q, row, width);
  start_rows(t, rows, d);

  const int64_t seen = limit_of(a, s, 0, s.k_count)(first + rows - 1);
  for (int64_t j0 = 0; j0 < seen; j0 += k_tile) {
    const int64_t keys = at_most(k_tile, seen - j0);
    const key_limit limit = limit_of(a, s, j0, keys);
    const T* k = static_cast<const T*>(a.k) + (s.k_begin + j0) * a.k_token_stride + h * d;
    const T* v = static_cast<const T*>(a.v) + (s.k_begin + j0) * a.v_token_stride + h * d;
    pack_transposed(k, a.k_token_stride, keys, d, t.k, score_row);
    const bool finite = pack_rows(v, a.v_token_stride, keys, d, 1.0f, t.v, row, width);
    for (int64_t i0 = 0; i0 < rows; i0 += q_tile) {
      const query_tile tile{i0, at_most(q_tile, rows - i0)};
      const int64_t ahead = first + i0;
      const int64_t most = limit(ahead + tile.rows - 1);
      if (most == 0) continue;  // above the diagonal
      const int64_t used = round_up(most, NR);
      const bool diagonal = limit(ahead) < most;
      tile_matmul<false, start::zero>({.m = tile.rows,
                                       .n = used,
                                       .k = d,
                                       .a = t.q + i0 * row,
                                       .a_row = row,
                                       .b = t.k,
                                       .b_row = score_row,
                                       .c = t.scores,
                                       .c_row = score_row,
                                       .columns = limit.ahead + ahead,
                                       .column_step = 1,
                                       .run = score_run<T>(d)});
      softmax_tile(t, tile, limit, ahead, used);
      if (a.dropout > 0) {
        keep_tile(dropout.key, j0, ahead, tile.rows, h, b, t.bytes);
        for (int64_t i = 0; i < tile.rows; ++i)
          for (int64_t j = 0; j < used; j += W) {
            float* p = t.scores + i * score_row + j;
            store(p, drop(load(p), t.bytes + i * k_tile + j, dropout.k, dropout.scale));
          }
      }
      tile_matmul<false, start::scaled>({.m = tile.rows,
                                         .n = width,
                                         .k = most,
                                         .a = t.scores,
                                         .a_row = score_row,
                                         .b = t.v,
                                         .b_row = row,
                                         .c = t.out + i0 * row,
                                         .c_row = row,
                                         .factors = t.shrink,
                                         .last = limit.ahead + ahead,
                                         .last_step = 1,
                                         .exact_ranges = diagonal && !finite});
    }
  }

  write_rows<T>(a, s, h, first, rows, t, 1.0f);
}

template <typename T, typename... Arguments>
void span_of(const Arguments&... arguments) {
  if constexpr (on_dots<T>)
    forward_dot_span(arguments...);
  else
    forward_span<T>(arguments...);
}

template <typename T>
void forward(const cpu_context& context, const graft_attention_args& a, int64_t live) {
  const dropout_rule dropout = dropout_of(context, a.dropout, a.op_id);
  const int64_t floats = forward_floats(a);
  const int64_t heads = live * a.heads;
  // Long spans share the packing of keys; short ones give every thread something to do.
  const int64_t tiles = ceil_div(longest_queries(a), q_tile);
  int64_t span = at_least(1, at_most(span_tiles, tiles));
  while (span > 1 && heads * ceil_div(tiles, span) < 4 * int64_t{context.threads}) --span;
  const int64_t spans = ceil_div(tiles, span);
  const int64_t tasks = heads * spans;
  const double scores = static_cast<double>(heads) * static_cast<double>(longest_queries(a)) *
                        static_cast<double>(longest_keys(a));
  // Spans of late queries see most keys under a causal mask: they are handed out first.
#pragma omp parallel for schedule(dynamic, 1) \
    num_threads(threads_for(context, tasks, scores, a.head_dim))
  for (int64_t task = 0; task < tasks; ++task) {
    const int64_t first = (spans - 1 - task / heads) * span * q_tile;
    const int64_t b = task % heads / a.heads;
    const sequence s = sequence_of(a, b);
    if (first >= s.q_count) continue;
    span_of<T>(a, dropout, s, b, task % a.heads, first, at_most(span * q_tile, s.q_count - first),
               static_cast<float*>(a.workspace) + thread_index() * floats);
  }
}

}  // namespace

int attention_forward(cpu_context& context, const graft_attention_args& args) {
  const char* op = "attention_forward";
  GRAFT_TRY(check_base_engine(op, args, "on the CPU"));
  int64_t live = 0, bytes = 0;
  GRAFT_TRY(live_sequences(op, context, args.batch, &live));
  GRAFT_TRY(forward_workspace(op, context, args, &bytes));
  GRAFT_TRY(check_workspace(op, args.workspace, args.workspace_bytes, bytes));
  GRAFT_TRY(check_offsets(op, "cu_seqlens_q", args.cu_seqlens_q, live, args.tokens_q,
                          args.max_seqlen_q));
  GRAFT_TRY(check_offsets(op, "cu_seqlens_k", args.cu_seqlens_k, live, args.tokens_k,
                          args.max_seqlen_k));
  const graft_attention_args a = with_strides(args);
  if (a.dtype == GRAFT_BFLOAT16)
    forward<bf16>(context, a, live);
  else
    forward<float>(context, a, live);
  return GRAFT_OK;
}

}  // namespace graft::GRAFT_ISA
