// The emulated device layer: that it computes what the hardware computes, and that it finds what it
// promises to find. Oracles are plain loops.
#include <array>
#include <cmath>
#include <set>

#include "../support.h"
#include "emulation_support.h"

using namespace graft::cuda;
using namespace graft_test;

// ---- meeting points

__global__ void shuffles(int* out) {
  const int lane = lane_id();
  out[lane] = shuffle_xor(lane * 10, 5);
  out[32 + lane] = shuffle_down(lane * 10, 3);
  out[64 + lane] = shuffle_up(lane * 10, 3);
  out[96 + lane] = shuffle(lane * 10, (lane * 7) % 32);
  out[128 + lane] = static_cast<int>(shuffle_xor(int64_t{1} << lane, 1) >> 1);
  const uint32_t half = lane < 16 ? 0xFFFFu : 0xFFFF0000u;
  out[160 + lane] = shuffle_xor(lane, 8, half);
  out[192 + lane] = static_cast<int>(warp_ballot(lane % 3 == 0));
  out[224 + lane] = warp_any(lane == 9) * 2 + warp_all(lane < 32);
}

TEST(Device, shufflesAndVotes) {
  buffer<int> out(256);
  with_seeds([&] {
    run(shuffles, blocks_of(32), out);
    for (int lane = 0; lane < 32; ++lane) {
      EXPECT_EQ((lane ^ 5) * 10, out[lane]);
      EXPECT_EQ((lane + 3 > 31 ? lane : lane + 3) * 10, out[32 + lane]);
      EXPECT_EQ((lane < 3 ? lane : lane - 3) * 10, out[64 + lane]);
      EXPECT_EQ((lane * 7) % 32 * 10, out[96 + lane]);
      EXPECT_EQ(static_cast<int>((int64_t{1} << (lane ^ 1)) >> 1), out[128 + lane]);
      EXPECT_EQ(lane ^ 8, out[160 + lane]);
      EXPECT_EQ(static_cast<int>(0x49249249u), out[192 + lane]);
      EXPECT_EQ(3, out[224 + lane]);
    }
  });
}

template <bool synchronised>
__global__ void block_sums(const int* in, int* out) {
  int* sums = shared_memory<int>();
  int x = in[blockIdx.x * blockDim.x + threadIdx.x];
  for (int step = 16; step > 0; step /= 2) x += shuffle_xor(x, step);
  if (lane_id() == 0) sums[warp_id()] = x;
  if (synchronised) sync_threads();
  if (threadIdx.x == 0) {
    int total = 0;
    for (unsigned w = 0; w < blockDim.x / 32; ++w) total += sums[w];
    out[blockIdx.x] = total;
  }
}

TEST(Device, aMissingBarrierShowsUnderSomeOrder) {
  constexpr int blocks = 7, threads = 128;
  std::vector<int> values(blocks * threads);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<int>(i * i % 1013);
  buffer<int> in(values), out(blocks);
  int wrong = 0;
  for (const bool synchronised : {true, false})
    with_seeds([&] {
      run(synchronised ? block_sums<true> : block_sums<false>,
          blocks_of(threads, 4 * sizeof(int), blocks), in, out);
      for (int b = 0; b < blocks; ++b) {
        int sum = 0;
        for (int i = 0; i < threads; ++i) sum += values[static_cast<size_t>(b * threads + i)];
        if (synchronised)
          ASSERT_EQ(sum, out[b]);
        else
          wrong += sum != out[b];
      }
    });
  EXPECT_GT(wrong, 50);
}

// The first warp hands numbers to the second through a two-place queue of named barriers.
__global__ void produce_consume(int* out, int count) {
  int* places = shared_memory<int>();
  for (int i = 0; i < count; ++i) {
    const int place = i % 2;
    if (warp_id() == 0) {
      if (i >= 2) barrier_sync(3 + place, 64);  // it is empty again
      places[32 * place + lane_id()] = i * 100 + lane_id();
      thread_fence_block();
      barrier_arrive(1 + place, 64);  // it is full
    } else {
      barrier_sync(1 + place, 64);
      out[32 * i + lane_id()] = places[32 * place + (lane_id() + 1) % 32];
      if (i + 2 < count) barrier_arrive(3 + place, 64);
    }
  }
}

TEST(Device, namedBarriersHandOver) {
  constexpr int count = 9;
  buffer<int> out(32 * count);
  with_seeds([&] {
    run(produce_consume, blocks_of(64, 64 * sizeof(int)), out, count);
    for (int i = 0; i < count; ++i)
      for (int lane = 0; lane < 32; ++lane)
        ASSERT_EQ(i * 100 + (lane + 1) % 32, out[32 * i + lane]);
  });
}

