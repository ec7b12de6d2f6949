// Draws the next token of each sequence: repetition penalty (Keskar et al., arXiv:1909.05858, 4.1),
// temperature, top-k, top-p (Holtzman et al., arXiv:1904.09751, 3.1), inverse of the cumulative
// distribution in falling order of probability, ties by rising id. temperature 0: the arg max.
//
// Nothing is sorted. A token's place in that order is one number, its rank key: the logit's bits,
// made to rise as it falls, above the id. top-k, top-p and the draw all ask for the first token up
// to which a count or a mass is reached, and are answered by the same search: the interval of rank
// keys is cut in eight, tokens and masses of each eighth are added, and the eighth that reaches the
// wanted amount is the next interval, until one token is left. Masses are integers, floor(weight
// 2^s) with s such that a row's sum stays below 2^63: sums are exact in any order. Weights e^(logit
// - max) have the bits of the CPU kernel.
//
// A block a row, its logits (after penalty and temperature) in shared memory if they fit, else in
// the workspace. A row with a NaN or a +inf, or of -inf only, gives -1.
//
//   name            dtype  shape               stride          aligned to  in/out
//   logits          T      [B, V]              row_stride      element     in
//   history         i32    [B, history_stride] history_stride  element     in, optional
//   history_counts  i32    [B]                                 element     in, with history
//   next            i32    [B]                                 element     out
//   workspace: f32 [blocks, V] if a row does not fit in shared memory
#include <algorithm>

#include "../common/check.h"
#include "context.h"
#include "philox.h"
#include "row_chunks.h"

namespace graft::cuda {
namespace {

constexpr int threads = 512;
constexpr int warps = threads / warp_size;
constexpr int fan = 8;
constexpr int fan_bits = 3;

constexpr float log2_e = 1.44269504f;
constexpr float ln_2 = 0.693147181f;

template <typename T>
struct sample_params {
  const T* logits;
  const int32_t* history;
  const int32_t* history_counts;
  int32_t* next;
  float* rows;  // [blocks, V], or NULL: in shared memory
  const step_state* step;
  int64_t batch, row_stride, history_stride;
  int64_t top_k;
  int vocabulary;
  int id_bits;  // of the largest id
  float temperature, top_p, repetition_penalty;
  uint32_t op_id;
};

// Tokens and masses of the eighths of an interval [low, high] of rank keys; an eighth is 2^shift
// keys.
struct interval {
  uint64_t low, high;
  int shift;
};
struct eighths {
  uint64_t mass[fan];
  int count[fan];
};

struct alignas(16) shared_state {
  uint64_t mass[fan][warps];
  int count[fan][warps];
  eighths total;
  uint64_t lowest[warps];
  int token;
};

GRAFT_DEVICE uint32_t rising_key(float x) {
  const uint32_t bits = bits_from_float(x + 0.0f);  // +0 and -0 are one
  return (bits >> 31) != 0 ? bits : ~(bits | 0x80000000u);
}

// 2^t for t <= 0, and 0 below -126.5: exp2_low<6> of the CPU kernels, operation by operation.
GRAFT_DEVICE float power_of_two(float t) {
  t = t > -127.0f ? t : -127.0f;
  const float shifter = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  const float shifted = t + shifter;
  const float r = t - (shifted - shifter);
  const float r2 = r * r;
  float p = fma_rn(0.6931472f, r, 1.0f);
  const float middle = fma_rn(5.5503324e-2f, r, 0.24022648f);
  const float upper = fma_rn(1.3398874e-3f, r, 9.618437e-3f);
  p = fma_rn(fma_rn(fma_rn(1.5353362e-4f, r2, upper), r2, middle), r2, p);
  return p * float_from_bits((bits_from_float(shifted) << 23) + (127u << 23));
}

// One row's search. Every thread calls every function.
struct row_search {
  const float* logits;
  shared_state* shared;
  int vocabulary;
  int id_bits;
  float largest;

