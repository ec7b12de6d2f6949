// Hopper's part of the emulated device layer: that barriers, tensor copies and registers do what
// the PTX ISA says, and that wrong use is found. Oracles are plain loops.
#include "device_sm90_support.h"

using namespace graft::cuda;
using namespace graft_test;

// ---- barriers

// Threads 32.. wait for phase after phase of a barrier that the first warp's lanes fill.
__global__ void phases(int* out, int count) {
  struct memory {
    mbarrier full, empty;
    int place;
  };
  auto* s = shared_memory<memory>();
  if (threadIdx.x == 0) {
    mbarrier_init(&s->full, 1);
    mbarrier_init(&s->empty, 32);
    mbarrier_init_fence();
  }
  sync_threads();
  for (int i = 0; i < count; ++i) {
    if (threadIdx.x == 0) {
      mbarrier_wait(&s->empty, i % 2 ^ 1);
      s->place = 100 + i;
      mbarrier_arrive(&s->full);
    } else if (threadIdx.x >= 32) {
      mbarrier_wait(&s->full, i % 2);
      out[32 * i + lane_id()] = s->place;
      mbarrier_arrive(&s->empty);
    }
  }
}

TEST(DeviceSm90, barriersCountPhases) {
  constexpr int count = 7;
  buffer<int> out(32 * count);
  with_seeds([&] {
    run(phases, blocks_of(64, 1024), out, count);
    for (int i = 0; i < 32 * count; ++i) ASSERT_EQ(100 + i / 32, out[i]);
  });
}

__global__ void barriers_badly(int kind) {
  struct memory {
    mbarrier one, other;
  };
  auto* s = shared_memory<memory>();
  if (threadIdx.x == 0) {
    if (kind != 0) mbarrier_init(&s->one, kind == 1 ? 0 : 2);
    if (kind == 2) mbarrier_init(&s->one, 2);
    mbarrier_init_fence();
    if (kind == 0) mbarrier_arrive(&s->one);
    if (kind == 3) mbarrier_init(reinterpret_cast<mbarrier*>(s + 64), 1);
    if (kind == 4) s->one.word = 0;
    if (kind == 4) mbarrier_arrive(&s->one);
    if (kind == 5) mbarrier_wait(&s->one, 2);
  }
  sync_threads();
  if (kind == 6) mbarrier_wait(&s->one, 0);       // nobody arrives
  if (kind == 7 && threadIdx.x < 2) mbarrier_arrive(&s->one);
  if (kind == 7) mbarrier_wait(&s->one, 1);       // the wrong phase: that one has yet to end
  if (kind == 8 && threadIdx.x == 0) {
    mbarrier_arrive_expect(&s->one, 64);
    mbarrier_arrive(&s->one);
    mbarrier_arrive(&s->one);  // a third, while bytes are missing
  }
  if (kind == 9 && threadIdx.x == 0) mbarrier_arrive_expect(&s->one, 64);
}

TEST(DeviceSm90, wrongBarriersAreFound) {
  const auto shape = blocks_of(32, 1024);
  with_seeds([&] {
    expect_fault({"not initialised"}, barriers_badly, shape, 0);
    expect_fault({"arrivals: expected 1"}, barriers_badly, shape, 1);
    expect_fault({"byte 0", "holds one since device_sm90_test.cpp"}, barriers_badly, shape, 2);
    expect_fault({"mbarrier: address is 1024 bytes"}, barriers_badly, shape, 3);
    expect_fault({"written over"}, barriers_badly, shape, 4);
    expect_fault({"expected parity 0 or 1, got 2"}, barriers_badly, shape, 5);
    expect_fault({"deadlock", "mbarrier", "phase 0, lacks 2 of 2 arrivals and 0 bytes"}, barriers_badly,
                 shape, 6);
    expect_fault({"deadlock", "phase 1, lacks 2 of 2"}, barriers_badly, shape, 7);
    expect_fault({"more than 2 arrivals in phase 0", "64 bytes"}, barriers_badly, shape, 8);
    expect_fault({"the block has ended", "64 bytes"}, barriers_badly, shape, 9);
  });
}

