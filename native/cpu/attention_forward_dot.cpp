// The forward pass in bfloat16 on dot products; paper, symbols and arguments as in
// attention_forward.cpp, tiles as in attention_dot.h.
//
// Scores stay as Q K^T in float: the scale goes into exp2's argument, fma(s, scale log2(e), -m), where
// it rounds nothing that a scaled q in bfloat16 would. Its sign goes to q, so that the maximum of the
// scores is that of the logits. P is rounded to bfloat16, its sum is taken before.
#include "attention_dot.h"

#if defined(__AVX512BF16__)

#include "attention_forward.h"
#include "attention_pairs.h"
#include "dot_matmul.h"
#include "functions.h"

namespace graft::GRAFT_ISA {
namespace {

// Queries i0 .. i0 + rows of a span; the first is number `ahead` of its sequence.
struct query_block {
  int64_t i0, rows, ahead;
};

// The dropout of a block, or none.
struct block_mask {
  const uint8_t* bytes;
  const dropout_rule& rule;
};

// The running maximum (of logits times log2(e)) and sum of each row take in a block of scores.
// shrink[i] is the factor by which the row's earlier results shrink.
void take_maxima(const forward_dot_tiles& t, const query_block& q, key_limit limit, float scale) {
  const int64_t score_row = tile_row(k_tile);
  float* row_max = t.row_max + q.i0;
  for (int64_t i = 0; i < q.rows; ++i) {
    const float* scores = t.scores + i * score_row;
    vf highest = splat(-INFINITY);
    for_lanes(0, limit(q.ahead + i), [&](int64_t j, auto lanes) {
      highest = higher(or_else(load(scores + j), splat(-INFINITY), lanes), highest);
    });
    t.shift[i] = highest_lane(highest)[0];
  }
  for_lanes(0, q.rows, [&](int64_t i, auto lanes) {
    const vf old = load(row_max + i, lanes);
    const vf now = higher(load(t.shift + i, lanes) * splat(scale), old);
    store(row_max + i, now, lanes);
    // A row that has seen nothing but -inf has no maximum to subtract: exp(-inf - 0) is the 0 wanted.
    const vf shift = now == splat(-INFINITY) ? zero() : now;
    store(t.shift + i, shift, lanes);
    store(t.shrink + i, exp2_low<6>(old - shift), lanes);
  });
}

// Scores of a row become P in bfloat16, in the same memory: a vector is written where two have been
// read. Columns a row does not see become 0, up to the columns the block's products use.
template <bool dropped>
void exponentials(const forward_dot_tiles& t, const query_block& q, key_limit limit, int64_t used,
                  float scale, const block_mask& mask) {
  const int64_t score_row = tile_row(k_tile);
  for (int64_t i = 0; i < q.rows; ++i) {
    const float* scores = t.scores + i * score_row;
    auto* p = reinterpret_cast<uint32_t*>(t.scores + i * score_row);
    const uint8_t* bytes = mask.bytes + i * k_tile;
    const int64_t keys = limit(q.ahead + i);
    const vf shift = splat(t.shift[i]), factor = splat(scale);
    float* sums = t.row_sum + (q.i0 + i) * W;
    vf sum = load(sums) * splat(t.shrink[i]);
    const auto exponential = [&](int64_t j, auto lanes) GRAFT_INLINE {
      vf x = exp2_low<5>(fma(load(scores + j), factor, -shift));
      x = or_else(x, zero(), lanes);
      sum += x;
      return dropped ? drop(x, bytes + j, mask.rule.k, mask.rule.scale) : x;
    };
    int64_t j = 0;
    for (; j + NR <= keys; j += NR) {
      const vf low = exponential(j, all_lanes{}), high = exponential(j + W, all_lanes{});
      _mm512_storeu_si512(p + j / 2, round_pair(low, high));
    }
    if (j < keys) {
      const int left = static_cast<int>(keys - j);
      const vf low = exponential(j, first_lanes{static_cast<int>(at_most(left, W))});
      const vf high = exponential(j + W, first_lanes{static_cast<int>(at_least(left - W, 0))});
      _mm512_storeu_si512(p + j / 2, round_pair(low, high));
      j += NR;
    }
    for (; j < used; j += NR) _mm512_storeu_si512(p + j / 2, _mm512_setzero_si512());
    store(sums, sum);
  }
}

}  // namespace

void forward_dot_span(const graft_attention_args& a, const dropout_rule& dropout, const sequence& s,
                      int64_t b, int64_t h, int64_t first, int64_t rows, float* memory) {
  const int64_t d = a.head_dim;
  const int64_t row = tile_row(d), q_row = tile_row(words_of(d)), score_row = tile_row(k_tile);
  const float scale = std::fabs(a.scale) * log2_e;
  const forward_dot_tiles t(memory, d);
  const auto* q = static_cast<const bf16*>(a.q) + (s.q_begin + first) * a.q_token_stride + h * d;
  pack_pair_rows(q, a.q_token_stride, rows, d, std::signbit(a.scale) ? 0x8000 : 0, t.q, q_row);
  start_rows(t, rows, d);

  const int64_t seen = limit_of(a, s, 0, s.k_count)(first + rows - 1);
  for (int64_t j0 = 0; j0 < seen; j0 += k_tile) {
    const int64_t keys = at_most(k_tile, seen - j0);
    const key_limit limit = limit_of(a, s, j0, keys);
    const auto* k = static_cast<const bf16*>(a.k) + (s.k_begin + j0) * a.k_token_stride + h * d;
    const auto* v = static_cast<const bf16*>(a.v) + (s.k_begin + j0) * a.v_token_stride + h * d;
    pack_pair_columns(k, a.k_token_stride, keys, d, t.k, score_row);
    const bool finite = pack_row_pairs(v, a.v_token_stride, keys, d, t.v, row);
    for (int64_t i0 = 0; i0 < rows; i0 += dot_block) {
      const query_block block{i0, at_most(dot_block, rows - i0), first + i0};
      const int64_t most = limit(block.ahead + block.rows - 1);
      if (most == 0) continue;  // above the diagonal
      const int64_t used = round_up(most, NR);
      dot_matmul<false, start::zero>({.m = block.rows,
                                      .n = used,
                                      .k = d,
                                      .a = t.q + i0 * q_row,
                                      .a_row = q_row,
                                      .b = t.k,
                                      .b_row = score_row,
                                      .c = t.scores,
                                      .c_row = score_row,
                                      .columns = limit.ahead + block.ahead,
                                      .column_step = 1});
      take_maxima(t, block, limit, scale);
      const block_mask mask{t.bytes, dropout};
      if (a.dropout > 0) {
        keep_tile(dropout.key, j0, block.ahead, block.rows, h, b, t.bytes);
        exponentials<true>(t, block, limit, used, scale, mask);
      } else {
        exponentials<false>(t, block, limit, used, scale, mask);
      }
      dot_matmul<false, start::scaled>(
          {.m = block.rows,
           .n = round_up(d, NR),
           .k = most,
           .a = reinterpret_cast<const uint32_t*>(t.scores),
           .a_row = score_row,
           .b = t.v,
           .b_row = row,
           .c = t.out + i0 * row,
           .c_row = row,
           .factors = t.shrink,
           .last = limit.ahead + block.ahead,
           .last_step = 1,
           .exact_ranges = limit(block.ahead) < most && !finite});
    }
  }
  write_rows<bf16>(a, s, h, first, rows, t, ln_2);
}

}  // namespace graft::GRAFT_ISA

#endif