  __device__ __forceinline__ uint64_t rank_key(int v) const {
    return uint64_t{rising_key(logits[v])} << id_bits | static_cast<unsigned>(v);
  }
  __device__ __forceinline__ uint64_t mass_of(int v) const {
    const float weight = power_of_two((logits[v] - largest) * log2_e);
    return static_cast<uint64_t>(weight * float_from_bits((62u - id_bits + 127u) << 23));
  }

  // The lowest rank key: of the most probable token.
  __device__ __forceinline__ uint64_t lowest() const {
    uint64_t low = ~uint64_t{0};
    for (int v = static_cast<int>(threadIdx.x); v < vocabulary; v += threads) {
      const uint64_t key = rank_key(v);
      low = key < low ? key : low;
    }
    GRAFT_UNROLL
    for (int step = warp_size / 2; step > 0; step /= 2) {
      const uint64_t other = shuffle_xor(low, step);
      low = other < low ? other : low;
    }
    if (lane_id() == 0) shared->lowest[warp_id()] = low;
    sync_threads();
    for (int w = 0; w < warps; ++w) low = shared->lowest[w] < low ? shared->lowest[w] : low;
    return low;
  }

  // Everything that has a mass.
  __device__ __forceinline__ interval all(uint64_t low) const {
    const float cutoff = largest - static_cast<float>(62 - id_bits + 3) * ln_2;
    interval i = {low, (uint64_t{rising_key(cutoff)} + 1) << id_bits, 0};
    while (((i.high - i.low) >> i.shift) >= fan) ++i.shift;
    return i;
  }

  // Of the interval's tokens that have a mass. Eight sums at once: in each step a lane gives half
  // of those it has left and keeps the other half, so that a lane ends with one.
  __device__ __forceinline__ eighths add(const interval& i) const {
    uint64_t mass[fan] = {};
    int count[fan] = {};
    for (int v = static_cast<int>(threadIdx.x); v < vocabulary; v += threads) {
      const uint64_t place = rank_key(v) - i.low;
      if (place > i.high - i.low) continue;
      const uint64_t m = mass_of(v);
      const int eighth = static_cast<int>(place >> i.shift);
      GRAFT_UNROLL
      for (int e = 0; e < fan; ++e) {
        mass[e] += e == eighth ? m : 0;
        count[e] += e == eighth && m > 0 ? 1 : 0;
      }
    }
    GRAFT_UNROLL
    for (int half = fan / 2, step = warp_size / 2; half > 0; half /= 2, step /= 2) {
      const bool upper = (lane_id() & step) != 0;
      GRAFT_UNROLL
      for (int e = 0; e < half; ++e) {
        const uint64_t give_mass = upper ? mass[e] : mass[e + half];
        const int give_count = upper ? count[e] : count[e + half];
        mass[e] = (upper ? mass[e + half] : mass[e]) + shuffle_xor(give_mass, step);
        count[e] = (upper ? count[e + half] : count[e]) + shuffle_xor(give_count, step);
      }
    }
    constexpr int lanes = warp_size / fan;  // that end with the same eighth
    GRAFT_UNROLL
    for (int step = lanes / 2; step > 0; step /= 2) {
      mass[0] += shuffle_xor(mass[0], step);
      count[0] += shuffle_xor(count[0], step);
    }
    if (lane_id() % lanes == 0) {
      shared->mass[lane_id() / lanes][warp_id()] = mass[0];
      shared->count[lane_id() / lanes][warp_id()] = count[0];
    }
    sync_threads();
    if (threadIdx.x < fan) {
      uint64_t all_mass = 0;
      int all_count = 0;
      for (int w = 0; w < warps; ++w) {
        all_mass += shared->mass[threadIdx.x][w];
        all_count += shared->count[threadIdx.x][w];
      }
      shared->total.mass[threadIdx.x] = all_mass;
      shared->total.count[threadIdx.x] = all_count;
    }
    sync_threads();
    return shared->total;
  }

