// The device layer on hardware. Reference: PTX ISA 9.0; device.h says what each function means.
#pragma once

#include <cuda_runtime.h>

#define GRAFT_UNROLL _Pragma("unroll")
#define GRAFT_NO_UNROLL _Pragma("unroll 1")

namespace graft::cuda {

struct launch_shape {
  dim3 grid;
  int threads;
  size_t shared_bytes;
  cudaStream_t stream;
};

// Dynamic shared memory above 48 KiB has to be asked for, a function and device at a time. Always for
// the device's most: what a block gets is the launch's, and a thread that asked for less meanwhile
// (another vocabulary, another device's context) would have this one's launch refused.
inline cudaError_t allow_most_shared_memory(const void* function) {
  int device = 0, most = 0;
  cudaError_t status = cudaGetDevice(&device);
  if (status == cudaSuccess)
    status = cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  if (status != cudaSuccess) return status;
  return cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, most);
}

template <typename... Parameters>
cudaError_t launch(void (*kernel)(Parameters...), const launch_shape& shape,
                   std::type_identity_t<Parameters>... arguments) {
  const void* function = reinterpret_cast<const void*>(kernel);
  if (shape.shared_bytes > 48 * 1024) {
    const cudaError_t status = allow_most_shared_memory(function);
    if (status != cudaSuccess) return status;
  }
  void* addresses[sizeof...(Parameters) + 1] = {&arguments...};
  return cudaLaunchKernel(function, shape.grid, dim3(static_cast<unsigned>(shape.threads)),
                          addresses, shape.shared_bytes, shape.stream);
}

#define GRAFT_DEVICE static __device__ __forceinline__

template <typename T>
GRAFT_DEVICE T* shared_memory() {
  extern __shared__ __align__(1024) unsigned char graft_shared_memory[];
  return reinterpret_cast<T*>(graft_shared_memory);
}

GRAFT_DEVICE int lane_id() { return static_cast<int>(threadIdx.x) % warp_size; }
GRAFT_DEVICE int warp_id() { return static_cast<int>(threadIdx.x) / warp_size; }

// ---- meeting points

GRAFT_DEVICE void sync_threads() { __syncthreads(); }
GRAFT_DEVICE bool sync_threads_or(bool x) { return __syncthreads_or(x) != 0; }
GRAFT_DEVICE void barrier_sync(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
GRAFT_DEVICE bool barrier_sync_or(int id, int threads, bool x) {
  int any;
  asm volatile(
      "{\n"
      ".reg .pred given, any;\n"
      "setp.ne.b32 given, %3, 0;\n"
      "barrier.cta.red.or.aligned.pred any, %1, %2, given;\n"
      "selp.b32 %0, 1, 0, any;\n"
      "}"
      : "=r"(any)
      : "r"(id), "r"(threads), "r"(static_cast<int>(x))
      : "memory");
  return any != 0;
}
GRAFT_DEVICE void barrier_arrive(int id, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
GRAFT_DEVICE void sync_warp(uint32_t mask = all_lanes) { __syncwarp(mask); }

template <typename T>
GRAFT_DEVICE T shuffle_xor(T x, int lane_mask, uint32_t mask = all_lanes) {
  return __shfl_xor_sync(mask, x, lane_mask);
}
template <typename T>
GRAFT_DEVICE T shuffle_down(T x, int delta, uint32_t mask = all_lanes) {
  return __shfl_down_sync(mask, x, static_cast<unsigned>(delta));
}
template <typename T>
GRAFT_DEVICE T shuffle_up(T x, int delta, uint32_t mask = all_lanes) {
  return __shfl_up_sync(mask, x, static_cast<unsigned>(delta));
}
template <typename T>
GRAFT_DEVICE T shuffle(T x, int source_lane, uint32_t mask = all_lanes) {
  return __shfl_sync(mask, x, source_lane);
}
GRAFT_DEVICE uint32_t warp_ballot(bool x, uint32_t mask = all_lanes) {
  return __ballot_sync(mask, x);
}
GRAFT_DEVICE bool warp_any(bool x, uint32_t mask = all_lanes) { return __any_sync(mask, x) != 0; }
GRAFT_DEVICE bool warp_all(bool x, uint32_t mask = all_lanes) { return __all_sync(mask, x) != 0; }

// ---- tensor cores

GRAFT_DEVICE uint32_t shared_address(const void* address) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(address));
}

#define GRAFT_LDMATRIX(trans, qualifier)                                                         \
  GRAFT_DEVICE void ldmatrix_x1##trans(uint32_t (&r)[1], const void* row) {                      \
    asm volatile("ldmatrix.sync.aligned.m8n8.x1" qualifier ".shared.b16 {%0}, [%1];"             \
                 : "=r"(r[0])                                                                    \
                 : "r"(shared_address(row))                                                      \
                 : "memory");                                                                    \
  }                                                                                              \
  GRAFT_DEVICE void ldmatrix_x2##trans(uint32_t (&r)[2], const void* row) {                      \
    asm volatile("ldmatrix.sync.aligned.m8n8.x2" qualifier ".shared.b16 {%0, %1}, [%2];"         \
                 : "=r"(r[0]), "=r"(r[1])                                                        \
                 : "r"(shared_address(row))                                                      \
                 : "memory");                                                                    \
  }                                                                                              \
  GRAFT_DEVICE void ldmatrix_x4##trans(uint32_t (&r)[4], const void* row) {                      \
    asm volatile("ldmatrix.sync.aligned.m8n8.x4" qualifier ".shared.b16 {%0, %1, %2, %3}, [%4];" \
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])                                \
                 : "r"(shared_address(row))                                                      \
                 : "memory");                                                                    \
  }
