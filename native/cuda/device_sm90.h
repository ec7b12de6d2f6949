// Hopper's part of the device layer: barriers in shared memory, tensor copies that end on them, and
// products of whole warpgroups. It exists on sm_90a and in the emulation; a kernel puts its body between
// #ifdef GRAFT_SM90A and #else wrong_image(), which ends the launch in an error, so that the images of other
// architectures hold nothing else, and its launcher asks runs_sm90a(capability) before.
//
// Barriers in shared memory (PTX ISA 9.0, 9.7.13.15, mbarrier). A phase ends when all arrivals have come
// and all bytes that were announced have landed; then the next begins. Phases are numbered from 0.
//   mbarrier_init(mbarrier*, int arrivals)       one thread, once; then mbarrier_init_fence() of that
//                                                thread and a barrier of the block
//   mbarrier_arrive(mbarrier*)
//   mbarrier_arrive_expect(mbarrier*, int bytes) announces bytes of tensor copies, then arrives
//   mbarrier_wait(mbarrier*, int parity)         until the last phase of this parity (phase % 2) has
//                                                ended; parity 1 of a fresh barrier has
//
// Two ways to shared memory: threads' own loads and stores are the generic proxy, tensor copies and
// warpgroup products the async proxy.
//   fence_async_proxy()      this thread's writes before it are seen by the async proxy after it
//
// Tensor copies (TMA, cp.async.bulk.tensor), global to shared memory.
//   tensor_map               how a bf16 array of three dimensions lies in memory; a kernel parameter that
//                            is __grid_constant__, or a member of one
//   cudaError_t make_tensor_map(tensor_map*, address, dims, strides, box)    on the host
//     dims, box: elements, the fastest dimension first; strides: bytes of the second and third, multiples
//     of 16, as is the address. box[0] is 64: a row of 128 bytes, the span of the swizzle.
//   copy_tensor(void* shared, const tensor_map&, int x, int y, int z, mbarrier*)    one thread
//     The box whose first element is (x, y, z), rows one after the other from `shared` (aligned to 1024
//     bytes), 128-byte swizzled: bits 4..6 of an address are exclusive-ored with its bits 7..9. What lies
//     outside of the tensor is 0. Completes all bytes of the box on the barrier.
//
// Products (wgmma, PTX ISA 9.0, 9.7.15). 128 threads, warps 4 i .. 4 i + 3: d[64][n] += a[64][16] b[16][n],
// n = 64 or 128, bf16 with fp32 sums. Warp w has rows 16 (w % 4) .., in the layout of mma_m16n8k16:
//   d[j][0], d[j][1] = D(g, 8 j + 2 t), D(g, 8 j + 2 t + 1);  d[j][2], d[j][3] = D(g + 8, ...)
//   a[0..3] as in mma_m16n8k16
//   uint64_t matrix_descriptor(const void* shared, int leading_bytes, int stride_bytes)
//     bits  0..13  address / 16                         45..32  stride_bytes / 16
//          16..29  leading_bytes / 16                   49..51  base offset: 0, for the pattern starts at
//          62..63  1: 128-byte swizzle                          a multiple of 1024 bytes; others 0
//     (PTX ISA 9.0, 9.7.15.5.1.2.2, "Matrix Descriptor Format".) Rows are of 128 bytes and an eighth of
//     1024 bytes. A K-major operand (A, or B as [n][k]) has its k along the rows: stride_bytes from eight
//     rows to the next eight, leading_bytes unused. An MN-major operand (B as [k][n]) has 64 of its n
//     along the rows: stride_bytes from eight k to the next eight, leading_bytes from 64 n to the next.
//   uint64_t descriptor_after(uint64_t descriptor, int bytes)   the same matrix, so many bytes further
//   wgmma<matrix_major>(float (&d)[n / 8][4], uint64_t a, uint64_t b, bool add)
//   wgmma<matrix_major>(float (&d)[n / 8][4], const uint32_t (&a)[4], uint64_t b, bool add)
//     the order is that of b, a is K-major; d = a b without `add`.
//   wgmma_fence(registers...)     before the first product that uses registers which the thread has
//                                 written or read since
//   wgmma_commit()                ends a group of products
//   wgmma_wait<newest>(registers...)   all but the newest groups are done; the accumulators named are in
//                                 their registers. Until then they and the registers of a are the
//                                 product's: nobody reads or writes them.
//
// Registers of a warpgroup's threads, 24..256 in steps of 8, all its warps together:
//   release_registers<count>(), take_registers<count>()      setmaxnreg
#pragma once

#include "device.h"

#if defined(GRAFT_EMULATED) || !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define GRAFT_SM90A
#endif

namespace graft::cuda {

enum class matrix_major { k, mn };

constexpr int swizzle_bytes = 128;        // a row
constexpr int swizzle_atom_bytes = 1024;  // eight of them: the pattern

// sm_90a code runs on compute capability 9.0 and on nothing else.
constexpr bool runs_sm90a(int capability) { return capability == 90; }

}  // namespace graft::cuda

#ifdef GRAFT_EMULATED
#include "emulation/sm90.h"
#else
#include "device_sm90_hardware.h"
#endif