  // The first token at which the amount reaches `wanted` (from 1 to the amount of all): its
  // interval, and the mass down to and with it. `top` is all() and `sums` its eighths.
  template <bool by_count>
  __device__ __forceinline__ uint64_t reach(interval& i, const eighths& top,
                                            uint64_t wanted) const {
    eighths sums = top;
    uint64_t mass = 0, seen = 0;
    while (true) {
      int eighth = 0;
      bool found = false;
      uint64_t range_mass = 0;
      int range_count = 0;
      GRAFT_UNROLL
      for (int e = 0; e < fan; ++e) {
        const uint64_t amount = by_count ? static_cast<uint64_t>(sums.count[e]) : sums.mass[e];
        if (found) continue;
        if (seen + amount >= wanted) {
          found = true;
          eighth = e;
          range_mass = sums.mass[e];
          range_count = sums.count[e];
        } else {
          seen += amount;
          mass += sums.mass[e];
        }
      }
      i.low += static_cast<uint64_t>(eighth) << i.shift;
      const uint64_t end = i.low + ((uint64_t{1} << i.shift) - 1);
      i.high = end < i.high ? end : i.high;
      if (range_count <= 1) return mass + range_mass;
      i.shift = i.shift > fan_bits ? i.shift - fan_bits : 0;
      sums = add(i);
    }
  }