__global__ void last_block(int* finished, int* order, int* parts, int* total) {
  if (threadIdx.x != 0) return;
  parts[blockIdx.x] = static_cast<int>(blockIdx.x) + 1;
  thread_fence();
  const int place = atomic_add(finished, 1);
  order[place] = static_cast<int>(blockIdx.x);
  if (place != static_cast<int>(gridDim.x) - 1) return;
  int sum = 0;
  for (unsigned b = 0; b < gridDim.x; ++b) sum += load_l2(parts + b);
  *total = sum;
  atomic_exchange(finished, 0);
}

TEST(Device, blocksRunInAnyOrder) {
  constexpr unsigned blocks = 10;
  buffer<int> finished(std::vector<int>{0}), order(blocks), parts(blocks), total(1);
  std::set<std::vector<int>> orders;
  with_seeds([&] {
    run(last_block, blocks_of(32, 0, blocks), finished, order, parts, total);
    EXPECT_EQ(55, *total);
    EXPECT_EQ(0, *finished);
    orders.insert(std::vector<int>(&order[0], &order[0] + blocks));
  });
  EXPECT_GT(orders.size(), 5u);
}

__global__ void half_warp_shuffles(int* out) {
  if (lane_id() < 16) out[lane_id()] = shuffle_xor(1, 1);
}
__global__ void two_places(int* out) {
  if (lane_id() < 16)
    out[lane_id()] = shuffle_xor(1, 1);
  else
    out[lane_id()] = shuffle_xor(2, 1);
}
__global__ void shuffle_beside_barrier(int* out) {
  if (lane_id() < 16)
    out[lane_id()] = shuffle_xor(1, 1);
  else
    sync_threads();
}
__global__ void reads_outside_the_mask(int* out) {
  if (lane_id() < 16) out[lane_id()] = shuffle(lane_id(), 20, 0xFFFFu);
}
__global__ void is_not_in_its_mask(int* out) { out[lane_id()] = shuffle_xor(1, 1, 0xFFFFu); }
__global__ void one_warp_leaves() {
  if (warp_id() == 0) return;
  sync_threads();
}
__global__ void two_barriers() {
  if (warp_id() == 0)
    sync_threads();
  else
    sync_threads();
}

TEST(Device, findsDivergence) {
  buffer<int> out(32);
  with_seeds([&] {
    expect_fault({"device_test.cpp", "divergence", "shuffle_xor"}, half_warp_shuffles,
                 blocks_of(32), out);
    expect_fault({"device_test.cpp", "divergence", "shuffle_xor"}, two_places, blocks_of(32), out);
    expect_fault({"divergence", "sync_threads"}, shuffle_beside_barrier, blocks_of(32), out);
    expect_fault({"reads lane 20"}, reads_outside_the_mask, blocks_of(32), out);
    expect_fault({"0000ffff", "does not name it"}, is_not_in_its_mask, blocks_of(32), out);
    expect_fault({"divergence", "returned"}, one_warp_leaves, blocks_of(64));
    expect_fault({"divergence", "sync_threads"}, two_barriers, blocks_of(64));
  });
}

__global__ void waits_for_nobody() {
  if (warp_id() == 0) barrier_sync(5, 64);
}
__global__ void disagrees_about_a_barrier() { barrier_sync(5, warp_id() == 0 ? 64 : 96); }

TEST(Device, findsDeadlock) {
  with_seeds([&] {
    expect_fault({"deadlock", "named barrier", "device_test.cpp"}, waits_for_nobody, blocks_of(64));
    expect_fault({"barrier 5", "96", "64"}, disagrees_about_a_barrier, blocks_of(96));
  });
}

TEST(Device, launchRefusesWhatNoCardTakes) {
  for (const int threads : {0, 33, 1056})
    EXPECT_EQ(cudaErrorInvalidValue, launch(waits_for_nobody, blocks_of(threads)));
  EXPECT_EQ(cudaErrorInvalidValue, launch(waits_for_nobody, blocks_of(32, 228 * 1024)));
  EXPECT_EQ(cudaErrorInvalidValue, launch(waits_for_nobody, blocks_of(32, 0, 0)));
}

// ---- memory

