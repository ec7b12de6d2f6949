// The device layer on fibers: the same names as device_hardware.h, each with the checks that
// hardware does not make. A meeting point knows its place in the source; that is the last,
// defaulted argument.
#pragma once

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <tuple>

#include "block.h"
#include "rough.h"
#include "runtime.h"

#define threadIdx (::graft::emulation::current_thread->index)
#define blockIdx (::graft::emulation::current_block_index)
#define blockDim (::graft::emulation::current_geometry.block)
#define gridDim (::graft::emulation::current_geometry.grid)

#define GRAFT_UNROLL
#define GRAFT_NO_UNROLL
#define GRAFT_DEVICE [[maybe_unused]] static inline

namespace graft::cuda {

using emulation::location;

struct launch_shape {
  dim3 grid;
  int threads;
  size_t shared_bytes;
  cudaStream_t stream;
};

// Arguments are copied now, as hardware does, and the kernel runs when its stream is synchronised.
template <typename... Parameters>
cudaError_t launch(void (*kernel)(Parameters...), const launch_shape& shape,
                   std::type_identity_t<Parameters>... arguments) {
  return emulation::enqueue_kernel(
      {shape.grid, dim3(static_cast<unsigned>(shape.threads)), shape.shared_bytes}, shape.stream,
      [kernel, copies = std::tuple<Parameters...>(arguments...)] { std::apply(kernel, copies); });
}

template <typename T>
GRAFT_DEVICE T* shared_memory(const location& at = location::current()) {
  static_assert(alignof(T) <= 1024);
  if (sizeof(T) > emulation::current_geometry.shared_bytes)
    emulation::fault(at, "shared_memory: %zu bytes wanted, %zu launched", sizeof(T),
                     emulation::current_geometry.shared_bytes);
  return reinterpret_cast<T*>(emulation::current_shared);
}

GRAFT_DEVICE int lane_id() { return static_cast<int>(threadIdx.x) % warp_size; }
GRAFT_DEVICE int warp_id() { return static_cast<int>(threadIdx.x) / warp_size; }

// ---- meeting points

GRAFT_DEVICE void sync_threads(const location& at = location::current()) {
  emulation::meet_block(false, at);
}
GRAFT_DEVICE bool sync_threads_or(bool x, const location& at = location::current()) {
  return emulation::meet_block(x, at);
}
GRAFT_DEVICE void barrier_sync(int id, int threads, const location& at = location::current()) {
  emulation::meet_barrier(id, threads, true, false, at);
}
GRAFT_DEVICE bool barrier_sync_or(int id, int threads, bool x,
                                  const location& at = location::current()) {
  return emulation::meet_barrier(id, threads, true, x, at);
}
GRAFT_DEVICE void barrier_arrive(int id, int threads, const location& at = location::current()) {
  emulation::meet_barrier(id, threads, false, false, at);
}
GRAFT_DEVICE void sync_warp(uint32_t mask = all_lanes, const location& at = location::current()) {
  emulation::meet_warp("sync_warp", mask, nullptr, nullptr, at);
}

namespace detail {

template <typename T>
struct exchange {
  T given;
  T taken;
  int source;
};

template <typename T>
T take(const char* what, T x, int source, uint32_t mask, const location& at) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  exchange<T> own{x, x, source};
  emulation::meet_warp(
      what, mask, &own,
      [](void* const* arguments, uint32_t lanes, const location& where) {
        for (int lane = 0; lane < warp_size; ++lane) {
          if (((lanes >> lane) & 1) == 0) continue;
          auto* one = static_cast<exchange<T>*>(arguments[lane]);
          if (((lanes >> one->source) & 1) == 0)
            emulation::fault(where, "shuffle: lane %d reads lane %d, which mask %08x does not name",
                             lane, one->source, lanes);
          one->taken = static_cast<exchange<T>*>(arguments[one->source])->given;
        }
      },
      at);
  return own.taken;
}

}  // namespace detail

