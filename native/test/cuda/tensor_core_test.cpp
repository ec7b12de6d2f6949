// ldmatrix and mma of the emulated device layer, against a plain matrix product.
#include "../support.h"
#include "emulation_support.h"

using namespace graft::cuda;
using namespace graft_test;

// D[16, 8] = A[16, 16] B[16, 8], A row-major and B either as [k][n] (read transposed) or as [n][k].
__global__ void multiply_bf16(const uint16_t* a, const uint16_t* b, float* d, int b_by_rows) {
  struct tiles {
    uint16_t a[16][24];  // a padded row: the addresses are the caller's business
    uint16_t b[16][24];
  };
  auto* s = shared_memory<tiles>();
  for (int i = lane_id(); i < 256; i += 32) s->a[i / 16][i % 16] = a[i];
  for (int i = lane_id(); i < 128; i += 32) {
    if (b_by_rows != 0)
      s->b[i / 8][i % 8] = b[i];
    else
      s->b[i % 8][i / 8] = b[i];
  }
  sync_warp();
  const int lane = lane_id();
  uint32_t fa[4], fb[2];
  ldmatrix_x4(fa, &s->a[lane % 16][lane / 16 * 8]);
  if (b_by_rows != 0)
    ldmatrix_x2_trans(fb, &s->b[lane % 16][0]);
  else
    ldmatrix_x2(fb, &s->b[lane % 8][lane / 8 % 2 * 8]);
  float fd[4] = {1.0f, 1.0f, 1.0f, 1.0f};
  mma_m16n8k16(fd, fa, fb);
  const int g = lane / 4, t = lane % 4;
  for (int i = 0; i < 4; ++i) d[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = fd[i];
}

TEST(TensorCore, bf16TilesMultiply) {
  numbers random(3);
  std::vector<uint16_t> a(256), b(128);
  for (uint16_t& x : a) x = float_to_bf16(static_cast<float>(random.normal()));
  for (uint16_t& x : b) x = float_to_bf16(static_cast<float>(random.normal()));
  buffer<uint16_t> da(a), db(b);
  buffer<float> d(128);
  for (const int b_by_rows : {0, 1})
    with_seeds([&] {
      run(multiply_bf16, blocks_of(32, 2048), da, db, d, b_by_rows);
      for (size_t m = 0; m < 16; ++m)
        for (size_t n = 0; n < 8; ++n) {
          double sum = 1;
          for (size_t k = 0; k < 16; ++k)
            sum += double{bf16_to_float(a[m * 16 + k])} *
                   double{bf16_to_float(b[k * 8 + n])};
          EXPECT_NEAR(sum, d[m * 8 + n], 1e-5);
        }
    });
}

// One step of m16n8k8 straight from its documented fragment.
__global__ void multiply_tf32(const float* a, const float* b, float* d) {
  const int g = lane_id() / 4, t = lane_id() % 4;
  uint32_t fa[4], fb[2];
  for (int i = 0; i < 4; ++i) fa[i] = to_tf32(a[(g + i % 2 * 8) * 8 + t + i / 2 * 4]);
  for (int i = 0; i < 2; ++i) fb[i] = to_tf32(b[(t + 4 * i) * 8 + g]);
  float fd[4] = {};
  mma_m16n8k8_tf32(fd, fa, fb);
  for (int i = 0; i < 4; ++i) d[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = fd[i];
}

TEST(TensorCore, tf32TilesMultiplyWithElevenBits) {
  numbers random(4);
  std::vector<float> a(128), b(64);
  for (float& x : a) x = static_cast<float>(random.normal());
  for (float& x : b) x = static_cast<float>(random.normal());
  buffer<float> da(a), db(b), d(128);
  run(multiply_tf32, blocks_of(32), da, db, d);
  double largest = 0;
  for (size_t m = 0; m < 16; ++m)
    for (size_t n = 0; n < 8; ++n) {
      double sum = 0, size = 0;
      for (size_t k = 0; k < 8; ++k) {
        sum += double{a[m * 8 + k]} * double{b[k * 8 + n]};
        size += std::fabs(double{a[m * 8 + k]} * double{b[k * 8 + n]});
      }
      const double error = std::fabs(sum - d[m * 8 + n]) / size;
      EXPECT_LT(error, 0x1p-10);
      largest = std::max(largest, error);
    }
  EXPECT_GT(largest, 0x1p-16) << "as exact as float32, so not tf32";
}

__global__ void ldmatrix_badly(int kind) {
  uint16_t* tile = shared_memory<uint16_t>();
  uint32_t r[1];
  ldmatrix_x1(r, kind == 0 ? tile + 8 * lane_id() + 1 : tile + 8 * (lane_id() + 1));
}
__global__ void ldmatrix_by_half_a_warp() {
  uint32_t r[1];
  if (lane_id() < 16) ldmatrix_x1(r, shared_memory<uint16_t>() + 8 * (lane_id() % 8));
}

TEST(TensorCore, badFragmentsAreFaults) {
  expect_fault({"ldmatrix_x1", "not aligned to 16"}, ldmatrix_badly, blocks_of(32, 128), 0);
  expect_fault({"ldmatrix_x1", "128 bytes from the start"}, ldmatrix_badly, blocks_of(32, 128), 1);
  expect_fault({"divergence"}, ldmatrix_by_half_a_warp, blocks_of(32, 128));
}
