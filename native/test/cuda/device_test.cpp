// The emulated device layer against plain loops, and that it finds what it promises to find.
#include "../../cuda/device.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "../support.h"

using namespace graft::cuda;
namespace emulation = graft::emulation;

namespace {

template <typename T>
T* device_array(size_t count) {
  void* address = nullptr;
  EXPECT_EQ(cudaSuccess, cudaMalloc(&address, count * sizeof(T)));
  return static_cast<T*>(address);
}

template <typename... P>
void run(void (*kernel)(P...), const launch_shape& shape, std::type_identity_t<P>... arguments) {
  ASSERT_EQ(cudaSuccess, launch(kernel, shape, arguments...));
  ASSERT_EQ(cudaSuccess, cudaStreamSynchronize(nullptr)) << emulation::fault_text();
}

template <typename... P>
void expect_fault(const std::string& text, void (*kernel)(P...), const launch_shape& shape,
                  std::type_identity_t<P>... arguments) {
  ASSERT_EQ(cudaSuccess, launch(kernel, shape, arguments...));
  EXPECT_EQ(cudaErrorLaunchFailure, cudaStreamSynchronize(nullptr));
  EXPECT_NE(std::string::npos, emulation::fault_text().find(text)) << emulation::fault_text();
  EXPECT_EQ(cudaErrorLaunchFailure, cudaStreamSynchronize(nullptr)) << "a fault is sticky";
  emulation::reset();
}

__global__ void block_sums(const int* in, int* out) {
  int* sums = shared_memory<int>();
  int x = in[blockIdx.x * blockDim.x + threadIdx.x];
  for (int step = 16; step > 0; step /= 2) x += shuffle_xor(x, step);
  if (lane_id() == 0) sums[warp_id()] = x;
  sync_threads();
  if (threadIdx.x == 0) {
    int total = 0;
    for (unsigned w = 0; w < blockDim.x / 32; ++w) total += sums[w];
    out[blockIdx.x] = total;
  }
}

TEST(Device, ShuffleAndBarrierSumABlock) {
  constexpr int blocks = 7, threads = 128;
  int* in = device_array<int>(blocks * threads);
  int* out = device_array<int>(blocks);
  for (int i = 0; i < blocks * threads; ++i) in[i] = i * i % 1013;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    emulation::set_seed(seed);
    run(block_sums, {dim3(blocks), threads, 4 * sizeof(int), nullptr}, in, out);
    for (int b = 0; b < blocks; ++b) {
      int sum = 0;
      for (int i = 0; i < threads; ++i) sum += in[b * threads + i];
      ASSERT_EQ(sum, out[b]) << "seed " << seed;
    }
  }
  cudaFree(in);
  cudaFree(out);
}

// Round r: only thread r % 97 votes, in every third round nobody.
__global__ void block_votes(int* wrong) {
  for (int r = 0; r < 60; ++r) {
    const bool vote = r % 3 != 0 && static_cast<int>(threadIdx.x) == r % 97;
    if (sync_threads_or(vote) != (r % 3 != 0)) wrong[threadIdx.x] = r + 1;
  }
}

TEST(Device, BarrierTellsEveryThreadOfOneVote) {
  constexpr int threads = 128;
  int* wrong = device_array<int>(threads);
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    emulation::set_seed(seed);
    std::fill_n(wrong, threads, 0);
    run(block_votes, {dim3(1), threads, 0, nullptr}, wrong);
    for (int i = 0; i < threads; ++i) ASSERT_EQ(0, wrong[i]) << "thread " << i;
  }
  cudaFree(wrong);
}

}  // namespace
