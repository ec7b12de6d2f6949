// Attention in bfloat16 on dot products (AVX512-BF16): tiles, and the passes over them.
//
// A tile of keys is packed once for all queries of its span or chunk; a block of dot_block queries has
// its scores in float in the first-level cache (24 x 128 of them, 13 KiB, beside 16 KiB of K^T or V at
// D = 64) and leaves P and dS in bfloat16, a half of the bytes, which is what the products then read.
#pragma once

#include "attention_backward.h"

namespace graft::GRAFT_ISA {

// Whether attention in T multiplies by dot products.
template <typename T>
constexpr bool on_dots = false;
#if defined(__AVX512BF16__)
template <>
constexpr bool on_dots<bf16> = true;
#endif

constexpr int64_t dot_block = 24;
static_assert(!on_dots<bf16> || (q_tile % dot_block == 0 && dot_block * k_tile % keep_block == 0));

// Words of a row of n terms in pairs.
static inline int64_t words_of(int64_t n) { return (n + 1) / 2; }

// Tiles of words take the place of floats.
static inline uint32_t* take_words(floats_of& from, int64_t count) {
  return reinterpret_cast<uint32_t*>(from.take(count));
}

struct forward_dot_tiles {
  uint32_t *q, *k, *v;  // [q_span, d / 2], [d / 2, k_tile], [k_tile / 2, d]
  float *out, *scores, *row_max, *row_sum, *shift, *shrink;
  uint8_t* bytes;
  int64_t floats;

  forward_dot_tiles(float* memory, int64_t head_dim) {
    floats_of from(memory);
    q = take_words(from, q_span * tile_row(words_of(head_dim)));
    k = take_words(from, words_of(head_dim) * tile_row(k_tile));
    v = take_words(from, k_tile / 2 * tile_row(head_dim));
    out = from.take(q_span * tile_row(head_dim));
    scores = from.take(dot_block * tile_row(k_tile));
    row_max = from.take(q_span);
    row_sum = from.take(q_span * W);  // W partial sums a row
    shift = from.take(dot_block);
    shrink = from.take(dot_block);
    bytes = reinterpret_cast<uint8_t*>(from.take(dot_block * k_tile / 4));
    floats = from.taken();
  }
};

struct backward_dot_tiles {
  uint32_t *q, *dout;              // [q_tile, d / 2]
  uint32_t *q_pairs, *dout_pairs;  // [q_tile / 2, d]
  uint32_t *k, *v;                 // [d / 2, k_tile]
  uint32_t *k_pairs;               // [k_tile / 2, d]
  uint32_t *p_pairs, *ds_pairs;    // [q_tile / 2, k_tile]
  uint32_t *ds;                    // [q_tile, k_tile / 2]
  float *dk, *dv;                  // [k_tile, d]
  float *scores, *dscores;         // [dot_block, k_tile]
  float* delta;
  uint8_t* bytes;
  int64_t floats;

  backward_dot_tiles(float* memory, int64_t head_dim, int64_t queries) {
    const int64_t row = tile_row(head_dim), half_row = tile_row(words_of(head_dim));
    floats_of from(memory);
    q = take_words(from, q_tile * half_row);
    dout = take_words(from, q_tile * half_row);
    q_pairs = take_words(from, q_tile / 2 * row);
    dout_pairs = take_words(from, q_tile / 2 * row);
    k = take_words(from, words_of(head_dim) * tile_row(k_tile));
    v = take_words(from, words_of(head_dim) * tile_row(k_tile));
    k_pairs = take_words(from, k_tile / 2 * row);
    p_pairs = take_words(from, q_tile / 2 * tile_row(k_tile));
    ds_pairs = take_words(from, q_tile / 2 * tile_row(k_tile));
    ds = take_words(from, q_tile * tile_row(k_tile / 2));
    dk = from.take(k_tile * row);
    dv = from.take(k_tile * row);
    scores = from.take(dot_block * tile_row(k_tile));
    dscores = from.take(dot_block * tile_row(k_tile));
    bytes = reinterpret_cast<uint8_t*>(from.take(dot_block * k_tile / 4));
    delta = from.take(queries);
    floats = from.taken();
  }
};

// Defined where there are dot products.

// Queries [first, first + rows) of a sequence and head, rows <= q_span, against all their keys.
void forward_dot_span(const graft_attention_args& a, const dropout_rule& dropout, const sequence& s,
                      int64_t b, int64_t h, int64_t first, int64_t rows, float* memory);

// Keys [begin, end) of a sequence and head: writes their dK and dV, adds their part of dQ / scale to dq
// (rows of dq_row floats).
template <bool dropped>
void backward_dot_chunk(const graft_attention_args& a, const dropout_rule& dropout,
                        const head_work& w, int64_t begin, int64_t end, float* memory, float* dq,
                        int64_t dq_row);

}  // namespace graft::GRAFT_ISA
