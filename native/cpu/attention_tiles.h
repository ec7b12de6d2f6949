// What the attention kernels share: tile sizes, sequences, masks, and tiles in the workspace.
//
//   q_tile, k_tile   queries and keys of a tile of scores. 64 x 64 scores, K^T and V of D = 64 are
//                    16 KiB each; AVX-512's second-level caches are twice as large and its micro
//                    tiles twice as wide.
//   span_tiles       query tiles of a forward task at most: they share one packing of K and V.
//   chunk_keys       keys of a backward task at least, where a head is cut among threads.
//   most_chunks      chunks of a sequence at most: each has its own dQ, so memory grows with them.
//   most_split_heads heads a sequence is cut for; more give every thread enough to do.
#pragma once

#include <omp.h>

#include "../common/check.h"
#include "keep_mask.h"
#include "parallel.h"
#include "tile_matmul.h"

namespace graft::GRAFT_ISA {

#if defined(__AVX512F__)
constexpr int64_t q_tile = 96;
constexpr int64_t k_tile = 128;
#else
constexpr int64_t q_tile = 64;
constexpr int64_t k_tile = 64;
#endif
constexpr int64_t span_tiles = 4;
constexpr int64_t q_span = span_tiles * q_tile;
constexpr int64_t chunk_keys = 512;
constexpr int64_t most_chunks = 4;
constexpr int64_t most_split_heads = 4096;
static_assert(k_tile % NR == 0 && q_tile % W == 0);
static_assert(chunk_keys % k_tile == 0);
// Masks are drawn for whole tiles, a vector of Philox counters (16 keys each) at a time.
static_assert(k_tile % (16 * keep_lanes) == 0 && q_tile * k_tile % keep_block == 0);

// Terms of a sum that are added up from 0 before they join the rest. One long chain errs more than twice
// as much as a library's product, which keeps several partial sums; a run costs its tile a load, an
// addition and a store. Scores of D = 64 and less are one chain and close enough; bf16 results need no
// runs at all.
template <typename T>
static inline int64_t score_run(int64_t head_dim) {
  return sizeof(T) == 2 || head_dim <= 64 ? INT64_MAX : 32;
}
template <typename T>
static inline int64_t gradient_run(int64_t head_dim) {
  return sizeof(T) == 2 ? INT64_MAX : head_dim < 32 ? 32 : q_tile / 2;
}

// Opening a parallel region costs as much as this many multiply-adds.
constexpr double serial_products = 2e5;

// ---- sequences --------------------------------------------------------------------------------------

struct sequence {
  int64_t q_begin, q_count, k_begin, k_count;
};

static inline sequence sequence_of(const graft_attention_args& a, int64_t b) {
  const int64_t q0 = a.cu_seqlens_q[b], q1 = a.cu_seqlens_q[b + 1];
  const int64_t k0 = a.cu_seqlens_k[b], k1 = a.cu_seqlens_k[b + 1];
  return {q0, q1 - q0, k0, k1 - k0};
}

// Sequences of this step: the step state's number, or all the arguments hold.
static inline int live_sequences(const char* op, const cpu_context& context, int64_t batch,
                                 int64_t* live) {
  const int64_t sequences = context.inputs.sequences;
  *live = sequences == 0 ? batch : sequences;
  if (*live <= batch) return GRAFT_OK;
  return fail(GRAFT_INVALID_SHAPE, "%s: step's sequences: expected at most batch = %lld, got %lld",
              op, static_cast<long long>(batch), static_cast<long long>(*live));
}

// Offsets that would leave the arrays are refused before anything is written.
static inline int check_offsets(const char* op, const char* name, const int32_t* offsets,
                                int64_t batch, int64_t tokens, int64_t longest) {
  if (offsets[0] != 0)
    return fail(GRAFT_INVALID_SHAPE, "%s: %s[0]: expected 0, got %d", op, name, offsets[0]);
  for (int64_t b = 0; b < batch; ++b) {
    const int64_t length = int64_t{offsets[b + 1]} - offsets[b];
    if (length < 0 || length > longest)
      return fail(GRAFT_INVALID_SHAPE, "%s: %s: expected length 0..%lld of sequence %lld, got %lld",
                  op, name, static_cast<long long>(longest), static_cast<long long>(b),
                  static_cast<long long>(length));
  }
  if (offsets[batch] > tokens)
    return fail(GRAFT_INVALID_SHAPE, "%s: %s[%lld]: expected at most %lld tokens, got %d", op, name,
                static_cast<long long>(batch), static_cast<long long>(tokens), offsets[batch]);
  return GRAFT_OK;
}

// The arguments with 0 strides filled in.
static inline graft_attention_args with_strides(const graft_attention_args& args) {
  graft_attention_args a = args;
  const int64_t row = a.heads * a.head_dim;
  int64_t* const strides[] = {&a.q_token_stride,    &a.k_token_stride,  &a.v_token_stride,
                              &a.out_token_stride,  &a.dout_token_stride, &a.dq_token_stride,
                              &a.dk_token_stride,   &a.dv_token_stride};
  for (int64_t* stride : strides)
    if (*stride == 0) *stride = row;
  return a;
}

// ---- causal mask ------------------------------------------------------------------------------------

// Keys of tile [j0, j0 + keys) that query i sees are its first min(keys, ahead + i): the mask is
// aligned at the bottom right. Without a mask every query is far ahead.
struct key_limit {
  int64_t keys, ahead;
  int64_t operator()(int64_t i) const { return within(ahead + i, 0, keys); }
};
static inline key_limit limit_of(const graft_attention_args& a, const sequence& s, int64_t j0,
                                 int64_t keys) {
  return {keys, a.causal ? s.k_count - s.q_count - j0 + 1 : INT64_MAX / 4};
}

// ---- dropout ----------------------------------------------------------------------------------------

// Keep-bytes of a tile: bytes[i * k_tile + j] of query i0 + i and key j0 + j (graft.h, "random
// numbers": they depend on nothing else, so every tile order draws the same mask). j0 is a multiple
// of k_tile. `rows` are padded to whole blocks.
static inline void keep_tile(uint64_t key, int64_t j0, int64_t i0, int64_t rows, int64_t h,
                             int64_t b, uint8_t* bytes) {
  constexpr int vectors = static_cast<int>(k_tile) / (16 * keep_lanes);  // a row
  const auto first = static_cast<uint32_t>(j0 / 16);
  const auto query = static_cast<uint32_t>(i0);
  const int count = static_cast<int>(rows) * vectors;
  for (int at = 0; at < count; at += 4) {
    uint32_t counters[4], queries[4];
    for (int v = 0; v < 4; ++v) {
      counters[v] = first + static_cast<uint32_t>((at + v) % vectors * keep_lanes);
      queries[v] = query + static_cast<uint32_t>((at + v) / vectors);
    }
    keep_bytes(key, counters, queries, static_cast<uint32_t>(h), static_cast<uint32_t>(b),
               bytes + at * 16 * keep_lanes);
  }
}

// ---- tiles ------------------------------------------------------------------------------------------

// Cuts a block of memory in arrays of whole cache lines. Without a block it only counts.
class floats_of {
 public:
  explicit floats_of(float* memory) : memory_(memory) {}
  float* take(int64_t count) {
    float* array = memory_ == nullptr ? nullptr : memory_ + taken_;
    taken_ += round_up(count, 16);
    return array;
  }
  int64_t taken() const { return taken_; }

