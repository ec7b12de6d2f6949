// Draws the next token of each sequence: repetition penalty (Keskar et al., arXiv:1909.05858, 4.1),
// temperature, top-k, top-p (Holtzman et al., arXiv:1904.09751, 3.1), inverse of the cumulative
// distribution in falling order of probability, ties by rising id. temperature 0: the arg max.
//
// The order of 50 000 tokens is not needed to draw one. Logits become 32-bit keys that sort as they
// do; a histogram over the keys' upper 11 bits tells how far down the draw can reach, only the tokens
// above are collected and sorted (by radix, whose ties stay in order of id).
//
//   name            dtype  shape               stride          aligned to  in/out
//   logits          T      [B, V]              row_stride      element     in
//   history         i32    [B, history_stride] history_stride  element     in, optional
//   history_counts  i32    [B]                                 element     in, with history
//   next            i32    [B]                                 element     out
#include <math.h>

#include "../common/check.h"
#include "functions.h"
#include "lanes.h"
#include "parallel.h"
#include "philox.h"

namespace graft::GRAFT_ISA {
namespace {

constexpr int digit_bits = 11;
constexpr int digits = 1 << digit_bits;

struct candidate {
  uint32_t key;  // rising as the logit falls
  int32_t token;
};

// What one row needs; rows of a thread use it one after the other.
struct scratch {
  float* logits;      // [V] after penalty and temperature
  float* weights;     // [V] e^(logit - max)
  candidate* first;   // [V]
  candidate* second;  // [V]
};
constexpr int64_t scratch_elements_bytes = 2 * sizeof(float) + 2 * sizeof(candidate);

int64_t slots_of(const cpu_context& context, int64_t batch) {
  return at_least(1, at_most(context.threads, batch));
}
int64_t slot_bytes(int64_t vocabulary) {
  return ceil_div(vocabulary, 16) * 16 * scratch_elements_bytes;
}

// Falling logits have rising keys; +0 and -0 are one.
uint32_t key_of(float x) {
  x += 0.0f;
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return (bits >> 31) != 0 ? bits : ~(bits | 0x80000000u);
}

// Stable, by rising key. Returns where the result lies (one of the two arrays).
candidate* sort(candidate* from, candidate* to, int64_t count) {
  if (count <= 48) {
    for (int64_t i = 1; i < count; ++i) {
      const candidate x = from[i];
      int64_t j = i;
      for (; j > 0 && from[j - 1].key > x.key; --j) from[j] = from[j - 1];
      from[j] = x;
    }
    return from;
  }
  for (int shift = 0; shift < 32; shift += digit_bits) {
    int32_t places[digits] = {};
    for (int64_t i = 0; i < count; ++i) ++places[(from[i].key >> shift) & (digits - 1)];
    int32_t place = 0;
    for (int32_t& p : places) {
      const int32_t next = place + p;
      p = place;
      place = next;
    }
    for (int64_t i = 0; i < count; ++i) to[places[(from[i].key >> shift) & (digits - 1)]++] = from[i];
    candidate* swapped = from;
    from = to;
    to = swapped;
  }
  return from;
}

// Tokens whose key's upper digit is at most `last`, in order of id.
int64_t collect(const float* logits, int64_t vocabulary, uint32_t last, candidate* to) {
  int64_t count = 0;
  for (int64_t v = 0; v < vocabulary; ++v) {
    const uint32_t key = key_of(logits[v]);
    if (key >> (32 - digit_bits) <= last) to[count++] = {key, static_cast<int32_t>(v)};
  }
  return count;
}

// The first digit down to which at least `wanted` tokens lie.
uint32_t digit_of_count(const float* logits, int64_t vocabulary, int64_t wanted) {
  int32_t counts[digits] = {};
  for (int64_t v = 0; v < vocabulary; ++v) ++counts[key_of(logits[v]) >> (32 - digit_bits)];
  int64_t seen = 0;
  for (uint32_t digit = 0; digit < digits; ++digit) {
    seen += counts[digit];
    if (seen >= wanted) return digit;
  }
  return digits - 1;
}

// The first digit down to which the weights reach `wanted`, with room for sums taken in another order.
uint32_t digit_of_mass(const float* logits, const float* weights, int64_t vocabulary,
                       double wanted) {
  double masses[digits] = {};
  for (int64_t v = 0; v < vocabulary; ++v)
    masses[key_of(logits[v]) >> (32 - digit_bits)] += static_cast<double>(weights[v]);
  double seen = 0.0;
  for (uint32_t digit = 0; digit < digits; ++digit) {
    seen += masses[digit];
    if (seen > wanted * (1.0 + 1e-9)) return digit;
  }
  return digits - 1;
}

// The token at which the cumulative weight passes `wanted`; the last with weight if rounding keeps
// the sum below.
int64_t reach(const candidate* tokens, const float* weights, int64_t count, double wanted,
              double* reached, bool or_equal) {
  double seen = 0.0;
  int64_t last = 0;
  for (int64_t i = 0; i < count; ++i) {
    const float weight = weights[tokens[i].token];
    if (weight > 0.0f) last = i;
    seen += static_cast<double>(weight);
    if (seen > wanted || (or_equal && seen >= wanted)) {
      *reached = seen;
      return i;
    }
  }
  *reached = seen;
  return last;
}

int32_t draw(const graft_sample_args& args, const scratch& s, float largest, double u) {
  const int64_t vocabulary = args.vocabulary;
  vf lanes_total = zero();
  double total = 0.0;
  const vf top = splat(largest);
  for (int64_t begin = 0; begin < vocabulary; begin += 1024) {
    lanes_total = zero();
    for_lanes(begin, at_most(begin + 1024, vocabulary), [&](int64_t v, auto lanes) GRAFT_INLINE {
      const vf t = (load(s.logits + v, lanes) - top) * splat(log2_e);
      const vf weight = exp2_low<6>(t);
      store(s.weights + v, weight, lanes);
      lanes_total += or_else(weight, zero(), lanes);
    });
    total += static_cast<double>(sum_lanes(lanes_total));
  }
  candidate* sorted;
  int64_t count;
  double mass = total;
  if (args.top_k > 0 && args.top_k < vocabulary) {
    count = collect(s.logits, vocabulary, digit_of_count(s.logits, vocabulary, args.top_k), s.first);
    sorted = sort(s.first, s.second, count);
    count = args.top_k;
    mass = 0.0;
    for (int64_t i = 0; i < count; ++i) mass += static_cast<double>(s.weights[sorted[i].token]);
  } else {
    const double wanted = (args.top_p < 1.0f ? static_cast<double>(args.top_p) : u) * total;
    count = collect(s.logits, vocabulary, digit_of_mass(s.logits, s.weights, vocabulary, wanted),
                    s.first);
    sorted = sort(s.first, s.second, count);
  }
  if (args.top_p < 1.0f) {
    double kept = 0.0;
    count = reach(sorted, s.weights, count, args.top_p * mass, &kept, true) + 1;
    mass = kept;
  }
  double reached = 0.0;
  return sorted[reach(sorted, s.weights, count, u * mass, &reached, false)].token;
}

template <typename T>
void sample_row(const graft_sample_args& args, uint64_t key, int64_t b, const scratch& s) {
  const int64_t vocabulary = args.vocabulary;
  const T* x = static_cast<const T*>(args.logits) + b * stride_or(args.row_stride, vocabulary);
  for_lanes(0, vocabulary, [&](int64_t v, auto lanes) GRAFT_INLINE {
    store(s.logits + v, load(x + v, lanes), lanes);
  });
  if (args.history != nullptr && args.repetition_penalty != 1.0f) {
    const int32_t* history = args.history + b * args.history_stride;
    for (int64_t i = 0; i < args.history_counts[b]; ++i) {
      const float logit = to_float(x[history[i]]);
      s.logits[history[i]] =
          logit > 0.0f ? logit / args.repetition_penalty : logit * args.repetition_penalty;
    }
  }
  int32_t best = 0;
  for (int64_t v = 1; v < vocabulary; ++v)
    if (s.logits[v] > s.logits[best]) best = static_cast<int32_t>(v);
  if (args.temperature == 0.0f) {
    args.next[b] = best;
    return;
  }
  const vf temperature = splat(args.temperature);
  for_lanes(0, vocabulary, [&](int64_t v, auto lanes) GRAFT_INLINE {
    store(s.logits + v, load(s.logits + v, lanes) / temperature, lanes);
  });
  const philox_words words = philox(key, static_cast<uint32_t>(b), 0, 0, 0);
  const double u = (words.w[0] >> 8) * 0x1p-24;
  args.next[b] = draw(args, s, s.logits[best], u);
}

// Largest logit of a row must be a number, and no logit NaN: nothing can be drawn otherwise.
template <typename T>
int check_logits(const graft_sample_args& args) {
  for (int64_t b = 0; b < args.batch; ++b) {
    const T* x = static_cast<const T*>(args.logits) + b * stride_or(args.row_stride, args.vocabulary);
    vf top = splat(-INFINITY);
    vi not_numbers{};
    for_lanes(0, args.vocabulary, [&](int64_t v, auto lanes) GRAFT_INLINE {
      const vf y = or_else(load(x + v, lanes), splat(-INFINITY), lanes);
      not_numbers |= y != y;
      top = max(y, top);
    });
    bool bad = !__builtin_isfinite(max_lanes(top));
    for (int lane = 0; lane < W; ++lane) bad |= not_numbers[lane] != 0;
    if (bad)
      return fail(GRAFT_INVALID_SHAPE,
                  "sample: logits: expected no NaN, no +inf and one number at least, got none such in "
                  "row %lld",
                  static_cast<long long>(b));
  }
  return GRAFT_OK;
}

int check_history(const graft_sample_args& args) {
  if (args.history == nullptr) return GRAFT_OK;
  for (int64_t b = 0; b < args.batch; ++b) {
    const int32_t count = args.history_counts[b];
    if (count < 0 || count > args.history_stride)
      return fail(GRAFT_INVALID_SHAPE,
                  "sample: history_counts: expected 0..%lld (history_stride), got %d in row %lld",
                  static_cast<long long>(args.history_stride), count, static_cast<long long>(b));
    for (int64_t i = 0; i < count; ++i) {
      const int32_t token = args.history[b * args.history_stride + i];
      if (token < 0 || token >= args.vocabulary)
        return fail(GRAFT_INVALID_SHAPE,
                    "sample: history: expected 0..%lld, got %d in row %lld, place %lld",
                    static_cast<long long>(args.vocabulary - 1), token, static_cast<long long>(b),
                    static_cast<long long>(i));
    }
  }
  return GRAFT_OK;
}

template <typename T>
int run(const cpu_context& context, const graft_sample_args& args) {
  GRAFT_TRY(check_history(args));
  GRAFT_TRY(check_logits<T>(args));
  const int64_t vocabulary = ceil_div(args.vocabulary, 16) * 16;
  const int64_t slots = slots_of(context, args.batch);
  const uint64_t key = stream_key(context, args.op_id);
  parallel_for(context, slots, args.batch * args.vocabulary, [&](int64_t slot) {
    auto* own = static_cast<uint8_t*>(args.workspace) + slot * slot_bytes(args.vocabulary);
    auto* logits = reinterpret_cast<float*>(own);
    auto* first = reinterpret_cast<candidate*>(logits + 2 * vocabulary);
    const scratch s = {logits, logits + vocabulary, first, first + vocabulary};
    for (int64_t b = slot * args.batch / slots; b < (slot + 1) * args.batch / slots; ++b)
      sample_row<T>(args, key, b, s);
  });
  return GRAFT_OK;
}

}  // namespace

int sample_workspace(const cpu_context& context, const graft_sample_args& args, int64_t* bytes) {
  const char* op = "sample_workspace";
  GRAFT_TRY(check_range(op, "batch", args.batch, 0));
  GRAFT_TRY(check_range(op, "vocabulary", args.vocabulary, 1, INT32_MAX));
  *bytes = slots_of(context, args.batch) * slot_bytes(args.vocabulary);
  return GRAFT_OK;
}

int sample(cpu_context& context, const graft_sample_args& args) {
  int64_t bytes = 0;
  GRAFT_TRY(sample_workspace(context, args, &bytes));
  GRAFT_TRY(check_workspace("sample", args.workspace, args.workspace_bytes, bytes));
  return args.dtype == GRAFT_BFLOAT16 ? run<bf16>(context, args) : run<float>(context, args);
}

}  // namespace graft::GRAFT_ISA
