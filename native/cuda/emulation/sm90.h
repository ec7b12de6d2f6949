// Hopper's part of the device layer on fibers; device_sm90.h says what each function means.
#pragma once

#include "mbarrier.h"
#include "scheduler.h"
#include "tensor_copy.h"
#include "warpgroup.h"

namespace graft::cuda {

struct alignas(8) mbarrier {
  uint64_t word;
};

// As large and as aligned as the driver's.
struct alignas(64) tensor_map {
  emulation::tensor_shape shape;
  uint64_t made[6];
};
static_assert(sizeof(tensor_map) == 128);

inline cudaError_t make_tensor_map(tensor_map* out, const void* address, const uint64_t (&dims)[3],
                                   const uint64_t (&strides)[2], const uint32_t (&box)[3]) {
  bool good = reinterpret_cast<uintptr_t>(address) % 16 == 0 && box[0] == swizzle_bytes / 2;
  for (uint64_t dim : dims) good &= dim >= 1 && dim <= uint64_t{1} << 32;
  for (uint64_t stride : strides) good &= stride % 16 == 0 && stride < uint64_t{1} << 40;
  for (uint32_t side : box) good &= side >= 1 && side <= 256;
  if (!good) return cudaErrorInvalidValue;
  *out = {};
  out->shape.address = static_cast<const unsigned char*>(address);
  for (int i = 0; i < 3; ++i) {
    out->shape.dims[i] = static_cast<int64_t>(dims[i]);
    out->shape.box[i] = static_cast<int>(box[i]);
  }
  for (int i = 0; i < 2; ++i) out->shape.strides[i] = static_cast<int64_t>(strides[i]);
  return cudaSuccess;
}

// ---- barriers

GRAFT_DEVICE void mbarrier_init(mbarrier* barrier, int arrivals,
                                const location& at = location::current()) {
  emulation::init_mbarrier(barrier, arrivals, at);
}
GRAFT_DEVICE void mbarrier_init_fence() { emulation::fence_mbarrier_init(); }
GRAFT_DEVICE void mbarrier_arrive(mbarrier* barrier, const location& at = location::current()) {
  emulation::arrive_at_mbarrier(barrier, 0, at);
}
GRAFT_DEVICE void mbarrier_arrive_expect(mbarrier* barrier, int bytes,
                                         const location& at = location::current()) {
  emulation::arrive_at_mbarrier(barrier, bytes, at);
}
GRAFT_DEVICE void mbarrier_wait(mbarrier* barrier, int parity,
                                const location& at = location::current()) {
  emulation::wait_for_mbarrier(barrier, parity, at);
}
GRAFT_DEVICE void fence_async_proxy() { emulation::fence_async_view(); }

// ---- tensor copies

GRAFT_DEVICE void copy_tensor(void* shared, const tensor_map& map, int x, int y, int z,
                              mbarrier* barrier, const location& at = location::current()) {
  if (map.shape.address == nullptr) emulation::fault(at, "copy_tensor: an empty tensor_map");
  emulation::issue_tensor_copy(shared, map.shape, {x, y, z}, barrier, at);
}

// ---- products

GRAFT_DEVICE uint64_t matrix_descriptor(const void* shared, int leading_bytes, int stride_bytes,
                                        const location& at = location::current()) {
  const auto field = [&](const char* what, int64_t bytes) {
    if (bytes % 16 != 0 || bytes < 0 || bytes >= 1 << 18)
      emulation::fault(at, "matrix_descriptor: %s: %lld is not a multiple of 16 below 2^18", what,
                       static_cast<long long>(bytes));
    return static_cast<uint64_t>(bytes >> 4);
  };
  const auto address = static_cast<int64_t>(emulation::shared_offset("matrix_descriptor", shared, 16, at));
  return field("address", address + emulation::shared_window) |
         field("leading_bytes", leading_bytes) << 16 | field("stride_bytes", stride_bytes) << 32 |
         uint64_t{1} << 62;
}
GRAFT_DEVICE uint64_t descriptor_after(uint64_t descriptor, int bytes) {
  return descriptor + static_cast<uint64_t>(bytes >> 4);
}

template <matrix_major order, int blocks>
GRAFT_DEVICE void wgmma(float (&d)[blocks][4], uint64_t a, uint64_t b, bool add,
                        const location& at = location::current()) {
  static_assert(blocks == 8 || blocks == 16, "products of 64 or 128 columns");
  emulation::issue_wgmma({&d[0][0], nullptr, a, b, 8 * blocks, order == matrix_major::mn, add}, at);
}
template <matrix_major order, int blocks>
GRAFT_DEVICE void wgmma(float (&d)[blocks][4], const uint32_t (&a)[4], uint64_t b, bool add,
                        const location& at = location::current()) {
  static_assert(blocks == 8 || blocks == 16, "products of 64 or 128 columns");
  emulation::issue_wgmma({&d[0][0], a, 0, b, 8 * blocks, order == matrix_major::mn, add}, at);
}

namespace detail {
template <int blocks>
const float* sums_of(const float (&d)[blocks][4]) { return &d[0][0]; }
template <int blocks>
const float* sums_of(const float (&d)[1][blocks][4]) { return &d[0][0][0]; }
}  // namespace detail

GRAFT_DEVICE void wgmma_commit(const location& at = location::current()) { emulation::commit_wgmma(at); }

// Registers are named for the hardware's compiler; here a pack of them would leave no room for the place.
template <typename A>
GRAFT_DEVICE void wgmma_fence(A&, const location& at = location::current()) {
  emulation::fence_wgmma(at);
}
template <typename A, typename B>
GRAFT_DEVICE void wgmma_fence(A&, B&, const location& at = location::current()) {
  emulation::fence_wgmma(at);
}
template <typename A, typename B, typename C>
GRAFT_DEVICE void wgmma_fence(A&, B&, C&, const location& at = location::current()) {
  emulation::fence_wgmma(at);
}
template <typename A, typename B, typename C, typename D>
GRAFT_DEVICE void wgmma_fence(A&, B&, C&, D&, const location& at = location::current()) {
  emulation::fence_wgmma(at);
}
template <int newest, typename A>
GRAFT_DEVICE void wgmma_wait(A& a, const location& at = location::current()) {
  const float* const named[] = {detail::sums_of(a)};
  emulation::wait_wgmma(newest, named, 1, at);
}
template <int newest, typename A, typename B>
GRAFT_DEVICE void wgmma_wait(A& a, B& b, const location& at = location::current()) {
  const float* const named[] = {detail::sums_of(a), detail::sums_of(b)};
  emulation::wait_wgmma(newest, named, 2, at);
}

// ---- registers

template <int count>
GRAFT_DEVICE void release_registers(const location& at = location::current()) {
  static_assert(count >= 24 && count <= 256 && count % 8 == 0);
  emulation::set_registers(count, false, at);
}
template <int count>
GRAFT_DEVICE void take_registers(const location& at = location::current()) {
  static_assert(count >= 24 && count <= 256 && count % 8 == 0);
  emulation::set_registers(count, true, at);
}

}  // namespace graft::cuda
