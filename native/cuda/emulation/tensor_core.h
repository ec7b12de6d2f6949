// ldmatrix and mma.sync, lane by lane as the PTX ISA lays the fragments out (9.7.14, "Matrix
// Fragments for mma.m16n8k16" and "... m16n8k8"). Products are exact in float32, sums are rounded
// to float32.
#pragma once

namespace graft::cuda {
namespace detail {

template <int matrices>
struct ldmatrix_argument {
  const unsigned char* row;
  uint32_t* r;
};

template <int matrices, bool transposed>
void ldmatrix(const char* what, uint32_t* r, const void* row, const location& at) {
  ldmatrix_argument<matrices> own{static_cast<const unsigned char*>(row), r};
  if (lane_id() < 8 * matrices) emulation::check_shared(what, row, 16, at);
  emulation::meet_warp(
      what, all_lanes, &own,
      [](void* const* arguments, uint32_t, const location&) {
        for (int m = 0; m < matrices; ++m) {
          uint16_t matrix[8][8];
          for (int i = 0; i < 8; ++i)
            std::memcpy(matrix[i],
                        static_cast<ldmatrix_argument<matrices>*>(arguments[8 * m + i])->row, 16);
          for (int lane = 0; lane < warp_size; ++lane) {
            const int g = lane / 4, t = lane % 4;
            const uint32_t low = transposed ? matrix[2 * t][g] : matrix[g][2 * t];
            const uint32_t high = transposed ? matrix[2 * t + 1][g] : matrix[g][2 * t + 1];
            static_cast<ldmatrix_argument<matrices>*>(arguments[lane])->r[m] = low | high << 16;
          }
        }
      },
      at);
}

struct mma_argument {
  float* d;
  const uint32_t* a;
  const uint32_t* b;
};

// d[16][8] of the whole warp += a[16][depth] b[depth][8].
template <int depth>
void multiply(void* const* arguments, const float (&a)[16][depth], const float (&b)[depth][8]) {
  for (int row = 0; row < 16; ++row) {
    float sums[8];
    for (int n = 0; n < 8; ++n)
      sums[n] = static_cast<mma_argument*>(arguments[row % 8 * 4 + n / 2])->d[row / 8 * 2 + n % 2];
    if (emulation::rough() != 0) {
      for (int n = 0; n < 8; ++n)
        sums[n] = emulation::roughly_add<depth>(sums[n], a[row], &b[0][n], 8);
    } else {
      for (int k = 0; k < depth; ++k)
        for (int n = 0; n < 8; ++n) sums[n] += a[row][k] * b[k][n];
    }
    for (int n = 0; n < 8; ++n)
      static_cast<mma_argument*>(arguments[row % 8 * 4 + n / 2])->d[row / 8 * 2 + n % 2] = sums[n];
  }
}

static inline float tf32_operand(uint32_t bits) { return float_from_bits(bits & ~0x1FFFu); }

}  // namespace detail

#define GRAFT_LDMATRIX(n)                                                             \
  GRAFT_DEVICE void ldmatrix_x##n(uint32_t (&r)[n], const void* row,                  \
                                  const location& at = location::current()) {         \
    detail::ldmatrix<n, false>("ldmatrix_x" #n, r, row, at);                          \
  }                                                                                   \
  GRAFT_DEVICE void ldmatrix_x##n##_trans(uint32_t (&r)[n], const void* row,          \
                                          const location& at = location::current()) { \
    detail::ldmatrix<n, true>("ldmatrix_x" #n "_trans", r, row, at);                  \
  }
GRAFT_LDMATRIX(1)
GRAFT_LDMATRIX(2)
GRAFT_LDMATRIX(4)
#undef GRAFT_LDMATRIX

GRAFT_DEVICE void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                               const location& at = location::current()) {
  detail::mma_argument own{d, a, b};
  emulation::meet_warp(
      "mma_m16n8k16", all_lanes, &own,
      [](void* const* arguments, uint32_t, const location&) {
        float matrix_a[16][16], matrix_b[16][8];
        for (int lane = 0; lane < warp_size; ++lane) {
          const auto* one = static_cast<const detail::mma_argument*>(arguments[lane]);
          const int g = lane / 4, t = lane % 4;
          for (int i = 0; i < 4; ++i) {
            float* to = &matrix_a[g + i % 2 * 8][2 * t + i / 2 * 8];
            to[0] = float_of_low(one->a[i]);
            to[1] = float_of_high(one->a[i]);
          }
          for (int i = 0; i < 2; ++i) {
            matrix_b[2 * t + 8 * i][g] = float_of_low(one->b[i]);
            matrix_b[2 * t + 8 * i + 1][g] = float_of_high(one->b[i]);
          }
        }
        detail::multiply<16>(arguments, matrix_a, matrix_b);
      },
      at);
}

GRAFT_DEVICE void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                                   const location& at = location::current()) {
  detail::mma_argument own{d, a, b};
  emulation::meet_warp(
      "mma_m16n8k8_tf32", all_lanes, &own,
      [](void* const* arguments, uint32_t, const location&) {
        float matrix_a[16][8], matrix_b[8][8];
        for (int lane = 0; lane < warp_size; ++lane) {
          const auto* one = static_cast<const detail::mma_argument*>(arguments[lane]);
          const int g = lane / 4, t = lane % 4;
          for (int i = 0; i < 4; ++i)
            matrix_a[g + i % 2 * 8][t + i / 2 * 4] = detail::tf32_operand(one->a[i]);
          for (int i = 0; i < 2; ++i) matrix_b[t + 4 * i][g] = detail::tf32_operand(one->b[i]);
        }
        detail::multiply<8>(arguments, matrix_a, matrix_b);
      },
      at);
}

}  // namespace graft::cuda
