// A chunk of keys of the backward pass in bfloat16 on dot products; paper, symbols and arguments as in
// attention_backward.cpp, tiles as in attention_dot.h.
//
//   product         terms     A                          B
//   S  = Q K^T      d         t.q [i, d / 2]             t.k [d / 2, j]
//   dP = dO V^T     d         t.dout [i, d / 2]          t.v [d / 2, j]
//   dV = P^T dO     queries   t.p_pairs [i / 2, j]       t.dout_pairs [i / 2, d]
//   dK = dS^T Q     queries   t.ds_pairs [i / 2, j]      t.q_pairs [i / 2, d]
//   dQ = dS K       keys      t.ds [i, j / 2]            t.k_pairs [j / 2, d]
//
// S and dP of a block of queries are float, in cache; P and dS go to bfloat16 two queries at a time,
// which is how dV and dK want them. The scale stands in exp2's argument and in what is written.
#include "attention_dot.h"

#if defined(__AVX512BF16__)

#include "attention_pairs.h"
#include "dot_matmul.h"
#include "functions.h"

namespace graft::GRAFT_ISA {
namespace {

// A row that adds nothing.
constexpr int64_t most_head_dim = 256;
alignas(64) constexpr bf16 zeros[most_head_dim] = {};

// One query of a block: float scores and dP, what P is made with, and the keys it sees.
struct query_row {
  float* scores;
  float* dscores;
  const uint8_t* bytes;
  float shift;  // log2(e) * log-sum-exp
  float delta;
  float inverse;  // a whole row's factor
  int64_t live;
};

// Times the dropout mask.
template <bool dropped>
GRAFT_INLINE inline vf masked(vf x, const query_row& row, int64_t j, const dropout_rule& dropout) {
  if constexpr (dropped)
    return drop(x, row.bytes + j, dropout.k, dropout.scale);
  else
    return x;
}

struct vf_pair {
  vf p, ds;
};

// P (dropped, for dV) and dS where scores and dP are to be combined with the stored log-sum-exp.
template <bool dropped>
struct from_scores {
  float scale;  // times log2(e)
  const dropout_rule& dropout;

  GRAFT_INLINE vf_pair operator()(const query_row& row, int64_t j) const {
    const vf p = exp2_low<4>(fma(load(row.scores + j), splat(scale), splat(-row.shift)));
    const vf dp = masked<dropped>(load(row.dscores + j), row, j, dropout);
    return {masked<dropped>(p, row, j, dropout), p * (dp - splat(row.delta))};
  }
};

// The same for rows that `normalise` has passed over: exponentials and masked dP are there.
template <bool dropped>
struct from_exponentials {
  const dropout_rule& dropout;

