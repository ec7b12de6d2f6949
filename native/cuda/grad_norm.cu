// Global gradient norm: grad_norm = sqrt(sum g^2) over all parameters that are not frozen,
// clip_coefficient = min(1, max_norm / grad_norm) (Pascanu et al. 2013, arXiv:1211.5063, algorithm
// 1). Squares and sums are in double, so no float32 gradient overflows or underflows. Each block of
// optimizer_block elements has its own sum, in an order that only its alignment and size decide;
// the last block to finish adds these in order. No float atomics: the same gradients give the same
// bits.
//
//   name          dtype  shape     in/out
//   grad          f32    [count]   in (of each parameter), aligned to the element
//   step results  grad_norm, clip_coefficient, skip   out
#include "parameter_set.h"
#include "reduce.h"

namespace graft::cuda {
namespace {

constexpr int threads = 256;

struct shared_state {
  double warps[threads / warp_size];
  int is_last;
};

GRAFT_DEVICE double square(double sum, float x) {
  return fma_rn(static_cast<double>(x), static_cast<double>(x), sum);
}

// This thread's part of the sum of squares of g[0..count).
GRAFT_DEVICE double squares(const float* g, int count) {
  const int self = static_cast<int>(threadIdx.x);
  int head = static_cast<int>((4 - (reinterpret_cast<uintptr_t>(g) & 15) / 4) & 3);
  if (head > count) head = count;
  const int vectors = (count - head) / 4;
  double x = 0.0, y = 0.0, z = 0.0, w = 0.0;
  for (int i = self; i < vectors; i += threads) {
    const float4 four = load(reinterpret_cast<const float4*>(g + head) + i);
    x = square(x, four.x);
    y = square(y, four.y);
    z = square(z, four.z);
    w = square(w, four.w);
  }
  double sum = (x + y) + (z + w);
  if (self < head) sum = square(sum, g[self]);
  const int tail = head + 4 * vectors + self;
  if (tail < count) sum = square(sum, g[tail]);
  return sum;
}

__global__ void __launch_bounds__(threads)
    grad_norm_kernel(graft_parameter_set set, step_state* step, float max_norm) {
  auto* shared = shared_memory<shared_state>();
  double sum = 0.0;
  if (blockIdx.x < set.block_count) {
    const parameter_block block = set.blocks[blockIdx.x];
    const graft_parameter& p = set.parameters[block.parameter];
    if (p.lr_scale != 0.0f)
      sum = squares(p.grad + block.begin, static_cast<int>(block.end - block.begin));
  }
  sum = block_sum<threads>(sum, shared->warps);
  if (threadIdx.x == 0) {
    if (blockIdx.x < set.block_count) set.partial_sums[blockIdx.x] = sum;
    thread_fence();
    shared->is_last = atomic_add(set.finished, 1) == static_cast<int>(gridDim.x) - 1;
  }
  sync_threads();
  if (shared->is_last == 0) return;

  thread_fence();
  double total = 0.0;
  for (int64_t i = threadIdx.x; i < set.block_count; i += threads)
    total += load_l2(set.partial_sums + i);
  total = block_sum<threads>(total, shared->warps);
  if (threadIdx.x != 0) return;
  *set.finished = 0;
  const double norm = sqrt_exact(total);
  graft_step_results& results = step->results;
  results.grad_norm = static_cast<float>(norm);
  // Infinity and NaN have all exponent bits set.
  const uint32_t exponent = bits_from_float(results.grad_norm) & 0x7F800000u;
  results.skip = exponent == 0x7F800000u ? 1 : 0;
  results.clip_coefficient =
      max_norm > 0.0f && max_norm < norm ? static_cast<float>(max_norm / norm) : 1.0f;
}

}  // namespace

int grad_norm(cuda_context& context, const graft_grad_norm_args& args) {
  const graft_parameter_set& set = *args.parameters;
  const auto blocks = static_cast<unsigned>(set.block_count > 0 ? set.block_count : 1);
  return check(
      context, "grad_norm",
      launch(grad_norm_kernel, {dim3(blocks), threads, sizeof(shared_state), context.stream}, set,
             context.step, args.max_norm));
}

}  // namespace graft::cuda
