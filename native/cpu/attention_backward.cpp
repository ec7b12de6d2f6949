// Gradients of attention without the score matrix:
//   S = scale Q K^T,  P = exp(S - L),  dP = dO V^T,  delta = rowsum(dO * O),  dS = P * (dP - delta),
//   dV = P^T dO,  dQ = scale dS K,  dK = scale dS^T Q.
//
//   Dao, "FlashAttention-2", arXiv:2307.08691, algorithm 2.
//   paper   code                              paper   code
//   Q_i     t.q, q_tile rows, times scale     L       lse
//   K_j     t.k_columns (K^T), t.k_rows       D       t.delta
//   S, P    t.scores                          dP, dS  t.dscores
//
//   name         dtype        shape        strides        in/out
//   q, out, dout fp32, bf16   [Tq, H, D]   token, D, 1    in
//   k, v         fp32, bf16   [Tk, H, D]   token, D, 1    in
//   lse          fp32         [H, Tq]      Tq, 1          in
//   dq           fp32, bf16   [Tq, H, D]   token, D, 1    out
//   dk, dv       fp32, bf16   [Tk, H, D]   token, D, 1    out
//   cu_seqlens   int32        [B + 1]                     in
//
// With dropout of mask M (0 or 256 / (256 - k)): dV = (M * P)^T dO and dS = P * (M * dP - delta).
//
// The tile of keys stays and the queries stream past it; dK and dV of a tile belong to one task and
// are summed in the order of queries. dQ is summed in the order of key tiles inside a chunk of keys,
// then in the order of chunks. Both orders depend on the lengths alone, so no sum depends on threads.
// Chunks of bf16 on dot products: attention_backward_dot.cpp.
#include "attention_backward.h"
#include "attention_pack.h"
#include "attention_workspace.h"
#include "functions.h"

