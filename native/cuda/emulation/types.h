// CUDA's words as plain C++: qualifiers and small vectors.
#pragma once

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(bytes) alignas(bytes)

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

#define GRAFT_VECTORS(type, name)                                         \
  struct alignas(2 * sizeof(type)) name##2 { type x, y; };                \
  struct alignas(4 * sizeof(type)) name##4 { type x, y, z, w; };          \
  static inline name##2 make_##name##2(type x, type y) { return {x, y}; } \
  static inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
GRAFT_VECTORS(float, float)
GRAFT_VECTORS(int, int)
GRAFT_VECTORS(unsigned, uint)
GRAFT_VECTORS(unsigned short, ushort)
#undef GRAFT_VECTORS
struct alignas(16) double2 {
  double x, y;
};
static inline double2 make_double2(double x, double y) { return {x, y}; }
