// Warpgroup products of the emulated device layer: operands by descriptor in both orders and from
// registers, against plain matrix products; and that wrong use is found.
#include "device_sm90_support.h"

using namespace graft::cuda;
using namespace graft_test;

namespace {

using tile64 = float[8][4];

}  // namespace

struct operands {
  alignas(1024) uint16_t a[2][64 * 64];   // [64][128] in panels of 64 columns
  alignas(1024) uint16_t b[2][128 * 64];  // K-major: [128][128]; MN-major: [128 k][128 n]
  mbarrier full;
};

enum class source { shared, registers };

// d[64][n] = a[64][depth] b, twice, the second time added to the first. The operands come by tensor copies.
template <int n, matrix_major order, source from>
__global__ void multiply(const __grid_constant__ tensor_map a, const __grid_constant__ tensor_map b,
                         float* out, int depth) {
  auto* s = shared_memory<operands>();
  if (threadIdx.x == 0) {
    mbarrier_init(&s->full, 1);
    mbarrier_init_fence();
    mbarrier_arrive_expect(&s->full, 2 * 8192 + 2 * 16384);
    for (int panel = 0; panel < 2; ++panel) {
      copy_tensor(s->a[panel], a, 64 * panel, 0, 0, &s->full);
      copy_tensor(s->b[panel], b, 64 * panel, 0, 0, &s->full);
    }
  }
  sync_threads();
  mbarrier_wait(&s->full, 0);
  const uint64_t first_a = matrix_descriptor(s->a, 0, 1024);
  const uint64_t first_b = matrix_descriptor(s->b, 16384, 1024);
  float d[n / 8][4];
  uint32_t fragments[8][4];
  const int g = lane_id() / 4, t = lane_id() % 4, row = warp_id() * 16 + g;
  for (int k = 0; k < depth / 16; ++k)
    for (int r = 0; r < 4; ++r) {
      const int own = row + r % 2 * 8, column = 16 * k + 2 * t + r / 2 * 8;
      const uint16_t* pair = s->a[column / 64] + own * 64 + (column % 64 / 8 ^ own % 8) * 8 + column % 8;
      fragments[k][r] = pair[0] | uint32_t{pair[1]} << 16;
    }
  for (int time = 0; time < 2; ++time) {
    wgmma_fence(d, fragments);
    for (int k = 0; k < depth / 16; ++k) {
      const uint64_t own_b = descriptor_after(
          first_b, order == matrix_major::k ? k / 4 * 16384 + k % 4 * 32 : k * 2048);
      const bool add = time > 0 || k > 0;
      if constexpr (from == source::shared)
        wgmma<order>(d, descriptor_after(first_a, k / 4 * 8192 + k % 4 * 32), own_b, add);
      else
        wgmma<order>(d, fragments[k], own_b, add);
    }
    wgmma_commit();
    wgmma_wait<0>(d);
  }
  for (int j = 0; j < n / 8; ++j)
    for (int e = 0; e < 4; ++e) out[(row + e / 2 * 8) * n + 8 * j + 2 * t + e % 2] = d[j][e];
}

template <int n, matrix_major order, source from>
void expect_products() {
  const tensor a(128, 1, 64), b(128, 1, 128);
  buffer<float> out(64 * n);
  for (const int depth : {16, 64, 128})
    for (uint64_t seed = 1; seed <= 4; ++seed) {
      emulation::set_seed(seed * 7919);
      run(multiply<n, order, from>, blocks_of(128, sizeof(operands)), a.map(64), b.map(128), out, depth);
      for (int i = 0; i < 64; ++i)
        for (int j = 0; j < n; ++j) {
          double sum = 0;
          for (int k = 0; k < depth; ++k)
            sum += double{a.at(i, 0, k)} *
                   double{order == matrix_major::k ? b.at(j, 0, k) : b.at(k, 0, j)};
          ASSERT_EQ(2 * sum, out[i * n + j]) << i << " " << j << " depth " << depth;
        }
    }
}

TEST(Warpgroup, productsOfSharedMatrices) {
  expect_products<64, matrix_major::k, source::shared>();
  expect_products<128, matrix_major::k, source::shared>();
  expect_products<64, matrix_major::mn, source::shared>();
  expect_products<128, matrix_major::mn, source::shared>();
}
TEST(Warpgroup, productsOfRegisters) {
  expect_products<64, matrix_major::k, source::registers>();
  expect_products<128, matrix_major::k, source::registers>();
  expect_products<64, matrix_major::mn, source::registers>();
  expect_products<128, matrix_major::mn, source::registers>();
}

