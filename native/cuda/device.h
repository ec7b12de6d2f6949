// The device layer: the only way native/cuda/*.cu reaches the hardware. It has two mappings,
//   device_hardware.h        CUDA, compiled by nvcc;
//   emulation/device.h       C++ fibers, compiled by g++ for the tests, so that every kernel runs
//                            on a machine without a GPU (docs/kernels/device-layer.md).
// Both offer the same functions, in namespace graft::cuda. Kernels are ordinary CUDA: __global__,
// __device__, __launch_bounds__, threadIdx, blockIdx, blockDim, gridDim, float4 and its like.
// Beyond those they use what is listed here and nothing else.
//
// Launch. Blocks are one-dimensional, of whole warps; grids have up to three dimensions.
//   cudaError_t launch(kernel, {grid, threads, shared_bytes, stream}, arguments...)
//   T* shared_memory<T>()        the block's dynamic shared memory, aligned to 1024 bytes. It is the
//                                only kind: lay out a struct. It holds NaN at the block's start
//                                (emulation).
//   GRAFT_UNROLL, GRAFT_NO_UNROLL   before a loop
//   int lane_id(), warp_id()
//
// Meeting points. All lanes of `mask` must come to the same call; a block barrier wants every
// thread.
//   sync_threads()                               __syncthreads
//   bool sync_threads_or(bool)                   __syncthreads_or
//   barrier_sync(id, threads)                    bar.sync; id 1..15, threads a multiple of 32
//   bool barrier_sync_or(id, threads, bool)      barrier.red.or
//   barrier_arrive(id, threads)                  bar.arrive: counts, does not wait
//   sync_warp(mask = all_lanes)
//   T shuffle_xor(T x, int lane_mask, mask = all_lanes)     T of 4 or 8 bytes
//   T shuffle_down(T x, int delta, ...)          lanes beyond 31 keep their own x
//   T shuffle_up(T x, int delta, ...)            lanes below 0 keep their own x
//   T shuffle(T x, int source_lane, ...)
//   uint32_t warp_ballot(bool, ...);  bool warp_any(bool, ...), warp_all(bool, ...)
//
// Tensor cores, whole warp. g = lane / 4, t = lane % 4; b16 pairs are packed low half first.
//   ldmatrix_x1/_x2/_x4(uint32_t (&r)[n], const void* row): n 8x8 matrices of b16 in shared memory.
//     Lane i gives the address of row i % 8 of matrix i / 8 (lanes from 8 n on: any), aligned to 16
//     bytes. r[m] of a lane = elements (row g, columns 2t, 2t + 1) of matrix m.
//   ldmatrix_x1_trans ...         r[m] = elements (rows 2t, 2t + 1; column g): the transpose.
//   mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2])     d += a b, bf16
//     a[0] = A(g,   2t..)    a[1] = A(g+8, 2t..)    a[2] = A(g, 2t+8..)    a[3] = A(g+8, 2t+8..)
//     b[0] = B(2t.., g)      b[1] = B(2t+8.., g)
//     d[0], d[1] = D(g, 2t), D(g, 2t+1);  d[2], d[3] = D(g+8, 2t), D(g+8, 2t+1)
//   mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) d += a b, tf32
//     a[0] = A(g, t)   a[1] = A(g+8, t)   a[2] = A(g, t+4)   a[3] = A(g+8, t+4)
//     b[0] = B(t, g)   b[1] = B(t+4, g);   d as above.  Operands are float32 bits through to_tf32:
//     the hardware drops the low 13 bits.
//   uint32_t to_tf32(float)       nearest, ties away (cvt.rna.tf32.f32)
//
// Asynchronous copies, global to shared memory (cp.async). The data is there after the wait of the
// thread that issued it, and for other threads after a barrier behind that.
//   copy_async<bytes>(void* shared, const void* global, int source_bytes = bytes)
//     bytes 4, 8 or 16 (16 goes past L1), both addresses aligned to it; bytes from source_bytes on
//     are zero-filled, with 0 nothing is read.
//   copy_async_commit();  copy_async_wait<n>(): all but the newest n groups are done;
//   copy_async_wait_all()
//
// Memory.
//   T load(const T*), store(T*, T)          T: float, float2, float4, uint32_t, uint2, uint4, int4
//                                            one access, aligned to sizeof(T)
//   T load_readonly(const T*)                ld.global.nc: nobody writes it during the launch
//   T load_streaming(const T*)               ld.global.cs: read once
//   void store_streaming(T*, T)              st.global.cs: not read again soon
//   T load_l2(const T*)                      ld.global.cg: what blocks wrote before their fence
//   thread_fence(), thread_fence_block()
//   int atomic_add(int*, int), atomic_exchange(int*, int): the old value. No float atomics: sums
//                                            have a fixed order.
//
// Hopper's own, on sm_90a alone: device_sm90.h.
//
// Numbers.
//   uint16_t bf16_of(float)                  nearest, ties to even
//   uint32_t bf16x2_of(float low, float high)
//   float float_of_bf16(uint16_t), float_of_low(uint32_t), float_of_high(uint32_t)
//   float fma_rn(a, b, c)                    one rounding; also of double
//   float mul_rn(a, b)                       rounded whatever it is added to. nvcc makes a * b + c one
//                                            fma where it likes: where the product is used twice and
//                                            the two must be one number, this says so
//   float exp2_approx, log2_approx, rsqrt_approx, rcp_approx        1 to 2 ulp, denormals are zero
//   float natural_log(float)                 1 ulp, denormals included
//   double natural_log(double), natural_log_plus_one(double), exponential(double)     1 ulp
//   void sine_cosine(double, double& sine, double& cosine)                            1 ulp
//   float maximum(float, float)              the other where one is NaN
//   float sqrt_exact, double sqrt_exact      correctly rounded, as are + - * /
//   uint32_t mul_hi(uint32_t, uint32_t)
//   float float_from_bits(uint32_t), uint32_t bits_from_float(float)
//   uint64_t opaque(uint64_t)                the same, but new to the compiler: what is computed from it in
//                                            a loop is not kept in registers across it
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace graft::cuda {

constexpr int warp_size = 32;
constexpr uint32_t all_lanes = 0xFFFFFFFFu;

}  // namespace graft::cuda

#ifdef GRAFT_EMULATED
#include "emulation/device.h"
#else
#include "device_hardware.h"
#endif