namespace graft::GRAFT_ISA {
namespace {

// A row of scores and of dP, to become P (dropped, for dV) and dS.
struct score_row {
  float* scores;
  float* dscores;
  const uint8_t* bytes;
};

// dP times the dropout mask.
template <bool dropped>
GRAFT_INLINE inline vf masked(vf x, const score_row& row, int64_t j, const dropout_rule& dropout) {
  if constexpr (dropped)
    return drop(x, row.bytes + j, dropout.k, dropout.scale);
  else
    return x;
}

// Columns from `live` to `used` become 0.
template <bool dropped>
void row_gradient(const score_row& row, const dropout_rule& dropout, int64_t live, int64_t used,
                  float lse, float delta) {
  for_lanes(0, live, [&](int64_t j, auto lanes) {
    const vf p = exp_low(load(row.scores + j) - splat(lse));
    const vf dp = masked<dropped>(load(row.dscores + j), row, j, dropout);
    store(row.scores + j, or_else(masked<dropped>(p, row, j, dropout), zero(), lanes));
    store(row.dscores + j, or_else(p * (dp - splat(delta)), zero(), lanes));
  });
  for (int64_t j = round_up(live, W); j < used; j += W) {
    store(row.scores + j, zero());
    store(row.dscores + j, zero());
  }
}

// The same for a row all of whose keys are here.
template <bool dropped>
void whole_row_gradient(const score_row& row, const dropout_rule& dropout, int64_t live,
                        int64_t used, float lse) {
  const whole_row whole =
      normalise(row.scores, row.dscores, live, [&](vf x) { return exp_low(x - splat(lse)); },
                [&](vf x, int64_t j) { return masked<dropped>(x, row, j, dropout); });
  for_lanes(0, live, [&](int64_t j, auto lanes) {
    const vf p = load(row.scores + j) * splat(whole.inverse);
    const vf ds = p * (load(row.dscores + j) - splat(whole.delta));
    store(row.scores + j, masked<dropped>(p, row, j, dropout));
    // 0 * (0 - delta) is NaN if delta is infinite.
    store(row.dscores + j, or_else(ds, zero(), lanes));
  });
  for (int64_t j = round_up(live, W); j < used; j += W) {
    store(row.scores + j, zero());
    store(row.dscores + j, zero());
  }
}

// Keys [begin, end) of one sequence and head: writes their dK and dV, adds their part of dQ / scale
// to dq (rows of plan.dq_row floats, 0 at the start).
template <typename T, bool dropped>
void backward_chunk(const graft_attention_args& a, const dropout_rule& dropout, const head_work& w,
                    int64_t begin, int64_t end, float* memory, float* dq, int64_t dq_row) {
  const sequence& s = w.s;
  const backward_tiles t(memory, a.head_dim, longest_queries(a));
  const int64_t d = a.head_dim;
  const int64_t width = round_up(d, NR);
  const int64_t row = tile_row(d), score_stride = tile_row(k_tile);
  const int64_t head = w.h * d;
  const int64_t run = gradient_run<T>(d);
  const float* lse = a.lse + w.h * a.tokens_q + s.q_begin;
  const bool whole_row = s.k_count <= k_tile;
  if (!whole_row) sum_delta<T>(a, w, first_query(a, s, begin), t.delta);

  for (int64_t j0 = begin; j0 < end; j0 += k_tile) {
    const int64_t keys = at_most(k_tile, end - j0);
    const key_limit limit = limit_of(a, s, j0, keys);
    const T* k = static_cast<const T*>(a.k) + (s.k_begin + j0) * a.k_token_stride + head;
    const T* v = static_cast<const T*>(a.v) + (s.k_begin + j0) * a.v_token_stride + head;
    pack_transposed(k, a.k_token_stride, keys, d, t.k_columns, score_stride);
    pack_transposed(v, a.v_token_stride, keys, d, t.v_columns, score_stride);
    const bool finite_keys = pack_rows(k, a.k_token_stride, keys, d, 1.0f, t.k_rows, row, width);
    std::memset(t.dk, 0, static_cast<size_t>(keys * row) * sizeof(float));
    std::memset(t.dv, 0, static_cast<size_t>(keys * row) * sizeof(float));

    for (int64_t i0 = first_query(a, s, j0) / q_tile * q_tile; i0 < s.q_count; i0 += q_tile) {
      const int64_t rows = at_most(q_tile, s.q_count - i0);
      const int64_t most = limit(i0 + rows - 1);
      if (most == 0) continue;  // above the diagonal
      const int64_t used = round_up(most, NR);
      const int64_t token = s.q_begin + i0;
      const T* q = static_cast<const T*>(a.q) + token * a.q_token_stride + head;
      const T* dout = static_cast<const T*>(a.dout) + token * a.dout_token_stride + head;
      // With q scaled here, dK = dS^T q needs no scale of its own.
      bool finite = pack_rows(q, a.q_token_stride, rows, d, a.scale, t.q, row, width);
      finite &= pack_rows(dout, a.dout_token_stride, rows, d, 1.0f, t.dout, row, width);
      const bool exact = limit(i0) < most && !(finite && finite_keys);

      tile_product product = {.m = rows,
                              .n = used,
                              .k = d,
                              .a = t.q,
                              .a_row = row,
                              .b = t.k_columns,
                              .b_row = score_stride,
                              .c = t.scores,
                              .c_row = score_stride,
                              .columns = limit.ahead + i0,
                              .column_step = 1,
                              .run = score_run<T>(d)};
      tile_matmul<false, start::zero>(product);
      product.a = t.dout;
      product.b = t.v_columns;
      product.c = t.dscores;
      tile_matmul<false, start::zero>(product);

      if constexpr (dropped) keep_tile(dropout.key, j0, i0, rows, w.h, w.b, t.bytes);
      for (int64_t i = 0; i < rows; ++i) {
        const score_row scores{t.scores + i * score_stride, t.dscores + i * score_stride,
                               t.bytes + i * k_tile};
        // -inf marks a row without keys: P is 0 there, not exp(score + inf), and the row adds
        // nothing to dK and dV, whatever its q and dO hold.
        const bool empty = lse[i0 + i] == -INFINITY;
        const int64_t live = empty ? 0 : limit(i0 + i);
        if (empty) {
          std::memset(t.q + i * row, 0, static_cast<size_t>(width) * sizeof(float));
          std::memset(t.dout + i * row, 0, static_cast<size_t>(width) * sizeof(float));
        }
        if (whole_row)
          whole_row_gradient<dropped>(scores, dropout, live, used, lse[i0 + i]);
        else
          row_gradient<dropped>(scores, dropout, live, used, lse[i0 + i], t.delta[i0 + i]);
      }

      // Key j is seen by the queries from the diagonal on.
      product = {.m = most,
                 .n = width,
                 .k = rows,
                 .a = t.scores,
                 .a_row = score_stride,
                 .b = t.dout,
                 .b_row = row,
                 .c = t.dv,
                 .c_row = row,
                 .first = 1 - limit.ahead - i0,
                 .first_step = 1,
                 .run = run,
                 .exact_ranges = exact};
      tile_matmul<true, start::add>(product);
      product.a = t.dscores;
      product.b = t.q;
      product.c = t.dk;
      tile_matmul<true, start::add>(product);
      tile_matmul<false, start::add>({.m = rows,
                                      .n = width,
                                      .k = most,
                                      .a = t.dscores,
                                      .a_row = score_stride,
                                      .b = t.k_rows,
                                      .b_row = row,
                                      .c = dq + i0 * dq_row,
                                      .c_row = dq_row,
                                      .last = limit.ahead + i0,
                                      .last_step = 1,
                                      .run = run,
                                      .exact_ranges = exact});
    }

    T* dk = static_cast<T*>(a.dk) + (s.k_begin + j0) * a.dk_token_stride + head;
    T* dv = static_cast<T*>(a.dv) + (s.k_begin + j0) * a.dv_token_stride + head;
    for (int64_t j = 0; j < keys; ++j) {
      unpack_row(t.dk + j * row, d, splat(1.0f), dk + j * a.dk_token_stride);
      unpack_row(t.dv + j * row, d, splat(1.0f), dv + j * a.dv_token_stride);
    }
  }
}

template <typename T, bool dropped, typename... Arguments>
void chunk_of(const Arguments&... arguments) {
  if constexpr (on_dots<T>)
    backward_dot_chunk<dropped>(arguments...);
  else
    backward_chunk<T, dropped>(arguments...);
}

void clear_rows(float* dq, int64_t dq_row, int64_t from, int64_t to) {
  if (from < to)
    std::memset(dq + from * dq_row, 0, static_cast<size_t>((to - from) * dq_row) * sizeof(float));
}

// dq = scale * the sums of one query; 0 for a row without keys, whatever its keys hold.
template <typename T>
void write_dq(const graft_attention_args& a, const head_work& w, int64_t i, float* sums) {
  const int64_t d = a.head_dim, token = w.s.q_begin + i;
  if (a.lse[w.h * a.tokens_q + token] == -INFINITY)
    std::memset(sums, 0, static_cast<size_t>(round_up(d, NR)) * sizeof(float));
  unpack_row(sums, d, splat(a.scale),
             static_cast<T*>(a.dq) + token * a.dq_token_stride + w.h * d);
}

// All chunks of one sequence and head, one after the other.
template <typename T, bool dropped>
void backward_head(const graft_attention_args& a, const backward_plan& plan,
                   const dropout_rule& dropout, const head_work& w, float* memory) {
  float* total = memory + plan.tile_floats;
  float* part = total + round_up(longest_queries(a) * plan.dq_row, 16);
  const int64_t size = chunk_size(w.s.k_count);
  clear_rows(total, plan.dq_row, 0, w.s.q_count);
  for (int64_t begin = 0; begin < w.s.k_count; begin += size) {
    const int64_t end = at_most(begin + size, w.s.k_count);
    if (begin == 0) {
      chunk_of<T, dropped>(a, dropout, w, begin, end, memory, total, plan.dq_row);
      continue;
    }
    const int64_t from = first_query(a, w.s, begin);
    clear_rows(part, plan.dq_row, from / q_tile * q_tile, w.s.q_count);
    chunk_of<T, dropped>(a, dropout, w, begin, end, memory, part, plan.dq_row);
    for (int64_t e = from * plan.dq_row; e < w.s.q_count * plan.dq_row; e += W)
      store(total + e, load(total + e) + load(part + e));
  }
  for (int64_t i = 0; i < w.s.q_count; ++i) write_dq<T>(a, w, i, total + i * plan.dq_row);
}

// dQ of queries [from, to): the chunks' parts, added to the first in their order.
template <typename T>
void join_chunks(const graft_attention_args& a, const backward_plan& plan, const head_work& w,
                 int64_t from, int64_t to, float* parts) {
  const int64_t size = chunk_size(w.s.k_count);
  const auto part = [&](int64_t chunk, int64_t i) {
    return parts + ((chunk * a.heads + w.h) * a.tokens_q + w.s.q_begin + i) * plan.dq_row;
  };
  for (int64_t i = from; i < to; ++i) {
    float* total = part(0, i);
    if (w.s.k_count == 0 || i < first_query(a, w.s, 0)) clear_rows(total, plan.dq_row, 0, 1);
    for (int64_t chunk = 1; chunk * size < w.s.k_count; ++chunk) {
      if (i < first_query(a, w.s, chunk * size)) break;
      for (int64_t c = 0; c < plan.dq_row; c += W)
        store(total + c, load(total + c) + load(part(chunk, i) + c));
    }
    write_dq<T>(a, w, i, total);
  }
}

template <typename T, bool dropped>
void backward(const cpu_context& context, const graft_attention_args& a, int64_t live) {
  const dropout_rule dropout = dropout_of(context, a.dropout, a.op_id);
  const backward_plan plan = plan_backward(context, a);
  const int64_t heads = live * a.heads;
  const int64_t chunks = plan.split ? plan.chunks : 1;
  const double scores = static_cast<double>(heads) * static_cast<double>(longest_queries(a)) *
                        static_cast<double>(longest_keys(a));
  const int threads = threads_for(context, heads * chunks, scores, a.head_dim);
  auto* memory = static_cast<float*>(a.workspace);
  float* parts = memory + context.threads * plan.thread_floats;

  // Late keys are seen by few queries under a causal mask, early ones by all: those go first.
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
  for (int64_t task = 0; task < heads * chunks; ++task) {
    const int64_t chunk = task / heads, b = task % heads / a.heads;
    const head_work w{sequence_of(a, b), b, task % a.heads};
    float* own = memory + thread_index() * plan.thread_floats;
    if (!plan.split) {
      backward_head<T, dropped>(a, plan, dropout, w, own);
      continue;
    }
    const int64_t size = chunk_size(w.s.k_count), begin = chunk * size;
    if (begin >= w.s.k_count) continue;
    float* dq = parts + ((chunk * a.heads + w.h) * a.tokens_q + w.s.q_begin) * plan.dq_row;
    const int64_t from = first_query(a, w.s, begin) / q_tile * q_tile;
    clear_rows(dq, plan.dq_row, from, w.s.q_count);
    chunk_of<T, dropped>(a, dropout, w, begin, at_most(begin + size, w.s.k_count), own, dq,
                         plan.dq_row);
  }
  if (!plan.split) return;
  const int64_t tiles = ceil_div(longest_queries(a), q_tile);
#pragma omp parallel for schedule(dynamic, 4) num_threads(threads)
  for (int64_t task = 0; task < heads * tiles; ++task) {
    const int64_t b = task / tiles / a.heads;
    const head_work w{sequence_of(a, b), b, task / tiles % a.heads};
    const int64_t from = task % tiles * q_tile;
    join_chunks<T>(a, plan, w, from, at_most(from + q_tile, w.s.q_count), parts);
  }
}

}  // namespace

int attention_backward(cpu_context& context, const graft_attention_args& args) {
  const char* op = "attention_backward";
  GRAFT_TRY(check_base_engine(op, args, "on the CPU"));
  int64_t live = 0, bytes = 0;
  GRAFT_TRY(live_sequences(op, context, args.batch, &live));
  GRAFT_TRY(backward_workspace(op, context, args, &bytes));
  GRAFT_TRY(check_workspace(op, args.workspace, args.workspace_bytes, bytes));
  GRAFT_TRY(check_offsets(op, "cu_seqlens_q", args.cu_seqlens_q, live, args.tokens_q,
                          args.max_seqlen_q));
  GRAFT_TRY(check_offsets(op, "cu_seqlens_k", args.cu_seqlens_k, live, args.tokens_k,
                          args.max_seqlen_k));
  const graft_attention_args a = with_strides(args);
  const bool half = a.dtype == GRAFT_BFLOAT16;
  if (a.dropout > 0)
    half ? backward<bf16, true>(context, a, live) : backward<float, true>(context, a, live);
  else
    half ? backward<bf16, false>(context, a, live) : backward<float, false>(context, a, live);
  return GRAFT_OK;
}

}  // namespace graft::GRAFT_ISA