// ---- tensor copies

struct copied {
  alignas(1024) uint16_t rows[2][16 * 64];
  mbarrier full;
};

// Two boxes, one barrier; what is there before and after the wait goes out.
__global__ void copy_boxes(const __grid_constant__ tensor_map map, int x, int y, int z, float* before,
                           float* after) {
  auto* s = shared_memory<copied>();
  if (threadIdx.x == 0) {
    mbarrier_init(&s->full, 1);
    mbarrier_init_fence();
    mbarrier_arrive_expect(&s->full, 2 * 2048);
    copy_tensor(s->rows[0], map, x, y, z, &s->full);
    copy_tensor(s->rows[1], map, x, y, z + 16, &s->full);
    before[0] = float_of_bf16(s->rows[0][0]);
    before[1] = float_of_bf16(s->rows[1][1023]);
  }
  sync_threads();
  mbarrier_wait(&s->full, 0);
  for (int i = static_cast<int>(threadIdx.x); i < 2048; i += 32)
    after[i] = float_of_bf16(s->rows[i / 1024][i % 1024]);
}

TEST(DeviceSm90, tensorCopiesSwizzleAndFillWithZeros) {
  buffer<float> before(2), after(2048);
  // Inside, over the end of tokens, before their start, columns fewer than a row, a head that is not there.
  for (const auto& [columns, x, y, z] : std::vector<std::array<int, 4>>{
           {64, 0, 1, 3}, {64, 0, 2, 40}, {64, 0, 0, -5}, {40, 0, 1, 0}, {128, 64, 1, 7}, {64, 0, 3, 0},
           {64, 0, 0, 64}}) {
    const tensor t(columns, 3, 50);
    with_seeds([&] {
      run(copy_boxes, blocks_of(32, sizeof(copied)), t.map(16), x, y, z, before, after);
      EXPECT_TRUE(std::isnan(before[0]) && std::isnan(before[1])) << "landed before the wait";
      for (int row = 0; row < 32; ++row)
        for (int column = 0; column < 64; ++column) {
          const int place = row * 64 + (column / 8 ^ row % 8) * 8 + column % 8;
          ASSERT_EQ(t.at(z + row, y, x + column), after[place]) << row << " " << column;
        }
    });
  }
}

TEST(DeviceSm90, tensorMapsRefuseWhatTheDriverRefuses) {
  const tensor t(64, 2, 4);
  tensor_map map{};
  const auto make = [&](const void* address, uint64_t stride, uint32_t columns, uint32_t rows) {
    return make_tensor_map(&map, address, {64, 2, 4}, {128, stride}, {columns, 1, rows});
  };
  EXPECT_EQ(cudaSuccess, make(t.data, 256, 64, 4));
  EXPECT_EQ(cudaErrorInvalidValue, make(t.data + 1, 256, 64, 4));
  EXPECT_EQ(cudaErrorInvalidValue, make(t.data, 250, 64, 4));
  EXPECT_EQ(cudaErrorInvalidValue, make(t.data, uint64_t{1} << 40, 64, 4));
  EXPECT_EQ(cudaErrorInvalidValue, make(t.data, 256, 128, 4));
  EXPECT_EQ(cudaErrorInvalidValue, make(t.data, 256, 64, 257));
}