__global__ void reads_fresh_shared_memory(float* out) {
  float* fresh = shared_memory<float>();
  out[threadIdx.x] = fresh[threadIdx.x];
  fresh[threadIdx.x] = 1.0f;
}
__global__ void writes_beyond_shared_memory() { shared_memory<float>()[32 + threadIdx.x] = 1.0f; }
__global__ void wants_more_shared_memory(int* out) {
  struct large {
    int values[100];
  };
  out[0] = shared_memory<large>()->values[0];
}
__global__ void writes_beyond(int* out) { out[threadIdx.x + 1] = 1; }
__global__ void loads_misaligned(const float* in, float* out) {
  out[0] = load(reinterpret_cast<const float4*>(in + 1)).x;
}

TEST(Device, memoryIsPoisonedAndGuarded) {
  buffer<float> out(64), in(64);
  for (int i = 0; i < 2; ++i) {
    run(reads_fresh_shared_memory, blocks_of(32, 128, 2), out);
    for (int k = 0; k < 32; ++k) EXPECT_TRUE(std::isnan(out[k]));
  }
  EXPECT_TRUE(std::isnan(in[63]));
  expect_fault({"beyond the 128 bytes of shared memory"}, writes_beyond_shared_memory,
               blocks_of(32, 128));
  buffer<int> small(32);
  expect_fault({"shared_memory: 400 bytes wanted, 128 launched"}, wants_more_shared_memory,
               blocks_of(32, 128), small);
  expect_fault({"not aligned to 16 bytes"}, loads_misaligned, blocks_of(32), in, out);
  expect_fault({"a write 0 bytes beyond 128 bytes of device memory"}, writes_beyond, blocks_of(32),
               small);
  small[32] = static_cast<int>(0xA5A5A5A5u);  // or its end would find it again
}

// ---- asynchronous copies

// Three stages in flight; what is in shared memory before and after each wait goes out.
__global__ void copies(const float* in, float* before, float* after) {
  float* stages = shared_memory<float>();
  const int self = static_cast<int>(threadIdx.x);
  for (int stage = 0; stage < 3; ++stage) {
    copy_async<16>(stages + 128 * stage + 4 * self, in + 128 * stage + 4 * self,
                   stage == 2 ? 4 * (self % 5) : 16);
    copy_async_commit();
  }
  before[self] = stages[4 * self];
  copy_async_wait<2>();
  sync_threads();
  after[self] = stages[4 * (self ^ 1)];
  before[32 + self] = stages[128 + 4 * self];
  copy_async_wait<1>();
  after[32 + self] = stages[128 + 4 * self];
  before[64 + self] = stages[256 + 4 * self];
  copy_async_wait<0>();
  for (int i = 0; i < 4; ++i) after[64 + 4 * self + i] = stages[256 + 4 * self + i];
}

TEST(Device, copiesLandAtTheirWait) {
  std::vector<float> values(384);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) + 1;
  buffer<float> in(values), before(96), after(192);
  with_seeds([&] {
    run(copies, blocks_of(32, 3 * 512), in, before, after);
    for (int i = 0; i < 96; ++i) EXPECT_TRUE(std::isnan(before[i])) << i;
    for (int i = 0; i < 32; ++i) {
      EXPECT_EQ(in[4 * (i ^ 1)], after[i]);
      EXPECT_EQ(in[128 + 4 * i], after[32 + i]);
      for (int k = 0; k < 4; ++k)
        EXPECT_EQ(k < i % 5 ? in[256 + 4 * i + k] : 0.0f, after[64 + 4 * i + k]) << i << " " << k;
    }
  });
}

__global__ void small_copies(const uint32_t* in, uint32_t* out) {
  uint32_t* to = shared_memory<uint32_t>();
  const int self = static_cast<int>(threadIdx.x);
  copy_async<4>(to + self, in + self + 1);
  copy_async<8>(to + 32 + 2 * self, in + 2 * self);
  copy_async_wait_all();
  sync_threads();
  for (int i = self; i < 96; i += 32) out[i] = to[i];
}

TEST(Device, copiesOfFourAndEightBytes) {
  std::vector<uint32_t> values(96);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<uint32_t>(i * 3);
  buffer<uint32_t> in(values), out(96);
  run(small_copies, blocks_of(32, 384), in, out);
  for (uint32_t i = 0; i < 96; ++i) EXPECT_EQ(i < 32 ? (i + 1) * 3 : (i - 32) * 3, out[i]);
}

__global__ void copies_badly(const float* in, int kind) {
  float* to = shared_memory<float>();
  if (kind == 0) copy_async<16>(to + 1, in);
  if (kind == 1) copy_async<16>(to, in + 1);
  if (kind == 2) copy_async<16>(to + 32, in);
  if (kind == 3) copy_async<16>(to, in + 64);
  if (kind == 4) copy_async<16>(to, in + 64, 0);
  if (kind == 5) copy_async<16>(to, in, 20);
  if (kind == 6) copy_async<16>(to, in);
  if (kind < 6) copy_async_wait_all();
}