  GRAFT_INLINE vf_pair operator()(const query_row& row, int64_t j) const {
    const vf p = load(row.scores + j) * splat(row.inverse);
    const vf ds = p * (load(row.dscores + j) - splat(row.delta));
    return {masked<dropped>(p, row, j, dropout), ds};
  }
};

// Lanes of `live` numbers from column j on; the rest is 0, whatever it was.
GRAFT_INLINE inline vf seen(vf x, int64_t live, int64_t j) {
  const auto lanes = static_cast<__mmask16>((1u << within(live - j, 0, W)) - 1u);
  return (vf)_mm512_maskz_mov_ps(lanes, (__m512)x);
}

// P and dS of two queries to bfloat16: pairs of them, and rows of dS. Columns up to `used`.
template <typename Values>
void write_pair(const query_row& low, const query_row& high, int64_t used, const Values& values,
                uint32_t* p_pairs, uint32_t* ds_pairs, uint32_t* ds_low, uint32_t* ds_high) {
  const int64_t whole = at_most(low.live, high.live) / W * W;
  for (int64_t j = 0; j < used; j += NR) {
    __m512i p[2], ds[2];
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) {
      const int64_t at = j + v * W;
      vf_pair a = values(low, at), b = values(high, at);
      if (at >= whole) {
        a = {seen(a.p, low.live, at), seen(a.ds, low.live, at)};
        b = {seen(b.p, high.live, at), seen(b.ds, high.live, at)};
      }
      p[v] = round_pair(a.p, b.p);
      ds[v] = round_pair(a.ds, b.ds);
      _mm512_storeu_si512(p_pairs + at, interleave_halves(p[v]));
      _mm512_storeu_si512(ds_pairs + at, interleave_halves(ds[v]));
    }
    _mm512_storeu_si512(ds_low + j / 2, _mm512_shuffle_i64x2(ds[0], ds[1], 0x44));
    _mm512_storeu_si512(ds_high + j / 2, _mm512_shuffle_i64x2(ds[0], ds[1], 0xEE));
  }
}

// Keys of a tile and what the rows of a tile of queries need to know of them.
struct key_tile {
  int64_t j0, keys;
  key_limit limit;
  bool whole_row;
};

// S, dP, and from them P and dS of queries [i0, i0 + rows) of a tile; `first` is the tile's first query.
template <bool dropped>
void gradient_block(const graft_attention_args& a, const dropout_rule& dropout, const head_work& w,
                    const backward_dot_tiles& t, const key_tile& tile, int64_t first, int64_t i0,
                    int64_t rows, int64_t used) {
  const int64_t d = a.head_dim, half_row = tile_row(words_of(d));
  const int64_t score_row = tile_row(k_tile), ds_row = tile_row(k_tile / 2);
  const float scale = a.scale * log2_e;
  const float* lse = a.lse + w.h * a.tokens_q + w.s.q_begin;
  dot_product product = {.m = rows,
                         .n = used,
                         .k = d,
                         .a = t.q + i0 * half_row,
                         .a_row = half_row,
                         .b = t.k,
                         .b_row = score_row,
                         .c = t.scores,
                         .c_row = score_row,
                         .columns = tile.limit.ahead + first + i0,
                         .column_step = 1};
  dot_matmul<false, start::zero>(product);
  product.a = t.dout + i0 * half_row;
  product.b = t.v;
  product.c = t.dscores;
  dot_matmul<false, start::zero>(product);
  if constexpr (dropped) keep_tile(dropout.key, tile.j0, first + i0, rows, w.h, w.b, t.bytes);

  const auto row_of = [&](int64_t i) {
    const int64_t at = first + i0 + i;
    // An odd row's partner adds nothing, nor does a row without keys, of which -inf is the mark.
    const bool empty = i >= rows || lse[at] == -INFINITY;
    const int64_t in = i < rows ? i : 0;
    query_row row{t.scores + in * score_row, t.dscores + in * score_row, t.bytes + in * k_tile,
                  0, 0, 0, 0};
    if (empty) return row;
    row.shift = lse[at] * log2_e;
    row.live = tile.limit(at);
    if (!tile.whole_row) {
      row.delta = t.delta[at];
      return row;
    }
    const whole_row whole = normalise(
        row.scores, row.dscores, row.live,
        [&](vf x) { return exp2_low<5>(fma(x, splat(scale), splat(-row.shift))); },
        [&](vf x, int64_t j) { return masked<dropped>(x, row, j, dropout); });
    row.inverse = whole.inverse;
    row.delta = whole.delta;
    return row;
  };
  for (int64_t i = 0; i < rows; i += 2) {
    const query_row low = row_of(i), high = row_of(i + 1);
    uint32_t* p_pairs = t.p_pairs + (i0 + i) / 2 * score_row;
    uint32_t* ds_pairs = t.ds_pairs + (i0 + i) / 2 * score_row;
    uint32_t* ds = t.ds + (i0 + i) * ds_row;
    if (tile.whole_row)
      write_pair(low, high, used, from_exponentials<dropped>{dropout}, p_pairs, ds_pairs, ds,
                 ds + ds_row);
    else
      write_pair(low, high, used, from_scores<dropped>{scale, dropout}, p_pairs, ds_pairs, ds,
                 ds + ds_row);
  }
}

}  // namespace