__global__ void copy_badly(const __grid_constant__ tensor_map map, int kind, float* out) {
  auto* s = shared_memory<copied>();
  if (threadIdx.x == 0) {
    mbarrier_init(&s->full, 1);
    if (kind != 0) mbarrier_init_fence();
    const int bytes = kind == 1 ? 1024 : kind == 2 ? 4096 : 2048;
    mbarrier_arrive_expect(&s->full, bytes);
    if (kind == 4) s->rows[0][5] = 0;
    if (kind == 5) s->rows[0][5] = 0, fence_async_proxy();
    copy_tensor(s->rows[0] + (kind == 3 ? 64 : 0), map, 0, 0, 0, &s->full);
    if (kind == 8) copy_tensor(&s[1], map, 0, 0, 0, &s->full);
  }
  sync_threads();
  if (kind == 9) mbarrier_wait(&s->full, 1);  // the wrong parity, which a fresh barrier lets by
  if (kind == 6 || kind == 9) out[threadIdx.x] = float_of_bf16(s->rows[0][threadIdx.x]);
  if (kind != 7) mbarrier_wait(&s->full, 0);
}

TEST(DeviceSm90, wrongTensorCopiesAreFound) {
  const tensor t(64, 1, 16);
  const tensor_map map = t.map(16);
  buffer<float> out(32);
  const auto shape = blocks_of(32, sizeof(copied));
  int early = 0, open = 0;
  with_seeds([&] {
    expect_fault({"without mbarrier_init_fence"}, copy_badly, shape, map, 0, out);
    expect_fault({"deadlock", "-1024 bytes"}, copy_badly, shape, map, 1, out);
    expect_fault({"deadlock", "lacks 0 of 1 arrivals and 2048 bytes"}, copy_badly, shape, map, 2, out);
    expect_fault({"not a multiple of 1024"}, copy_badly, shape, map, 3, out);
    expect_fault({"without fence_async_proxy"}, copy_badly, shape, map, 4, out);
    run(copy_badly, shape, map, 5, out);
    // Read before it landed; by the wrong parity, which lasts for ever once it has.
    for (const int kind : {6, 9}) {
      ASSERT_EQ(cudaSuccess, launch(copy_badly, shape, map, kind, out));
      const bool stuck = cudaStreamSynchronize(nullptr) != cudaSuccess;
      EXPECT_EQ(stuck, emulation::fault_text().find("deadlock") != std::string::npos);
      early += stuck ? kind == 9 : std::isnan(out[0]);
      emulation::reset();
    }
    // Never waited for: mostly it has not landed at the block's end.
    ASSERT_EQ(cudaSuccess, launch(copy_badly, shape, map, 7, out));
    cudaStreamSynchronize(nullptr);
    open += emulation::fault_text().find("tensor copies in flight") != std::string::npos;
    emulation::reset();
    expect_fault({"copy_tensor: address is"}, copy_badly, shape, map, 8, out);
  });
  EXPECT_GT(early, 20);
  EXPECT_GT(open, 2);
  tensor_map beyond = map;
  beyond.shape.dims[2] = 17;
  beyond.shape.address = map.shape.address + 128;
  expect_fault({"not in device memory"}, copy_badly, shape, beyond, 5, out);
}

// ---- registers and named barriers

template <int more, int fewer>
__global__ void move_registers() {
  if (warp_id() < 4)
    release_registers<fewer>();
  else
    take_registers<more>();
}

TEST(DeviceSm90, registersComeFromOtherWarpgroups) {
  with_seeds([&] {
    run(move_registers<232, 40>, blocks_of(384));  // 168 each at first
    expect_fault({"deadlock", "registers"}, move_registers<240, 40>, blocks_of(384));
    expect_fault({"not fewer"}, move_registers<232, 200>, blocks_of(384));
  });
}

__global__ void votes(int* out) {
  for (int i = 0; i < 3; ++i)
    out[static_cast<int>(threadIdx.x) + 128 * i] =
        barrier_sync_or(1 + warp_id() / 2, 64, threadIdx.x == static_cast<unsigned>(40 * i));
}

TEST(DeviceSm90, namedBarriersVote) {
  buffer<int> out(384);
  with_seeds([&] {
    run(votes, blocks_of(128), out);
    for (int i = 0; i < 3; ++i)
      for (int thread = 0; thread < 128; ++thread)
        EXPECT_EQ(thread / 64 == 40 * i / 64, out[128 * i + thread] != 0) << i << " " << thread;
  });
}
