// What AdamW and LAMB share: a block's arrays, 128-bit words over them, and the bias corrections.
#pragma once

#include "parameter_set.h"

namespace graft::cuda {

constexpr int optimizer_threads = 256;

// base^exponent by squaring; its error, some ulp of a double, is nothing beside the float it
// becomes.
GRAFT_DEVICE double power(double base, int64_t exponent) {
  double result = 1.0;
  for (; exponent > 0; exponent >>= 1) {
    if ((exponent & 1) != 0) result *= base;
    base *= base;
  }
  return result;
}

struct block_arrays {
  float* grad;
  float* weight;
  uint16_t* weight16;
  float* m;
  float* v;
  int count;
};

// Elements before the first 128-bit word, if one offset suits all arrays; else all of them.
GRAFT_DEVICE int head_of(const block_arrays& a) {
  const auto offset = [](const float* x) { return (reinterpret_cast<uintptr_t>(x) & 15) / 4; };
  const unsigned first = static_cast<unsigned>(offset(a.grad));
  const int head = static_cast<int>((4 - first) & 3);
  const bool suits =
      offset(a.weight) == first && offset(a.m) == first && offset(a.v) == first &&
      (a.weight16 == nullptr || (reinterpret_cast<uintptr_t>(a.weight16 + head) & 7) == 0);
  return suits && head < a.count ? head : a.count;
}

GRAFT_DEVICE block_arrays arrays_of(const graft_parameter& p, const parameter_block& block) {
  return {p.grad + block.begin,
          p.weight + block.begin,
          p.weight16 == nullptr ? nullptr : static_cast<uint16_t*>(p.weight16) + block.begin,
          p.m + block.begin,
          p.v + block.begin,
          static_cast<int>(block.end - block.begin)};
}

// one(i) for each element outside of 128-bit words, four(i) for each word's first element.
template <typename One, typename Four>
GRAFT_DEVICE void over_block(const block_arrays& a, const One& one, const Four& four) {
  const int head = head_of(a);
  const int vectors = (a.count - head) / 4;
  const int self = static_cast<int>(threadIdx.x);
  for (int i = self; i < head; i += optimizer_threads) one(i);
  for (int i = self; i < vectors; i += optimizer_threads) four(head + 4 * i);
  for (int i = head + 4 * vectors + self; i < a.count; i += optimizer_threads) one(i);
}

// Ends a launch of the step: the last of its blocks counts it. Every block has read t before.
GRAFT_DEVICE void count_step(const graft_parameter_set& set, step_state* step, bool skip,
                             int64_t t) {
  sync_threads();
  if (threadIdx.x != 0) return;
  thread_fence();
  if (atomic_add(set.finished, 1) != static_cast<int>(gridDim.x) - 1) return;
  *set.finished = 0;
  if (skip)
    ++step->results.skipped_steps;
  else
    step->results.adam_t = t;
}

}  // namespace graft::cuda