TEST(Device, badCopiesAreFaults) {
  buffer<float> in(64);
  const launch_shape shape = blocks_of(32, 128);
  expect_fault({"shared address is not aligned to 16"}, copies_badly, shape, in, 0);
  expect_fault({"global address is not aligned to 16"}, copies_badly, shape, in, 1);
  expect_fault({"128 bytes from the start of shared memory of 128"}, copies_badly, shape, in, 2);
  expect_fault({"16 bytes at", "not in device memory"}, copies_badly, shape, in, 3);
  run(copies_badly, shape, in, 4);  // reads nothing
  expect_fault({"source_bytes: expected 0..16, got 20"}, copies_badly, shape, in, 5);
  expect_fault({"not waited for"}, copies_badly, shape, in, 6);
}

// ---- numbers

TEST(Device, bf16RoundsToNearestEven) {
  numbers random(5);
  for (int i = 0; i < 100000; ++i) {
    const auto bits = static_cast<uint32_t>(random.bits());
    const float x = float_from_bits(i % 3 == 0 ? (bits & 0xFFFF0000u) | 0x8000u : bits);
    if (std::isnan(x)) {
      EXPECT_EQ(0x7FFF, bf16_of(x));
      continue;
    }
    ASSERT_EQ(float_to_bf16(x), bf16_of(x)) << x;
    ASSERT_EQ(bf16_of(x), bf16x2_of(x, 1.0f) & 0xFFFF);
    ASSERT_EQ(bf16_of(x), bf16x2_of(1.0f, x) >> 16);
  }
  EXPECT_EQ(1.5f, float_of_low(bf16x2_of(1.5f, -2.0f)));
  EXPECT_EQ(-2.0f, float_of_high(bf16x2_of(1.5f, -2.0f)));
}

// What an fma would keep of the product is gone, whatever the compiler makes of a sum.
TEST(Device, productsAreRounded) {
  const float x = 1.0f + 0x1p-12f, square = 1.0f + 0x1p-11f;
  EXPECT_EQ(0.0f, mul_rn(x, x) - square);
  EXPECT_EQ(0x1p-24f, fma_rn(x, x, -square));
}

// GRAFT_EMULATED_ROUGH is of the whole process, so its sums are asked for by themselves here.
TEST(Device, roughSumsAreCut) {
  std::array<float, 16> ones, units = {};
  ones.fill(1.0f);
  const auto add = [&](float sum) {
    return emulation::roughly_add<16>(sum, units.data(), ones.data(), 1);
  };
  units[3] = 3.0f;
  EXPECT_EQ(3.5f, add(0.5f));
  // A quarter of the last place of 1 is lost eight times; a half is kept, and eight are four places.
  units.fill(0x1p-25f);
  EXPECT_EQ(1.0f, add(1.0f));
  units.fill(0x1p-24f);
  EXPECT_EQ(1.0f + 0x1p-20f, add(1.0f));
  // One half is cut, on either side of zero.
  units.fill(0.0f);
  units[15] = 0x1p-24f;
  EXPECT_EQ(1.0f, add(1.0f));
  units[15] = -0x1p-24f;
  EXPECT_EQ(-1.0f, add(-1.0f));
  units[0] = INFINITY;
  EXPECT_EQ(INFINITY, add(1.0f));
  units[8] = -INFINITY;
  EXPECT_TRUE(std::isnan(add(1.0f)));
}

TEST(Device, approximateFunctionsFlushDenormals) {
  EXPECT_EQ(8.0f, exp2_approx(3.0f));
  EXPECT_EQ(0.0f, exp2_approx(-INFINITY));
  EXPECT_EQ(0.0f, exp2_approx(-127.0f));
  EXPECT_EQ(-INFINITY, log2_approx(1e-40f));
  EXPECT_EQ(INFINITY, rsqrt_approx(1e-40f));
  EXPECT_EQ(0.5f, rsqrt_approx(4.0f));
  EXPECT_EQ(INFINITY, rcp_approx(-0.0f) * -1.0f);
  EXPECT_EQ(0xFFFFFFFEu, mul_hi(0xFFFFFFFFu, 0xFFFFFFFFu));
  // 1 + 2^-11 lies between two tf32 numbers: away from zero.
  EXPECT_EQ(1.0f + 0x1p-10f, float_from_bits(to_tf32(1.0f + 0x1p-11f)));
  EXPECT_EQ(-1.0f - 0x1p-10f, float_from_bits(to_tf32(-1.0f - 0x1p-11f)));
}