template <typename T>
GRAFT_DEVICE T shuffle_xor(T x, int lane_mask, uint32_t mask = all_lanes,
                           const location& at = location::current()) {
  return detail::take("shuffle_xor", x, (lane_id() ^ lane_mask) & 31, mask, at);
}
template <typename T>
GRAFT_DEVICE T shuffle_down(T x, int delta, uint32_t mask = all_lanes,
                            const location& at = location::current()) {
  const int source = lane_id() + delta;
  return detail::take("shuffle_down", x, source > 31 ? lane_id() : source, mask, at);
}
template <typename T>
GRAFT_DEVICE T shuffle_up(T x, int delta, uint32_t mask = all_lanes,
                          const location& at = location::current()) {
  const int source = lane_id() - delta;
  return detail::take("shuffle_up", x, source < 0 ? lane_id() : source, mask, at);
}
template <typename T>
GRAFT_DEVICE T shuffle(T x, int source_lane, uint32_t mask = all_lanes,
                       const location& at = location::current()) {
  return detail::take("shuffle", x, source_lane & 31, mask, at);
}

GRAFT_DEVICE uint32_t warp_ballot(bool x, uint32_t mask = all_lanes,
                                  const location& at = location::current()) {
  struct vote {
    bool given;
    uint32_t all;
  } own{x, 0};
  emulation::meet_warp(
      "warp_ballot", mask, &own,
      [](void* const* arguments, uint32_t lanes, const location&) {
        uint32_t word = 0;
        for (int lane = 0; lane < warp_size; ++lane)
          if (((lanes >> lane) & 1) != 0 && static_cast<vote*>(arguments[lane])->given)
            word |= 1u << lane;
        for (int lane = 0; lane < warp_size; ++lane)
          if (((lanes >> lane) & 1) != 0) static_cast<vote*>(arguments[lane])->all = word;
      },
      at);
  return own.all;
}
GRAFT_DEVICE bool warp_any(bool x, uint32_t mask = all_lanes,
                           const location& at = location::current()) {
  return warp_ballot(x, mask, at) != 0;
}
GRAFT_DEVICE bool warp_all(bool x, uint32_t mask = all_lanes,
                           const location& at = location::current()) {
  return warp_ballot(x, mask, at) == mask;
}

// ---- numbers

GRAFT_DEVICE float float_from_bits(uint32_t bits) { return std::bit_cast<float>(bits); }
GRAFT_DEVICE uint32_t bits_from_float(float x) { return std::bit_cast<uint32_t>(x); }
GRAFT_DEVICE uint16_t bf16_of(float x) {
  const uint32_t bits = bits_from_float(x);
  if (std::isnan(x)) return 0x7FFF;  // the hardware's one NaN
  return static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}