// The other layouts of the descriptor: 64- and 32-byte swizzles and none, written here by the formula of the
// PTX ISA's figures: chunk c of row r of an atom of 8 rows and W chunks.
__global__ void other_layouts(float* out, int mode) {
  struct memory {
    alignas(1024) uint16_t a[64 * 16], b[64 * 16];
  };
  auto* s = shared_memory<memory>();
  const int width = mode == 0 ? 1 : 1 << (4 - mode);  // chunks of a row
  for (int i = static_cast<int>(threadIdx.x); i < 64 * 16; i += 128) {
    const int row = i / 16, k = i % 16, chunk = k / 8;
    // Swizzled, an atom of 8 rows is 128 W bytes and both chunks lie in its row; else a matrix of 8 x 8 is
    // 128 bytes and the second chunk's lie behind all of the first's.
    int at = mode == 0 ? chunk * 1024 + row * 16 : row / 8 * 128 * width + row % 8 * 16 * width + chunk * 16;
    if (at < 2048) {
      at ^= (at >> 7 & (width - 1)) << 4;
      s->a[at / 2 + k % 8] = bf16_of(static_cast<float>(row % 7 + k));
      s->b[at / 2 + k % 8] = bf16_of(static_cast<float>(row % 5 - k));
    }
  }
  fence_async_proxy();
  sync_threads();
  const auto descriptor = [&](const void* matrix) {
    return (matrix_descriptor(matrix, mode == 0 ? 1024 : 0, 128 * width) & ~(uint64_t{3} << 62)) |
           static_cast<uint64_t>(mode) << 62;
  };
  tile64 d;
  wgmma_fence(d);
  wgmma<matrix_major::k>(d, descriptor(s->a), descriptor(s->b), false);
  wgmma_commit();
  wgmma_wait<0>(d);
  for (int j = 0; j < 8; ++j)
    for (int e = 0; e < 4; ++e)
      out[(warp_id() * 16 + lane_id() / 4 + e / 2 * 8) * 64 + 8 * j + 2 * (lane_id() % 4) + e % 2] = d[j][e];
}

TEST(Warpgroup, descriptorsOfOtherSwizzles) {
  buffer<float> out(64 * 64);
  for (const int mode : {0, 3}) {  // those whose 64 rows fit 2 KiB
    run(other_layouts, blocks_of(128, 4096), out, mode);
    for (int i = 0; i < 64; ++i)
      for (int j = 0; j < 64; ++j) {
        int sum = 0;
        for (int k = 0; k < 16; ++k) sum += (i % 7 + k) * (j % 5 - k);
        ASSERT_EQ(static_cast<float>(sum), out[i * 64 + j]) << "mode " << mode << " " << i << " " << j;
      }
  }
}

enum class mistake {
  none, no_fence, no_wait, early_named, writes_sum, writes_a, no_proxy_fence, wrong_stride, wrong_bits,
  base_offset, beyond, one_warp_less, other_products, overwrites
};

