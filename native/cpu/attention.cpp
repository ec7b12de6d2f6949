// Attention without the score matrix: O = softmax(scale Q K^T + mask) V, and its gradients.
//
//   Dao, "FlashAttention-2", arXiv:2307.08691: forward algorithm 1, backward algorithm 2.
//   paper   code                        paper   code
//   Q_i     q tile, rows of queries     m, l    row_max, row_sum (running)
//   K_j     k tile, columns of keys     L       lse
//   S, P    scores (P overwrites S)     D       delta = rowsum(dO * O)
//   B_r     q_tile                      B_c     k_tile
//
//   name          dtype        shape            strides              in/out
//   q, k, v       fp32, bf16   [T, H, D]        token, D, 1          in
//   out           fp32, bf16   [Tq, H, D]       token, D, 1          out (forward), in (backward)
//   lse           fp32         [H, Tq]          Tq, 1                out (forward), in (backward)
//   dout          fp32, bf16   [Tq, H, D]       token, D, 1          in
//   dq, dk, dv    fp32, bf16   [T, H, D]        token, D, 1          out
//   cu_seqlens    int32        [B + 1]                               in
//
// All arithmetic is fp32 on tiles packed into the thread's workspace; bf16 is widened while packing
// and rounded once on the way out. Work is cut by the shape alone and each piece is computed by one
// thread in one order, so the bits do not depend on the number of threads.
#include "attention_tiles.h"
#include "philox.h"
#include "tile_matmul.h"