GRAFT_DEVICE uint32_t bf16x2_of(float low, float high) {
  return bf16_of(low) | (uint32_t{bf16_of(high)} << 16);
}
GRAFT_DEVICE float float_of_bf16(uint16_t bits) { return float_from_bits(uint32_t{bits} << 16); }
GRAFT_DEVICE float float_of_low(uint32_t pair) { return float_from_bits(pair << 16); }
GRAFT_DEVICE float float_of_high(uint32_t pair) { return float_from_bits(pair & 0xFFFF0000u); }
GRAFT_DEVICE float fma_rn(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
GRAFT_DEVICE double fma_rn(double a, double b, double c) { return __builtin_fma(a, b, c); }

GRAFT_DEVICE float mul_rn(float a, float b) {
  const volatile float product = a * b;  // the C++ compiler may fuse, too
  return product;
}

namespace detail {
// .ftz: denormals are zero on the way in and out.
static inline float flushed(float x) {
  return std::fabs(x) < std::numeric_limits<float>::min() ? std::copysign(0.0f, x) : x;
}
}  // namespace detail
GRAFT_DEVICE float exp2_approx(float x) {
  return detail::flushed(emulation::approximately(x, std::exp2(detail::flushed(x)), 0x1.6Ap-23));
}
GRAFT_DEVICE float log2_approx(float x) {
  return emulation::approximately(x, std::log2(detail::flushed(x)), 0x1p-22);
}
GRAFT_DEVICE float rsqrt_approx(float x) {
  return emulation::approximately(x, 1.0f / std::sqrt(detail::flushed(x)), 0x1.12p-23);
}
GRAFT_DEVICE float rcp_approx(float x) {
  return detail::flushed(emulation::approximately(x, 1.0f / detail::flushed(x), 0x1p-23));
}
GRAFT_DEVICE float natural_log(float x) { return std::log(x); }
GRAFT_DEVICE double natural_log(double x) { return std::log(x); }
GRAFT_DEVICE double natural_log_plus_one(double x) { return std::log1p(x); }
GRAFT_DEVICE double exponential(double x) { return std::exp(x); }
GRAFT_DEVICE void sine_cosine(double x, double& sine, double& cosine) {
  sine = std::sin(x);
  cosine = std::cos(x);
}
GRAFT_DEVICE float maximum(float a, float b) { return std::fmax(a, b); }
GRAFT_DEVICE float sqrt_exact(float x) { return std::sqrt(x); }
GRAFT_DEVICE double sqrt_exact(double x) { return std::sqrt(x); }
GRAFT_DEVICE uint32_t mul_hi(uint32_t a, uint32_t b) {
  return static_cast<uint32_t>((uint64_t{a} * b) >> 32);
}
GRAFT_DEVICE uint64_t opaque(uint64_t x) { return x; }
GRAFT_DEVICE uint32_t to_tf32(float x) {
  const uint32_t bits = bits_from_float(x);
  if (std::isnan(x)) return 0x7FFFFFFF;
  if (std::isinf(x)) return bits;
  return (bits + 0x1000) & ~0x1FFFu;
}

// ---- asynchronous copies

template <int bytes>
GRAFT_DEVICE void copy_async(void* shared, const void* global, int source_bytes = bytes,
                             const location& at = location::current()) {
  static_assert(bytes == 4 || bytes == 8 || bytes == 16, "cp.async copies 4, 8 or 16 bytes");
  emulation::issue_copy({shared, global, bytes, source_bytes}, at);
}
GRAFT_DEVICE void copy_async_commit() { emulation::commit_copies(); }
template <int newest>
GRAFT_DEVICE void copy_async_wait() {
  emulation::wait_copies(newest);
}
GRAFT_DEVICE void copy_async_wait_all() { emulation::wait_all_copies(); }

// ---- memory

namespace detail {
template <typename T>
void check_aligned(const char* what, const T* address, const location& at) {
  if (reinterpret_cast<uintptr_t>(address) % sizeof(T) != 0)
    emulation::fault(at, "%s: address %p is not aligned to %zu bytes", what,
                     static_cast<const void*>(address), sizeof(T));
}
}  // namespace detail

#define GRAFT_LOAD(name)                                                            \
  template <typename T>                                                             \
  GRAFT_DEVICE T name(const T* address, const location& at = location::current()) { \
    detail::check_aligned(#name, address, at);                                      \
    return *address;                                                                \
  }
GRAFT_LOAD(load)
GRAFT_LOAD(load_readonly)
GRAFT_LOAD(load_streaming)
GRAFT_LOAD(load_l2)
#undef GRAFT_LOAD
template <typename T>
GRAFT_DEVICE void store(T* address, std::type_identity_t<T> value,
                        const location& at = location::current()) {
  detail::check_aligned("store", address, at);
  *address = value;
}
template <typename T>
GRAFT_DEVICE void store_streaming(T* address, std::type_identity_t<T> value,
                                  const location& at = location::current()) {
  detail::check_aligned("store_streaming", address, at);
  *address = value;
}
GRAFT_DEVICE void thread_fence() {}
GRAFT_DEVICE void thread_fence_block() {}
GRAFT_DEVICE int atomic_add(int* address, int value) {
  const int old = *address;
  *address = old + value;
  return old;
}
GRAFT_DEVICE int atomic_exchange(int* address, int value) {
  const int old = *address;
  *address = value;
  return old;
}

}  // namespace graft::cuda

#include "tensor_core.h"
