// What the backward passes share.
#pragma once

#include "attention_tiles.h"

namespace graft::GRAFT_ISA {

// One sequence and head.
struct head_work {
  sequence s;
  int64_t b, h;
};

// The first query that sees key j or a later one.
static inline int64_t first_query(const graft_attention_args& a, const sequence& s, int64_t j) {
  return a.causal ? within(j - (s.k_count - s.q_count), 0, s.q_count) : 0;
}

// delta = rowsum(dO * O) of queries from..q_count.
template <typename T>
static inline void sum_delta(const graft_attention_args& a, const head_work& w, int64_t from,
                             float* delta) {
  const int64_t d = a.head_dim;
  for (int64_t i = from; i < w.s.q_count; ++i) {
    const int64_t token = w.s.q_begin + i;
    const T* out = static_cast<const T*>(a.out) + token * a.out_token_stride + w.h * d;
    const T* dout = static_cast<const T*>(a.dout) + token * a.dout_token_stride + w.h * d;
    vf sum = zero();
    for_lanes(0, d, [&](int64_t c, auto lanes) {
      sum = fma(load(out + c, lanes), load(dout + c, lanes), sum);
    });
    delta[i] = sum_lanes(sum);
  }
}

// A row all of whose keys are here is normalised anew (the stored log-sum-exp carries a rounding of its own
// magnitude) and delta taken from the very dP it will cancel against. Leaves exponentials and masked dP of
// the `live` keys in the places of scores and dP; P is an exponential times the inverse.
struct whole_row {
  float inverse, delta;
};
template <typename Exponential, typename Mask>
static inline whole_row normalise(float* scores, float* dscores, int64_t live,
                                  const Exponential& exponential, const Mask& masked) {
  vf sum = zero(), dot = zero();
  for_lanes(0, live, [&](int64_t j, auto lanes) {
    const vf p = or_else(exponential(load(scores + j)), zero(), lanes);
    const vf dp = or_else(masked(load(dscores + j), j), zero(), lanes);
    store(scores + j, p);
    store(dscores + j, dp);
    sum += p;
    dot = fma(p, dp, dot);
  });
  const float inverse = live == 0 ? 0.0f : 1.0f / sum_lanes(sum);
  return {inverse, sum_lanes(dot) * inverse};
}

}  // namespace graft::GRAFT_ISA