 private:
  float* memory_;
  int64_t taken_ = 0;
};

struct forward_tiles {
  float *q, *out, *k, *v, *scores, *row_max, *row_sum, *shift, *shrink;
  uint8_t* bytes;
  int64_t floats;

  forward_tiles(float* memory, int64_t head_dim) {
    const int64_t row = tile_row(head_dim);
    floats_of from(memory);
    q = from.take(q_span * row);
    out = from.take(q_span * row);
    k = from.take(head_dim * tile_row(k_tile));
    v = from.take(k_tile * row);
    scores = from.take(q_tile * tile_row(k_tile));
    row_max = from.take(q_span);
    row_sum = from.take(q_span * W);  // W partial sums a row
    shift = from.take(q_tile);
    shrink = from.take(q_tile);
    bytes = reinterpret_cast<uint8_t*>(from.take(q_tile * k_tile / 4));
    floats = from.taken();
  }
};

struct backward_tiles {
  float *q, *dout, *k_columns, *v_columns, *k_rows, *dk, *dv, *scores, *dscores, *delta;
  uint8_t* bytes;
  int64_t floats;

  backward_tiles(float* memory, int64_t head_dim, int64_t queries) {
    const int64_t row = tile_row(head_dim);
    floats_of from(memory);
    q = from.take(q_tile * row);
    dout = from.take(q_tile * row);
    k_columns = from.take(head_dim * tile_row(k_tile));
    v_columns = from.take(head_dim * tile_row(k_tile));
    k_rows = from.take(k_tile * row);
    dk = from.take(k_tile * row);
    dv = from.take(k_tile * row);
    scores = from.take(q_tile * tile_row(k_tile));
    dscores = from.take(q_tile * tile_row(k_tile));
    bytes = reinterpret_cast<uint8_t*>(from.take(q_tile * k_tile / 4));
    delta = from.take(queries);
    floats = from.taken();
  }
};

// Threads for a call of that many score elements.
static inline int threads_for(const cpu_context& context, int64_t tasks, double scores,
                              int64_t head_dim) {
  if (scores * static_cast<double>(head_dim) < serial_products) return 1;
  return static_cast<int>(at_least(1, at_most(context.threads, tasks)));
}

static inline int64_t longest_queries(const graft_attention_args& a) {
  return at_most(a.max_seqlen_q, a.tokens_q);
}
static inline int64_t longest_keys(const graft_attention_args& a) {
  return at_most(a.max_seqlen_k, a.tokens_k);
}

static inline int64_t thread_index() { return omp_get_thread_num(); }

}  // namespace graft::GRAFT_ISA
