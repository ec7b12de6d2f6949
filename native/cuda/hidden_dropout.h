// Dropout on hidden activations by eights of columns: the keep-bytes of graft.h, "random numbers".
// One Philox call gives the bytes of 16 columns, so two neighbouring lanes share their calls.
#pragma once

#include "context.h"
#include "philox.h"
#include "row_vectors.h"

namespace graft::cuda {

// Bytes below k drop; what is kept is multiplied by scale. With k = 0 nothing is drawn.
struct hidden_dropout {
  uint64_t key;
  uint32_t k;
  float scale;
};

GRAFT_DEVICE float kept_scale(int32_t k) { return 256.0f / static_cast<float>(256 - k); }
GRAFT_DEVICE hidden_dropout dropout_of(const step_state* step, int32_t k, uint32_t op_id) {
  if (k == 0) return {0, 0, 1.0f};
  return {stream_key(step->inputs.seed, step->inputs.step, op_id), static_cast<uint32_t>(k),
          kept_scale(k)};
}

// Of eight columns.
struct keep_bytes {
  uint32_t words[2];
};

GRAFT_DEVICE philox_words counter_of(const hidden_dropout& rule, int64_t row, int64_t column) {
  return philox(rule.key, static_cast<uint32_t>(column / 16), static_cast<uint32_t>(row), 0, 0);
}

// Of the eight columns from `column`, a multiple of 8, on.
GRAFT_DEVICE keep_bytes keep_bytes_of(const hidden_dropout& rule, int64_t row, int64_t column) {
  const philox_words w = counter_of(rule, row, column);
  return (column & 8) == 0 ? keep_bytes{{w.w[0], w.w[1]}} : keep_bytes{{w.w[2], w.w[3]}};
}

// Of the columns from column[0] and from column[1] on, by a whole warp whose lanes 2i and 2i + 1 have
// neighbouring eights of the same 16 columns: each makes one call, and they exchange halves.
GRAFT_DEVICE void keep_bytes_of_pair(const hidden_dropout& rule, int64_t row,
                                     const int64_t (&column)[2], keep_bytes (&keep)[2]) {
  const bool odd = lane_id() % 2 != 0;
  const philox_words w = counter_of(rule, row, odd ? column[1] : column[0]);
  keep_bytes other;
  GRAFT_UNROLL
  for (int i = 0; i < 2; ++i) other.words[i] = shuffle_xor(odd ? w.w[i] : w.w[2 + i], 1);
  const keep_bytes own = {{odd ? w.w[2] : w.w[0], odd ? w.w[3] : w.w[1]}};
  keep[0] = odd ? other : own;
  keep[1] = odd ? own : other;
}

GRAFT_DEVICE bool keeps(const keep_bytes& keep, int i, uint32_t k) {
  return ((keep.words[i / 4] >> (8 * (i % 4))) & 0xFFu) >= k;
}
GRAFT_DEVICE void drop(const hidden_dropout& rule, const keep_bytes& keep, float (&x)[8]) {
  GRAFT_UNROLL
  for (int i = 0; i < 8; ++i) x[i] = keeps(keep, i, rule.k) ? x[i] * rule.scale : 0.0f;
}

}  // namespace graft::cuda