namespace graft::GRAFT_ISA {
namespace {

struct sequence {
  int64_t q_begin, q_count, k_begin, k_count;
};

sequence sequence_of(const graft_attention_args& a, int64_t b) {
  const int64_t q0 = a.cu_seqlens_q[b], q1 = a.cu_seqlens_q[b + 1];
  const int64_t k0 = a.cu_seqlens_k[b], k1 = a.cu_seqlens_k[b + 1];
  return {q0, q1 - q0, k0, k1 - k0};
}

int64_t live_sequences(const cpu_context& context, const graft_attention_args& a) {
  const int64_t live = context.inputs.sequences;
  return live > 0 && live < a.batch ? live : a.batch;
}

// Offsets that would leave the arrays are refused before anything is written.
int check_offsets(const char* op, const char* name, const int32_t* offsets, int64_t batch,
                  int64_t tokens, int64_t longest) {
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

int check_sequences(const char* op, const graft_attention_args& a, int64_t live) {
  GRAFT_TRY(check_offsets(op, "cu_seqlens_q", a.cu_seqlens_q, live, a.tokens_q, a.max_seqlen_q));
  return check_offsets(op, "cu_seqlens_k", a.cu_seqlens_k, live, a.tokens_k, a.max_seqlen_k);
}

// ---- packing ----------------------------------------------------------------------------------------

// to[r, 0..width) = factor * from[r, 0..d), zero beyond d. Rows beyond `rows` are not touched.
template <typename T>
void pack_rows(const T* from, int64_t from_row, int64_t rows, int64_t d, float factor, float* to,
               int64_t width) {
  const vf f = splat(factor);
  for (int64_t r = 0; r < rows; ++r) {
    const T* in = from + r * from_row;
    float* out = to + r * width;
    int64_t c = 0;
    for (; c + W <= d; c += W) store(out + c, load(in + c) * f);
    if (c < d) {
      store(out + c, load(in + c, static_cast<int>(d - c)) * f);
      c += W;
    }
    for (; c < width; c += W) store(out + c, zero());
  }
}

// to[c, r] = from[r, c] for a tile of `rows` keys; columns rows..columns of `to` become 0.
template <typename T>
void pack_transposed(const T* from, int64_t from_row, int64_t rows, int64_t d, float* to,
                     int64_t to_row, int64_t columns) {
  float block[W * W];
  for (int64_t r = 0; r < columns; r += W) {
    const int64_t live = rows - r;
    for (int64_t c = 0; c < d; c += W) {
      const int width = static_cast<int>(d - c < W ? d - c : W);
      for (int i = 0; i < W; ++i) {
        const vf row = i < live ? load(from + (r + i) * from_row + c, width) : zero();
        store(block + i * W, row);
      }
      for (int j = 0; j < width; ++j) {
        vf column;
        for (int i = 0; i < W; ++i) column[i] = block[i * W + j];
        store(to + (c + j) * to_row + r, column);
      }
    }
  }
}

template <typename T>
void unpack_row(const float* from, int64_t d, vf factor, T* to) {
  int64_t c = 0;
  for (; c + W <= d; c += W) store(to + c, load(from + c) * factor);
  if (c < d) store(to + c, load(from + c) * factor, static_cast<int>(d - c));
}

// ---- masks ------------------------------------------------------------------------------------------

// Keys of a tile starting at key j0 that query i sees; causal is aligned at the bottom right.
int64_t visible(const graft_attention_args& a, const sequence& s, int64_t i, int64_t j0,
                int64_t keys) {
  if (!a.causal) return keys;
  const int64_t last = i + s.k_count - s.q_count - j0;
  return last < 0 ? 0 : last + 1 < keys ? last + 1 : keys;
}

// Multiplies scores[0..keys) by 256/(256-k) where kept and 0 where dropped. The bytes depend on
// (b, h, i, j) alone, so any tile order draws the same mask.
void drop(float* scores, int64_t keys, uint64_t key, uint32_t j0, uint32_t i, uint32_t h, uint32_t b,
          int32_t dropout, float keep_factor) {
  int64_t j = 0;
  while (j < keys) {
    const uint32_t position = j0 + static_cast<uint32_t>(j);
    const philox_words words = philox(key, position / 16, i, h, b);
    for (uint32_t byte = position % 16; byte < 16 && j < keys; ++byte, ++j)
      scores[j] *= philox_byte(words, static_cast<int>(byte)) < dropout ? 0.0f : keep_factor;
  }
}

// ---- forward ----------------------------------------------------------------------------------------

struct forward_tiles {
  float *q, *k, *v, *scores, *out, *row_max, *row_sum;

  forward_tiles(float* memory, int64_t width) {
    q = memory;
    out = q + q_span * width;
    k = out + q_span * width;
    v = k + k_tile * width;
    scores = v + k_tile * width;
    row_max = scores + q_tile * k_tile;
    row_sum = row_max + q_span;
  }
  static int64_t floats(int64_t width) {
    return round_up(2 * q_span * width + 2 * k_tile * width + q_tile * k_tile + 2 * q_span, 16);
  }
};

// The running maximum m and sum l of one row take in a tile of scores, which become
// exp(score - m). Returns the factor exp(m_old - m_new) by which the output so far shrinks.
inline float softmax_row(float* scores, int64_t keys, int64_t padded, float* row_max,
                         float* row_sum) {
  const vf minus_infinity = splat(-INFINITY);
  for (int64_t j = keys; j < padded; ++j) scores[j] = -INFINITY;
  vf highest = minus_infinity;
  for (int64_t j = 0; j < padded; j += W) highest = max(load(scores + j), highest);
  const float old = *row_max;
  const float tile_max = max_lanes(highest);
  const float now = tile_max > old ? tile_max : old;
  // A row that has seen nothing but -inf has no maximum to subtract: exp(-inf - 0) is the 0 wanted.
  const float shift = now == -INFINITY ? 0.0f : now;
  vf sum = zero();
  for (int64_t j = 0; j < padded; j += W) {
    const vf p = exp(load(scores + j) - splat(shift));
    store(scores + j, p);
    sum += p;
  }
  const float shrink = old == now ? 1.0f : exp(splat(old - shift))[0];
  *row_max = now;
  *row_sum = *row_sum * shrink + sum_lanes(sum);
  return shrink;
}

// Queries [first, first + rows) of one sequence and head, rows <= q_span, against all their keys.
template <typename T>
void forward_span(const graft_attention_args& a, const sequence& s, int64_t b, int64_t h,
                  int64_t first, int64_t rows, uint64_t dropout_key, float* memory) {
  const int64_t d = a.head_dim;
  const int64_t width = round_up(d, NR);
  const forward_tiles t(memory, width);
  const T* q = static_cast<const T*>(a.q) + (s.q_begin + first) * a.q_token_stride + h * d;
  pack_rows(q, a.q_token_stride, rows, d, a.scale, t.q, width);
  for (int64_t i = 0; i < rows; ++i) {
    t.row_max[i] = -INFINITY;
    t.row_sum[i] = 0.0f;
  }
  std::memset(t.out, 0, static_cast<size_t>(rows * width) * sizeof(float));

  const int64_t seen = a.causal ? visible(a, s, first + rows - 1, 0, s.k_count) : s.k_count;
  const float keep_factor = 256.0f / static_cast<float>(256 - a.dropout);
  for (int64_t j0 = 0; j0 < seen; j0 += k_tile) {
    const int64_t keys = seen - j0 < k_tile ? seen - j0 : k_tile;
    const int64_t padded = round_up(keys, NR);
    const T* k = static_cast<const T*>(a.k) + (s.k_begin + j0) * a.k_token_stride + h * d;
    const T* v = static_cast<const T*>(a.v) + (s.k_begin + j0) * a.v_token_stride + h * d;
    pack_transposed(k, a.k_token_stride, keys, d, t.k, k_tile, padded);
    pack_rows(v, a.v_token_stride, keys, d, 1.0f, t.v, width);
    for (int64_t i0 = 0; i0 < rows; i0 += q_tile) {
      const int64_t count = rows - i0 < q_tile ? rows - i0 : q_tile;
      // Above the diagonal: no query of the tile sees a key of it.
      const int64_t most = visible(a, s, first + i0 + count - 1, j0, keys);
      if (most == 0) continue;
      const int64_t used = round_up(most, NR);
      tile_matmul(count, used, d, t.q + i0 * width, width, 1, t.k, k_tile, t.scores, k_tile, false);
      for (int64_t i = 0; i < count; ++i) {
        float* scores = t.scores + i * k_tile;
        const int64_t row = i0 + i;
        const int64_t n = visible(a, s, first + row, j0, keys);
        const float shrink = softmax_row(scores, n, used, t.row_max + row, t.row_sum + row);
        if (a.dropout > 0)
          drop(scores, n, dropout_key, static_cast<uint32_t>(j0), static_cast<uint32_t>(first + row),
               static_cast<uint32_t>(h), static_cast<uint32_t>(b), a.dropout, keep_factor);
        if (shrink != 1.0f) {
          float* out = t.out + row * width;
          for (int64_t c = 0; c < width; c += W) store(out + c, load(out + c) * splat(shrink));
        }
      }
      tile_matmul(count, width, most, t.scores, k_tile, 1, t.v, width, t.out + i0 * width, width,
                  true);
    }
  }

  T* out = static_cast<T*>(a.out) + (s.q_begin + first) * a.out_token_stride + h * d;
  float* lse = a.lse + h * a.tokens_q + s.q_begin + first;
  for (int64_t i = 0; i < rows; ++i) {
    const float sum = t.row_sum[i];
    // sum 0 is a row without keys: its output is 0 and its log-sum-exp -inf.
    const float inverse = sum == 0.0f ? 0.0f : 1.0f / sum;
    unpack_row(t.out + i * width, d, splat(inverse), out + i * a.out_token_stride);
    lse[i] = sum == 0.0f ? -INFINITY : t.row_max[i] + std::log(sum);
  }
}

template <typename T>
int forward(cpu_context& context, const graft_attention_args& a) {
  const int64_t live = live_sequences(context, a);
  GRAFT_TRY(check_sequences("attention_forward", a, live));
  const uint64_t key = stream_key(context, a.op_id);
  const int64_t floats = forward_tiles::floats(round_up(a.head_dim, NR));
  const int64_t spans = (a.max_seqlen_q + q_span - 1) / q_span;
  const int64_t tasks = live * a.heads * spans;
  // Spans of late queries see most keys under a causal mask: they are handed out first.
#pragma omp parallel for schedule(dynamic, 1) num_threads(context.threads) if (tasks > 1)
  for (int64_t task = 0; task < tasks; ++task) {
    const int64_t span = spans - 1 - task / (live * a.heads);
    const int64_t b = task % (live * a.heads) / a.heads;
    const int64_t h = task % a.heads;
    const sequence s = sequence_of(a, b);
    const int64_t first = span * q_span;
    if (first >= s.q_count) continue;
    const int64_t rows = s.q_count - first < q_span ? s.q_count - first : q_span;
    forward_span<T>(a, s, b, h, first, rows, key,
                    static_cast<float*>(a.workspace) + thread_index() * floats);
  }
  return GRAFT_OK;
}

// ---- backward ---------------------------------------------------------------------------------------

// Whole sequences of queries (q, dout, dq, lse, delta) and one tile of keys.
struct backward_tiles {
  float *q, *dout, *dq, *lse, *delta, *k_columns, *v_columns, *k_rows, *dk, *dv, *scores, *dscores;

  backward_tiles(float* memory, int64_t longest, int64_t width) {
    const int64_t rows = round_up(longest, 16);
    q = memory;
    dout = q + rows * width;
    dq = dout + rows * width;
    lse = dq + rows * width;
    delta = lse + rows;
    k_columns = delta + rows;
    v_columns = k_columns + width * k_tile;
    k_rows = v_columns + width * k_tile;
    dk = k_rows + k_tile * width;
    dv = dk + k_tile * width;
    scores = dv + k_tile * width;
    dscores = scores + q_tile * k_tile;
  }
  static int64_t floats(int64_t longest, int64_t width) {
    const int64_t rows = round_up(longest, 16);
    return round_up(3 * rows * width + 2 * rows + 5 * k_tile * width + 2 * q_tile * k_tile, 16);
  }
};

// One sequence and head: the tile of keys stays, the queries stream past it.
template <typename T>
void backward_head(const graft_attention_args& a, const sequence& s, int64_t b, int64_t h,
                   uint64_t dropout_key, float* memory) {
  const int64_t d = a.head_dim;
  const int64_t width = round_up(d, NR);
  const backward_tiles t(memory, a.max_seqlen_q, width);
  const T* q = static_cast<const T*>(a.q) + s.q_begin * a.q_token_stride + h * d;
  const T* out = static_cast<const T*>(a.out) + s.q_begin * a.out_token_stride + h * d;
  const T* dout = static_cast<const T*>(a.dout) + s.q_begin * a.dout_token_stride + h * d;
  // With q scaled here, dK = dS^T q needs no scale of its own.
  pack_rows(q, a.q_token_stride, s.q_count, d, a.scale, t.q, width);
  pack_rows(dout, a.dout_token_stride, s.q_count, d, 1.0f, t.dout, width);
  std::memset(t.dq, 0, static_cast<size_t>(s.q_count * width) * sizeof(float));
  for (int64_t i = 0; i < s.q_count; ++i) {
    t.lse[i] = a.lse[h * a.tokens_q + s.q_begin + i];
    const T* o = out + i * a.out_token_stride;
    const float* g = t.dout + i * width;
    vf sum = zero();
    int64_t c = 0;
    for (; c + W <= d; c += W) sum = fma(load(o + c), load(g + c), sum);
    if (c < d) sum = fma(load(o + c, static_cast<int>(d - c)), load(g + c), sum);
    t.delta[i] = sum_lanes(sum);
  }

  const float keep_factor = 256.0f / static_cast<float>(256 - a.dropout);
  const bool whole_row = s.k_count <= k_tile;
  for (int64_t j0 = 0; j0 < s.k_count; j0 += k_tile) {
    const int64_t keys = s.k_count - j0 < k_tile ? s.k_count - j0 : k_tile;
    const int64_t padded = round_up(keys, NR);
    const T* k = static_cast<const T*>(a.k) + (s.k_begin + j0) * a.k_token_stride + h * d;
    const T* v = static_cast<const T*>(a.v) + (s.k_begin + j0) * a.v_token_stride + h * d;
    pack_transposed(k, a.k_token_stride, keys, d, t.k_columns, k_tile, padded);
    pack_transposed(v, a.v_token_stride, keys, d, t.v_columns, k_tile, padded);
    pack_rows(k, a.k_token_stride, keys, d, 1.0f, t.k_rows, width);
    std::memset(t.dk, 0, static_cast<size_t>(keys * width) * sizeof(float));
    std::memset(t.dv, 0, static_cast<size_t>(keys * width) * sizeof(float));

    // The first query that sees a key of this tile; earlier ones are above the diagonal.
    const int64_t from = a.causal ? j0 - (s.k_count - s.q_count) : 0;
    for (int64_t i0 = from > 0 ? from / q_tile * q_tile : 0; i0 < s.q_count; i0 += q_tile) {
      const int64_t count = s.q_count - i0 < q_tile ? s.q_count - i0 : q_tile;
      const int64_t most = visible(a, s, i0 + count - 1, j0, keys);
      if (most == 0) continue;
      const int64_t used = round_up(most, NR);
      const float* q_rows = t.q + i0 * width;
      const float* dout_rows = t.dout + i0 * width;
      tile_matmul(count, used, d, q_rows, width, 1, t.k_columns, k_tile, t.scores, k_tile, false);
      tile_matmul(count, used, d, dout_rows, width, 1, t.v_columns, k_tile, t.dscores, k_tile,
                  false);
      for (int64_t i = 0; i < count; ++i) {
        float* p = t.scores + i * k_tile;
        float* ds = t.dscores + i * k_tile;
        const int64_t row = i0 + i;
        const int64_t n = visible(a, s, row, j0, keys);
        const float lse = t.lse[row];
        // -inf marks a row without keys: P is 0 there, not exp(score + inf).
        const int64_t live = lse == -INFINITY ? 0 : n;
        for (int64_t j = live; j < used; ++j) p[j] = -INFINITY;
        const vf shift = splat(lse == -INFINITY ? 0.0f : lse);
        vf sum = zero();
        for (int64_t j = 0; j < used; j += W) {
          const vf probability = exp(load(p + j) - shift);
          store(p + j, probability);
          sum += probability;
        }
        float mask[k_tile];
        if (a.dropout > 0) {
          for (int64_t j = 0; j < used; ++j) mask[j] = 1.0f;
          drop(mask, n, dropout_key, static_cast<uint32_t>(j0), static_cast<uint32_t>(row),
               static_cast<uint32_t>(h), static_cast<uint32_t>(b), a.dropout, keep_factor);
          for (int64_t j = 0; j < used; j += W) store(ds + j, load(ds + j) * load(mask + j));
        }
        float delta = t.delta[row];
        if (whole_row && live > 0) {
          // All keys are here, so the row can be normalised anew (the stored lse carries a rounding of
          // its own magnitude) and delta be taken from the very dP it will cancel against.
          const vf inverse = splat(1.0f / sum_lanes(sum));
          vf dot = zero();
          for (int64_t j = 0; j < used; j += W) {
            const vf probability = load(p + j) * inverse;
            store(p + j, probability);
            dot = fma(probability, load(ds + j), dot);
          }
          delta = sum_lanes(dot);
        }
        for (int64_t j = 0; j < used; j += W)
          store(ds + j, load(p + j) * (load(ds + j) - splat(delta)));
        if (a.dropout > 0)  // dV takes the dropped P
          for (int64_t j = 0; j < used; j += W) store(p + j, load(p + j) * load(mask + j));
      }
      tile_matmul(most, width, count, t.scores, 1, k_tile, dout_rows, width, t.dv, width, true);
      tile_matmul(most, width, count, t.dscores, 1, k_tile, q_rows, width, t.dk, width, true);
      tile_matmul(count, width, most, t.dscores, k_tile, 1, t.k_rows, width, t.dq + i0 * width,
                  width, true);
    }

    T* dk = static_cast<T*>(a.dk) + (s.k_begin + j0) * a.dk_token_stride + h * d;
    T* dv = static_cast<T*>(a.dv) + (s.k_begin + j0) * a.dv_token_stride + h * d;
    for (int64_t j = 0; j < keys; ++j) {
      unpack_row(t.dk + j * width, d, splat(1.0f), dk + j * a.dk_token_stride);
      unpack_row(t.dv + j * width, d, splat(1.0f), dv + j * a.dv_token_stride);
    }
  }
  T* dq = static_cast<T*>(a.dq) + s.q_begin * a.dq_token_stride + h * d;
  for (int64_t i = 0; i < s.q_count; ++i)
    unpack_row(t.dq + i * width, d, splat(a.scale), dq + i * a.dq_token_stride);
}

template <typename T>
int backward(cpu_context& context, const graft_attention_args& a) {
  const int64_t live = live_sequences(context, a);
  GRAFT_TRY(check_sequences("attention_backward", a, live));
  const uint64_t key = stream_key(context, a.op_id);
  const int64_t floats = backward_tiles::floats(a.max_seqlen_q, round_up(a.head_dim, NR));
  const int64_t tasks = live * a.heads;
#pragma omp parallel for schedule(dynamic, 1) num_threads(context.threads) if (tasks > 1)
  for (int64_t task = 0; task < tasks; ++task) {
    const int64_t b = task / a.heads;
    const sequence s = sequence_of(a, b);
    if (s.q_count == 0 && s.k_count == 0) continue;
    backward_head<T>(a, s, b, task % a.heads, key,
                     static_cast<float*>(a.workspace) + thread_index() * floats);
  }
  return GRAFT_OK;
}

graft_attention_args packed(const graft_attention_args& args) {
  graft_attention_args a = args;
  const int64_t row = a.heads * a.head_dim;
  int64_t* const strides[] = {&a.q_token_stride,    &a.k_token_stride,  &a.v_token_stride,
                              &a.out_token_stride,  &a.dout_token_stride, &a.dq_token_stride,
                              &a.dk_token_stride,   &a.dv_token_stride};
  for (int64_t* stride : strides)
    if (*stride == 0) *stride = row;
  return a;
}

int64_t workspace_bytes(const cpu_context& context, const graft_attention_args& a, int backward) {
  const int64_t width = round_up(a.head_dim, NR);
  const int64_t floats =
      backward ? backward_tiles::floats(a.max_seqlen_q, width) : forward_tiles::floats(width);
  return context.threads * floats * static_cast<int64_t>(sizeof(float));
}

}  // namespace

int attention_workspace(const cpu_context& context, const graft_attention_args& a, int backward,
                        int64_t* bytes) {
  *bytes = workspace_bytes(context, a, backward);
  return GRAFT_OK;
}

int attention_forward(cpu_context& context, const graft_attention_args& args) {
  GRAFT_TRY(check_workspace_bytes("attention_forward", args.workspace, args.workspace_bytes,
                                  workspace_bytes(context, args, 0)));
  const graft_attention_args a = packed(args);
  return a.dtype == GRAFT_BFLOAT16 ? forward<bf16>(context, a) : forward<float>(context, a);
}

int attention_backward(cpu_context& context, const graft_attention_args& args) {
  GRAFT_TRY(check_workspace_bytes("attention_backward", args.workspace, args.workspace_bytes,
                                  workspace_bytes(context, args, 1)));
  const graft_attention_args a = packed(args);
  return a.dtype == GRAFT_BFLOAT16 ? backward<bf16>(context, a) : backward<float>(context, a);
}

}  // namespace graft::GRAFT_ISA
