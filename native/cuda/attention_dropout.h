// Attention dropout on accumulator fragments: the keep-bytes of graft.h, "random numbers", which
// depend on (sequence, head, query, key) and on nothing of the tiling.
//
// One Philox call gives the bytes of one query and 16 keys. A quad of lanes needs those of 2 rows and
// two or more blocks of 16 keys, four bytes a lane of each: so each lane of the quad makes one of
// four such calls, and a 4 x 4 transposition within the quad deals them out.
#pragma once

#include "philox.h"

namespace graft::cuda {

struct attention_dropout {
  uint64_t key;      // stream key of the op
  uint32_t b, h;
  uint32_t k;        // k of k/256: bytes below it drop
};

// words[d] of lane s of a quad goes to words[s] of lane d.
GRAFT_DEVICE void transpose_quad(uint32_t (&words)[4]) {
  GRAFT_UNROLL
  for (int bit = 1; bit <= 2; bit *= 2) {
    const bool upper = (lane_id() & bit) != 0;
    GRAFT_UNROLL
    for (int low = 0; low < 4; ++low) {
      if ((low & bit) != 0) continue;
      const uint32_t other = shuffle_xor(upper ? words[low] : words[low | bit], bit);
      words[low] = upper ? other : words[low];
      words[low | bit] = upper ? words[low | bit] : other;
    }
  }
}

// Dropped elements of p become 0. Element p[m][n][e] of a lane is query row + 16 m + 8 (e / 2) and key
// j0 + 8 n + 2 (lane % 4) + e % 2; j0 is a multiple of 16.
template <int row_blocks, int key_blocks>
GRAFT_DEVICE void drop_probabilities(float (&p)[row_blocks][key_blocks][4],
                                     const attention_dropout& dropout, int row, int j0) {
  static_assert(key_blocks % 2 == 0);
  const int quad_lane = lane_id() % 4;
  GRAFT_UNROLL
  for (int m = 0; m < row_blocks; ++m) {
    GRAFT_UNROLL
    for (int n = 0; n < key_blocks; n += 4) {
      // Lane q of the quad makes the bytes of row half q % 2 and of the first or second 16 keys.
      const philox_words w =
          philox(dropout.key, static_cast<uint32_t>(j0 / 16 + n / 2 + quad_lane / 2),
                 static_cast<uint32_t>(row + 16 * m + 8 * (quad_lane % 2)), dropout.h, dropout.b);
      // Lane q takes keys 2q, 2q + 1 of the first eight, low, and of the other eight, high.
      uint32_t words[4] = {
          (w.w[0] & 0xFFFFu) | (w.w[2] << 16), (w.w[0] >> 16) | (w.w[2] & 0xFFFF0000u),
          (w.w[1] & 0xFFFFu) | (w.w[3] << 16), (w.w[1] >> 16) | (w.w[3] & 0xFFFF0000u)};
      transpose_quad(words);
      GRAFT_UNROLL
      for (int source = 0; source < 4; ++source) {
        const int block = n + source / 2 * 2;
        if (block >= key_blocks) continue;  // tiles of 16 keys use half of the calls
        GRAFT_UNROLL
        for (int byte = 0; byte < 4; ++byte) {
          float& x = p[m][block + byte / 2][source % 2 * 2 + byte % 2];
          x = ((words[source] >> (8 * byte)) & 0xFFu) >= dropout.k ? x : 0.0f;
        }
      }
    }
  }
}

}  // namespace graft::cuda
