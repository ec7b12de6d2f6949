// Device memory and copies.
#include "context.h"

namespace graft::cuda {
namespace {

cudaMemcpyKind copy_kind(int kind) {
  switch (kind) {
    case GRAFT_HOST_TO_DEVICE: return cudaMemcpyHostToDevice;
    case GRAFT_DEVICE_TO_HOST: return cudaMemcpyDeviceToHost;
    default: return cudaMemcpyDeviceToDevice;
  }
}

}  // namespace

int allocate(void* state, int64_t bytes, void** address) {
  const auto& context = *static_cast<cuda_context*>(state);
  GRAFT_TRY(enter_uncaptured(context, "malloc"));
  const cudaError_t status = cudaMalloc(address, static_cast<size_t>(bytes));
  if (status != cudaErrorMemoryAllocation) return check(context, "malloc", status);
  cudaGetLastError();
  size_t left = 0, whole = 0;
  cudaMemGetInfo(&left, &whole);
  return fail(GRAFT_OUT_OF_MEMORY,
              "malloc: %lld bytes asked for on CUDA device %d, which has %lld of %lld left",
              static_cast<long long>(bytes), context.device, static_cast<long long>(left),
              static_cast<long long>(whole));
}

int release(void* state, void* address) {
  const auto& context = *static_cast<cuda_context*>(state);
  GRAFT_TRY(enter_uncaptured(context, "free"));
  return check(context, "free", cudaFree(address));
}

int host_allocate(void* state, int64_t bytes, void** address) {
  const auto& context = *static_cast<cuda_context*>(state);
  GRAFT_TRY(enter_uncaptured(context, "host_malloc"));
  const cudaError_t status = cudaMallocHost(address, static_cast<size_t>(bytes));
  if (status != cudaErrorMemoryAllocation) return check(context, "host_malloc", status);
  cudaGetLastError();
  return fail(GRAFT_OUT_OF_MEMORY, "host_malloc: %lld bytes of page-locked memory asked for",
              static_cast<long long>(bytes));
}

int host_release(void* state, void* address) {
  const auto& context = *static_cast<cuda_context*>(state);
  GRAFT_TRY(enter_uncaptured(context, "host_free"));
  return check(context, "host_free", cudaFreeHost(address));
}

int memory_info(void* state, int64_t* free_bytes, int64_t* total_bytes) {
  const auto& context = *static_cast<cuda_context*>(state);
  GRAFT_TRY(enter_uncaptured(context, "memory_info"));
  size_t left = 0, whole = 0;
  GRAFT_TRY(check(context, "memory_info", cudaMemGetInfo(&left, &whole)));
  *free_bytes = static_cast<int64_t>(left);
  *total_bytes = static_cast<int64_t>(whole);
  return GRAFT_OK;
}

int copy(void* state, void* to, const void* from, int64_t bytes, int kind) {
  const auto& context = *static_cast<cuda_context*>(state);
  GRAFT_TRY(enter(context, "memcpy"));
  return check(
      context, "memcpy",
      cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), copy_kind(kind), context.stream));
}

int set(void* state, void* address, int value, int64_t bytes) {
  const auto& context = *static_cast<cuda_context*>(state);
  GRAFT_TRY(enter(context, "memset"));
  return check(context, "memset",
               cudaMemsetAsync(address, value, static_cast<size_t>(bytes), context.stream));
}

}  // namespace graft::cuda
