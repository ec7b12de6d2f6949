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

// The keep-bytes that a lane needs of 16 queries and 32 keys: words[source] are those of row half
// source % 2 and of the first or second 16 keys, in the order of two fragment blocks: keys 2t, 2t + 1, and
// the same + 8. `row` is the lane's first query, `chunk` the first key / 16.
GRAFT_DEVICE void keep_words(uint32_t (&words)[4], const attention_dropout& dropout, int row, int chunk) {
  // Lane q of the quad makes the bytes of row half q % 2 and of the first or second 16 keys.
  const int quad_lane = lane_id() % 4;
  const philox_words w =
      philox(dropout.key, static_cast<uint32_t>(chunk + quad_lane / 2),
             static_cast<uint32_t>(row + 8 * (quad_lane % 2)), dropout.h, dropout.b);
  // Lane q takes keys 2q, 2q + 1 of the first eight, low, and of the other eight, high.
  words[0] = (w.w[0] & 0xFFFFu) | (w.w[2] << 16);
  words[1] = (w.w[0] >> 16) | (w.w[2] & 0xFFFF0000u);
  words[2] = (w.w[1] & 0xFFFFu) | (w.w[3] << 16);
  words[3] = (w.w[1] >> 16) | (w.w[3] & 0xFFFF0000u);
  transpose_quad(words);
}

// Dropped elements of p become 0. Element p[m][n][e] of a lane is query row + 16 m + 8 (e / 2) and key
// j0 + 8 n + 2 (lane % 4) + e % 2; j0 is a multiple of 16.
template <int row_blocks, int key_blocks>
GRAFT_DEVICE void drop_probabilities(float (&p)[row_blocks][key_blocks][4],
                                     const attention_dropout& dropout, int row, int j0) {
  static_assert(key_blocks % 2 == 0);
  GRAFT_UNROLL
  for (int m = 0; m < row_blocks; ++m) {
    GRAFT_UNROLL
    for (int n = 0; n < key_blocks; n += 4) {
      uint32_t words[4];
      keep_words(words, dropout, row + 16 * m, j0 / 16 + n / 2);
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

// The same for probabilities packed as operand A of m16n8k16, 16 keys a step. The twenty keys of
// Philox's rounds are made anew, for products in flight leave no registers to keep them in.
template <int steps>
GRAFT_DEVICE void drop_packed(uint32_t (&p)[steps][4], attention_dropout dropout, int row, int j0) {
  static_assert(steps % 2 == 0);
  GRAFT_UNROLL
  for (int step = 0; step < steps; step += 2) {
    uint32_t words[4];
    dropout.key = opaque(dropout.key);
    keep_words(words, dropout, row, j0 / 16 + step);
    GRAFT_UNROLL
    for (int source = 0; source < 4; ++source) {
      GRAFT_UNROLL
      for (int eight = 0; eight < 2; ++eight) {
        const uint32_t bytes = words[source] >> (16 * eight);
        const uint32_t low = (bytes & 0xFFu) >= dropout.k ? 0xFFFFu : 0u;
        const uint32_t high = (bytes >> 8 & 0xFFu) >= dropout.k ? 0xFFFF0000u : 0u;
        p[step + source / 2][2 * eight + source % 2] &= low | high;
      }
    }
  }
}

// The same for fragments whose rows are keys and whose columns are queries. Bytes of keep[m][n] of a
// lane (g = lane / 4, t = lane % 4) belong to the elements
//   0: key j0 + 16 m + g, query i0 + 8 n + 2 t   1: key + 8   2: query + 1   3: both
// j0 is a multiple of 16. One Philox call is one query against the 16 keys of a row block, so here each
// lane makes a whole call; the warp's scratch and a transposing ldmatrix hand the bytes out.
template <int row_blocks, int query_blocks>
GRAFT_DEVICE void keep_bytes(uint32_t (&keep)[row_blocks][query_blocks],
                             const attention_dropout& dropout, int j0, int i0, uint32_t* scratch) {
  constexpr int matrices = row_blocks * query_blocks;  // 8 queries x 16 keys
  GRAFT_UNROLL
  for (int first = 0; first < matrices; first += 4) {
    const int own = (first + lane_id() / 8) % matrices;
    const philox_words x = philox(
        dropout.key, static_cast<uint32_t>(j0 / 16 + own / query_blocks),
        static_cast<uint32_t>(i0 + 8 * (own % query_blocks) + lane_id() % 8), dropout.h, dropout.b);
    // Pairs of bytes, key g low and key g + 8 high, are the columns that ldmatrix hands to lane g.
    uint4 pairs;
    pairs.x = (x.w[0] & 0xFFu) | (x.w[2] & 0xFFu) << 8 | (x.w[0] & 0xFF00u) << 8 |
              (x.w[2] & 0xFF00u) << 16;
    pairs.y = (x.w[0] >> 16 & 0xFFu) | (x.w[2] >> 8 & 0xFF00u) | (x.w[0] >> 8 & 0xFF0000u) |
              (x.w[2] & 0xFF000000u);
    pairs.z = (x.w[1] & 0xFFu) | (x.w[3] & 0xFFu) << 8 | (x.w[1] & 0xFF00u) << 8 |
              (x.w[3] & 0xFF00u) << 16;
    pairs.w = (x.w[1] >> 16 & 0xFFu) | (x.w[3] >> 8 & 0xFF00u) | (x.w[1] >> 8 & 0xFF0000u) |
              (x.w[3] & 0xFF000000u);
    sync_warp();  // the last call's rows have been read
    store(reinterpret_cast<uint4*>(scratch) + lane_id(), pairs);
    sync_warp();
    uint32_t bytes[4];
    ldmatrix_x4_trans(bytes, scratch + 4 * lane_id());
    GRAFT_UNROLL
    for (int matrix = 0; matrix < 4; ++matrix)
      if (first + matrix < matrices)
        keep[(first + matrix) / query_blocks][(first + matrix) % query_blocks] = bytes[matrix];
  }
}

// The byte of element e of a fragment in which columns are queries.
GRAFT_DEVICE uint32_t keep_byte(uint32_t bytes, int e) {
  return bytes >> (8 * (e / 2 + e % 2 * 2)) & 0xFFu;
}

}  // namespace graft::cuda