template <bool dropped>
void backward_dot_chunk(const graft_attention_args& a, const dropout_rule& dropout,
                        const head_work& w, int64_t begin, int64_t end, float* memory, float* dq,
                        int64_t dq_row) {
  const sequence& s = w.s;
  const backward_dot_tiles t(memory, a.head_dim, longest_queries(a));
  const int64_t d = a.head_dim, head = w.h * d;
  const int64_t width = round_up(d, NR);
  const int64_t row = tile_row(d), half_row = tile_row(words_of(d));
  const int64_t score_row = tile_row(k_tile), ds_row = tile_row(k_tile / 2);
  const float* lse = a.lse + w.h * a.tokens_q + s.q_begin;
  const bool whole_row = s.k_count <= k_tile;
  if (!whole_row) sum_delta<bf16>(a, w, first_query(a, s, begin), t.delta);

  for (int64_t j0 = begin; j0 < end; j0 += k_tile) {
    const int64_t keys = at_most(k_tile, end - j0);
    const key_limit limit = limit_of(a, s, j0, keys);
    const key_tile tile{j0, keys, limit, whole_row};
    const auto* k = static_cast<const bf16*>(a.k) + (s.k_begin + j0) * a.k_token_stride + head;
    const auto* v = static_cast<const bf16*>(a.v) + (s.k_begin + j0) * a.v_token_stride + head;
    pack_pair_columns(k, a.k_token_stride, keys, d, t.k, score_row);
    pack_pair_columns(v, a.v_token_stride, keys, d, t.v, score_row);
    const bool finite_keys = pack_row_pairs(k, a.k_token_stride, keys, d, t.k_pairs, row);
    std::memset(t.dk, 0, static_cast<size_t>(keys * row) * sizeof(float));
    std::memset(t.dv, 0, static_cast<size_t>(keys * row) * sizeof(float));

    for (int64_t i0 = first_query(a, s, j0) / q_tile * q_tile; i0 < s.q_count; i0 += q_tile) {
      const int64_t rows = at_most(q_tile, s.q_count - i0);
      const int64_t most = limit(i0 + rows - 1);
      if (most == 0) continue;  // above the diagonal
      const int64_t used = round_up(most, NR);
      const int64_t token = s.q_begin + i0;
      const auto* q = static_cast<const bf16*>(a.q) + token * a.q_token_stride + head;
      const auto* dout = static_cast<const bf16*>(a.dout) + token * a.dout_token_stride + head;
      pack_pair_rows(q, a.q_token_stride, rows, d, 0, t.q, half_row);
      pack_pair_rows(dout, a.dout_token_stride, rows, d, 0, t.dout, half_row);
      // A row without keys adds nothing to dK and dV, whatever its q and dO hold.
      const auto live = [&](const bf16* from, int64_t stride) {
        return [=](int64_t i) { return lse[i0 + i] == -INFINITY ? zeros : from + i * stride; };
      };
      bool finite = pack_row_pairs(live(q, a.q_token_stride), rows, d, t.q_pairs, row);
      finite &= pack_row_pairs(live(dout, a.dout_token_stride), rows, d, t.dout_pairs, row);
      const bool exact = limit(i0) < most && !(finite && finite_keys);
      for (int64_t i = 0; i < rows; i += dot_block)
        gradient_block<dropped>(a, dropout, w, t, tile, i0, i, at_most(dot_block, rows - i), used);

      // Key j is seen by the queries from the diagonal on.
      dot_product product = {.m = most,
                             .n = width,
                             .k = rows,
                             .a = t.p_pairs,
                             .a_row = score_row,
                             .b = t.dout_pairs,
                             .b_row = row,
                             .c = t.dv,
                             .c_row = row,
                             .first = 1 - limit.ahead - i0,
                             .first_step = 1,
                             .exact_ranges = exact};
      dot_matmul<true, start::add>(product);
      product.a = t.ds_pairs;
      product.b = t.q_pairs;
      product.c = t.dk;
      dot_matmul<true, start::add>(product);
      dot_matmul<false, start::add>({.m = rows,
                                     .n = width,
                                     .k = most,
                                     .a = t.ds,
                                     .a_row = ds_row,
                                     .b = t.k_pairs,
                                     .b_row = row,
                                     .c = dq + i0 * dq_row,
                                     .c_row = dq_row,
                                     .last = limit.ahead + i0,
                                     .last_step = 1,
                                     .exact_ranges = exact});
    }

    auto* dk = static_cast<bf16*>(a.dk) + (s.k_begin + j0) * a.dk_token_stride + head;
    auto* dv = static_cast<bf16*>(a.dv) + (s.k_begin + j0) * a.dv_token_stride + head;
    for (int64_t j = 0; j < keys; ++j) {
      unpack_row(t.dk + j * row, d, splat(a.scale), dk + j * a.dk_token_stride);
      unpack_row(t.dv + j * row, d, splat(1.0f), dv + j * a.dv_token_stride);
    }
  }
}

template void backward_dot_chunk<false>(const graft_attention_args&, const dropout_rule&,
                                        const head_work&, int64_t, int64_t, float*, float*,
                                        int64_t);
template void backward_dot_chunk<true>(const graft_attention_args&, const dropout_rule&,
                                       const head_work&, int64_t, int64_t, float*, float*, int64_t);

}  // namespace graft::GRAFT_ISA

#endif