  // The one token with a mass in the interval.
  __device__ __forceinline__ int token_in(const interval& i) const {
    for (int v = static_cast<int>(threadIdx.x); v < vocabulary; v += threads)
      if (rank_key(v) - i.low <= i.high - i.low && mass_of(v) > 0) shared->token = v;
    sync_threads();
    return shared->token;
  }
};

// The row after penalty and temperature. False where nothing can be drawn.
template <typename T>
GRAFT_DEVICE bool prepare(const sample_params<T>& p, int64_t b, float* row) {
  const T* x = p.logits + b * p.row_stride;
  const auto cooled = [&](float logit) {
    return p.temperature == 0.0f || p.temperature == 1.0f ? logit : logit / p.temperature;
  };
  const float infinity = float_from_bits(0x7F800000u);
  bool bad = false, some = false;
  for (int v = static_cast<int>(threadIdx.x); v < p.vocabulary; v += threads) {
    const float logit = value_of(load_readonly(x + v));
    bad |= !(logit < infinity);
    some |= logit > -infinity;
    row[v] = cooled(logit);
  }
  bad = sync_threads_or(bad);
  some = sync_threads_or(some);
  if (p.history != nullptr && p.repetition_penalty != 1.0f) {
    const int32_t* history = p.history + b * p.history_stride;
    for (int64_t i = threadIdx.x; i < p.history_counts[b] && i < p.history_stride; i += threads) {
      const int32_t token = history[i];
      if (token < 0 || token >= p.vocabulary) continue;
      const float logit = value_of(x[token]);
      row[token] =
          cooled(logit > 0.0f ? logit / p.repetition_penalty : logit * p.repetition_penalty);
    }
    sync_threads();
  }
  return some && !bad;
}

template <typename T>
GRAFT_DEVICE int32_t draw(const sample_params<T>& p, int64_t b, uint64_t key, row_search& search) {
  const uint64_t low = search.lowest();
  const auto best = static_cast<int32_t>(low & ((uint64_t{1} << p.id_bits) - 1));
  if (p.temperature == 0.0f) return best;
  search.largest = search.logits[best];
  const interval all = search.all(low);
  const eighths top = search.add(all);
  uint64_t mass = 0;
  int64_t count = 0;
  GRAFT_UNROLL
  for (int e = 0; e < fan; ++e) {
    mass += top.mass[e];
    count += top.count[e];
  }
  // The largest has grown to +inf or -inf on the way.
  if (mass == 0) return best;
  if (p.top_k > 0 && p.top_k < count) {
    interval i = all;
    mass = search.template reach<true>(i, top, static_cast<uint64_t>(p.top_k));
  }
  if (p.top_p < 1.0f) {
    const double share = static_cast<double>(p.top_p) * static_cast<double>(mass);
    auto wanted = static_cast<uint64_t>(share);
    if (static_cast<double>(wanted) < share) ++wanted;
    wanted = wanted < 1 ? 1 : wanted < mass ? wanted : mass;
    interval i = all;
    mass = search.template reach<false>(i, top, wanted);
  }
  // The first whose cumulative mass passes u mass, u = n 2^-24; exactly, in two products.
  const uint64_t n = philox(key, static_cast<uint32_t>(b), 0, 0, 0).w[0] >> 8;
  const uint64_t passed = n * (mass >> 24) + ((n * (mass & 0xFFFFFFu)) >> 24);
  interval i = all;
  search.template reach<false>(i, top, passed + 1);
  return search.token_in(i);
}

template <typename T>
__global__ void __launch_bounds__(threads) sample_kernel(sample_params<T> p) {
  auto* shared = shared_memory<shared_state>();
  float* row = p.rows == nullptr ? reinterpret_cast<float*>(shared + 1)
                                 : p.rows + int64_t{blockIdx.x} * p.vocabulary;
  const uint64_t key = stream_key(p.step->inputs.seed, p.step->inputs.step, p.op_id);
  for (int64_t b = blockIdx.x; b < p.batch; b += gridDim.x) {
    row_search search = {row, shared, p.vocabulary, p.id_bits, 0.0f};
    const int32_t token = prepare(p, b, row) ? draw(p, b, key, search) : -1;
    if (threadIdx.x == 0) p.next[b] = token;
    sync_threads();
  }
}

bool row_fits(const cuda_context& context, int64_t vocabulary) {
  return static_cast<int64_t>(sizeof(shared_state)) + 4 * vocabulary <= context.shared_bytes;
}
int64_t blocks_of(const cuda_context& context, int64_t batch) {
  return std::min<int64_t>(batch, 2 * context.multiprocessors);
}

template <typename T>
cudaError_t launch_sample(const cuda_context& context, const graft_sample_args& a) {
  const bool fits = row_fits(context, a.vocabulary);
  sample_params<T> p = {};
  p.logits = static_cast<const T*>(a.logits);
  p.history = a.history;
  p.history_counts = a.history_counts;
  p.next = a.next;
  p.rows = fits ? nullptr : static_cast<float*>(a.workspace);
  p.step = context.step;
  p.batch = a.batch;
  p.row_stride = stride_or(a.row_stride, a.vocabulary);
  p.history_stride = a.history_stride;
  p.top_k = a.top_k;
  p.vocabulary = static_cast<int>(a.vocabulary);
  while ((int64_t{1} << p.id_bits) < a.vocabulary) ++p.id_bits;
  p.temperature = a.temperature;
  p.top_p = a.top_p;
  p.repetition_penalty = a.repetition_penalty;
  p.op_id = a.op_id;
  const size_t bytes =
      sizeof(shared_state) + (fits ? static_cast<size_t>(a.vocabulary) * sizeof(float) : 0);
  return launch(sample_kernel<T>,
                {dim3(static_cast<unsigned>(blocks_of(context, a.batch))), threads, bytes,
                 context.stream},
                p);
}

}  // namespace

int sample_workspace(const cuda_context& context, const graft_sample_args& args, int64_t* bytes) {
  const char* op = "sample_workspace";
  GRAFT_TRY(check_range(op, "batch", args.batch, 0));
  GRAFT_TRY(check_range(op, "vocabulary", args.vocabulary, 1, INT32_MAX));
  *bytes = row_fits(context, args.vocabulary)
               ? 0
               : blocks_of(context, args.batch) * args.vocabulary * int64_t{sizeof(float)};
  return GRAFT_OK;
}

int sample(cuda_context& context, const graft_sample_args& args) {
  const char* op = "sample";
  int64_t bytes = 0;
  GRAFT_TRY(sample_workspace(context, args, &bytes));
  GRAFT_TRY(check_workspace(op, args.workspace, args.workspace_bytes, bytes));
  if (args.batch == 0) return GRAFT_OK;
  return check(context, op,
               args.dtype == GRAFT_BFLOAT16 ? launch_sample<uint16_t>(context, args)
                                            : launch_sample<float>(context, args));
}

}  // namespace graft::cuda