GRAFT_LDMATRIX(, "")
GRAFT_LDMATRIX(_trans, ".trans")
#undef GRAFT_LDMATRIX

GRAFT_DEVICE void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

GRAFT_DEVICE void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

GRAFT_DEVICE uint32_t to_tf32(float x) {
  uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return bits;
}

// ---- asynchronous copies

template <int bytes>
GRAFT_DEVICE void copy_async(void* shared, const void* global, int source_bytes = bytes) {
  static_assert(bytes == 4 || bytes == 8 || bytes == 16, "cp.async copies 4, 8 or 16 bytes");
  if constexpr (bytes == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)),
                 "l"(__cvta_generic_to_global(global)), "r"(source_bytes)
                 : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared_address(shared)),
                 "l"(__cvta_generic_to_global(global)), "n"(bytes), "r"(source_bytes)
                 : "memory");
}
GRAFT_DEVICE void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int newest>
GRAFT_DEVICE void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(newest) : "memory");
}
GRAFT_DEVICE void copy_async_wait_all() { asm volatile("cp.async.wait_all;" ::: "memory"); }

// ---- memory

template <typename T>
GRAFT_DEVICE T load(const T* address) {
  return *address;
}
template <typename T>
GRAFT_DEVICE void store(T* address, std::type_identity_t<T> value) {
  *address = value;
}
template <typename T>
GRAFT_DEVICE T load_readonly(const T* address) {
  return __ldg(address);
}
template <typename T>
GRAFT_DEVICE T load_streaming(const T* address) {
  return __ldcs(address);
}
template <typename T>
GRAFT_DEVICE void store_streaming(T* address, std::type_identity_t<T> value) {
  __stcs(address, value);
}
template <typename T>
GRAFT_DEVICE T load_l2(const T* address) {
  return __ldcg(address);
}
GRAFT_DEVICE void thread_fence() { __threadfence(); }
GRAFT_DEVICE void thread_fence_block() { __threadfence_block(); }
GRAFT_DEVICE int atomic_add(int* address, int value) { return atomicAdd(address, value); }
GRAFT_DEVICE int atomic_exchange(int* address, int value) { return atomicExch(address, value); }

// ---- numbers

GRAFT_DEVICE float float_from_bits(uint32_t bits) { return __uint_as_float(bits); }
GRAFT_DEVICE uint32_t bits_from_float(float x) { return __float_as_uint(x); }
GRAFT_DEVICE uint16_t bf16_of(float x) {
  uint16_t bits;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
  return bits;
}
GRAFT_DEVICE uint32_t bf16x2_of(float low, float high) {
  uint32_t bits;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
  return bits;
}
GRAFT_DEVICE float fma_rn(float a, float b, float c) { return __fmaf_rn(a, b, c); }
GRAFT_DEVICE double fma_rn(double a, double b, double c) { return __fma_rn(a, b, c); }
GRAFT_DEVICE float mul_rn(float a, float b) { return __fmul_rn(a, b); }
GRAFT_DEVICE float exp2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
GRAFT_DEVICE float log2_approx(float x) {
  float y;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
GRAFT_DEVICE float rsqrt_approx(float x) {
  float y;
  asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
GRAFT_DEVICE float rcp_approx(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
GRAFT_DEVICE float natural_log(float x) { return ::logf(x); }
GRAFT_DEVICE double natural_log(double x) { return ::log(x); }
GRAFT_DEVICE double natural_log_plus_one(double x) { return ::log1p(x); }
GRAFT_DEVICE double exponential(double x) { return ::exp(x); }
GRAFT_DEVICE void sine_cosine(double x, double& sine, double& cosine) {
  ::sincos(x, &sine, &cosine);
}
GRAFT_DEVICE float maximum(float a, float b) { return ::fmaxf(a, b); }
GRAFT_DEVICE float sqrt_exact(float x) { return __fsqrt_rn(x); }
GRAFT_DEVICE double sqrt_exact(double x) { return __dsqrt_rn(x); }
GRAFT_DEVICE uint32_t mul_hi(uint32_t a, uint32_t b) { return __umulhi(a, b); }

GRAFT_DEVICE uint64_t opaque(uint64_t x) {
  asm volatile("" : "+l"(x));
  return x;
}

GRAFT_DEVICE float float_of_bf16(uint16_t bits) { return float_from_bits(uint32_t{bits} << 16); }
GRAFT_DEVICE float float_of_low(uint32_t pair) { return float_from_bits(pair << 16); }
GRAFT_DEVICE float float_of_high(uint32_t pair) { return float_from_bits(pair & 0xFFFF0000u); }

}  // namespace graft::cuda