template <mistake made>
__global__ void multiply_badly(float* out) {
  struct memory {
    alignas(1024) uint16_t a[64 * 64], b[64 * 64];
  };
  auto* s = shared_memory<memory>();
  for (int i = static_cast<int>(threadIdx.x); i < 64 * 64; i += 128) {
    s->a[i] = bf16_of(static_cast<float>(i / 64 / 8));
    s->b[i] = bf16_of(static_cast<float>(i / 64 / 8));
  }
  if constexpr (made != mistake::no_proxy_fence) fence_async_proxy();
  sync_threads();
  uint64_t a = matrix_descriptor(s->a, 0, 1024);
  uint64_t b = matrix_descriptor(s->b, 0, made == mistake::wrong_stride ? 0 : 1024);
  if constexpr (made == mistake::wrong_bits) b |= uint64_t{1} << 46;
  if constexpr (made == mistake::base_offset) b |= uint64_t{1} << 49;
  if constexpr (made == mistake::beyond) b = descriptor_after(b, 4096);
  tile64 d = {};
  uint32_t fragments[1][4] = {};
  if constexpr (made == mistake::one_warp_less)
    if (warp_id() == 2) return;
  if constexpr (made != mistake::no_fence) wgmma_fence(d, fragments);
  if (made == mistake::other_products && warp_id() == 1)
    wgmma<matrix_major::k>(d, b, a, false);
  else if constexpr (made == mistake::writes_a)
    wgmma<matrix_major::k>(d, fragments[0], b, false);
  else
    wgmma<matrix_major::k>(d, a, b, false);
  wgmma_commit();
  if constexpr (made == mistake::no_wait) out[threadIdx.x] = d[0][0];
  if constexpr (made == mistake::early_named) wgmma_wait<1>(d);
  if constexpr (made == mistake::writes_sum) d[0][0] = 1.0f;
  if constexpr (made == mistake::writes_a) fragments[0][1] = 7;
  if constexpr (made == mistake::overwrites) {
    sync_threads();
    s->b[64 * 64 - 1 - threadIdx.x] = 0;
    fence_async_proxy();
  }
  wgmma_wait<0>(d);
  if constexpr (made != mistake::no_wait)
    for (int j = 0; j < 8; ++j)
      for (int e = 0; e < 4; ++e)
        out[(warp_id() * 16 + lane_id() / 4 + e / 2 * 8) * 64 + 8 * j + 2 * (lane_id() % 4) + e % 2] =
            d[j][e];
}

TEST(Warpgroup, wrongProductsAreFound) {
  buffer<float> out(64 * 64);
  const auto shape = blocks_of(128, 16384);
  const auto wrong = [&] {
    int count = 0;
    for (int i = 0; i < 64 * 64; ++i) count += out[i] != 16.0f * (i / 64 / 8) * (i % 64 / 8);
    return count;
  };
  int overwritten = 0;
  with_seeds([&] {
    run(multiply_badly<mistake::none>, shape, out);
    EXPECT_EQ(0, wrong());
    run(multiply_badly<mistake::wrong_stride>, shape, out);
    EXPECT_LT(2000, wrong());
    run(multiply_badly<mistake::no_wait>, shape, out);
    for (int i = 0; i < 128; ++i) EXPECT_TRUE(std::isnan(out[i]));
    run(multiply_badly<mistake::overwrites>, shape, out);
    overwritten += wrong() > 0;
    expect_fault({"without wgmma_fence"}, multiply_badly<mistake::no_fence>, shape, out);
    expect_fault({"still in flight"}, multiply_badly<mistake::early_named>, shape, out);
    expect_fault({"has written a sum before the wait"}, multiply_badly<mistake::writes_sum>, shape, out);
    expect_fault({"has written a register of a"}, multiply_badly<mistake::writes_a>, shape, out);
    expect_fault({"without fence_async_proxy"}, multiply_badly<mistake::no_proxy_fence>, shape, out);
    expect_fault({"bits that mean nothing"}, multiply_badly<mistake::wrong_bits>, shape, out);
    expect_fault({"base offset"}, multiply_badly<mistake::base_offset>, shape, out);
    expect_fault({"leads to byte 16384"}, multiply_badly<mistake::beyond>, shape, out);
    expect_fault({"divergence: warp 2", "0 products"}, multiply_badly<mistake::one_warp_less>, shape, out);
    expect_fault({"divergence", "another than its warpgroup's"}, multiply_badly<mistake::other_products>,
                 shape, out);
  });
  EXPECT_GT(overwritten, 10);
}

__global__ void product_by_half_a_warpgroup() {
  auto* s = shared_memory<operands>();
  tile64 d = {};
  wgmma_fence(d);
  wgmma<matrix_major::k>(d, matrix_descriptor(s->a, 0, 1024), matrix_descriptor(s->b, 0, 1024), false);
}
__global__ void product_never_waited_for() {
  auto* s = shared_memory<operands>();
  tile64 d = {};
  wgmma_fence(d);
  wgmma<matrix_major::k>(d, matrix_descriptor(s->a, 0, 1024), matrix_descriptor(s->b, 0, 1024), false);
  wgmma_commit();
}

TEST(Warpgroup, productsWantWholeWarpgroupsAndAnEnd) {
  expect_fault({"not of a whole warpgroup"}, product_by_half_a_warpgroup, blocks_of(64, sizeof(operands)));
  expect_fault({"products not waited for"}, product_never_waited_for, blocks_of(128, sizeof(operands)));
}
