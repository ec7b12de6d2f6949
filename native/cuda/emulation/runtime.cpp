#include "runtime.h"

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <set>
#include <vector>

#include "block.h"

namespace graft::emulation {

using task = std::function<cudaError_t()>;

struct graph {
  std::vector<task> tasks;
};
struct stream {
  std::deque<task> tasks;
  graph* captured = nullptr;
  size_t done = 0;  // tasks run so far
};
struct event {
  stream* recorded_on = nullptr;
  size_t position = 0;  // reached when the stream has run so many tasks
  std::chrono::steady_clock::time_point reached;
};

namespace {

// Device memory ends in a red zone and starts as NaN; beyond this size it is left alone, so that tests
// of large offsets cost address space only.
constexpr size_t most_filled = size_t{256} << 20;
constexpr size_t red_zone = 256;
constexpr int multiprocessors = 4;
constexpr unsigned char red_zone_byte = 0xA5;

std::recursive_mutex mutex;
machine the_machine;
uint64_t seed = 1;
cudaError_t sticky = cudaSuccess;
cudaError_t injected = cudaSuccess;
std::string sticky_text;
std::map<uintptr_t, size_t> allocations;
size_t allocated = 0;
stream default_stream;
std::set<stream*> streams = {&default_stream};

using lock = std::lock_guard<std::recursive_mutex>;

// cudaStreamLegacy is the default stream's other name.
stream& of(cudaStream_t handle) {
  return handle == nullptr || handle == reinterpret_cast<cudaStream_t>(1) ? default_stream : *handle;
}

cudaError_t enqueue(cudaStream_t handle, task work) {
  lock hold(mutex);
  if (sticky != cudaSuccess) return sticky;
  stream& own = of(handle);
  if (own.captured != nullptr)
    own.captured->tasks.push_back(std::move(work));
  else
    own.tasks.push_back(std::move(work));
  return cudaSuccess;
}

// Runs what waits in a stream, up to a number of tasks since its beginning.
cudaError_t drain(stream& own, size_t until = SIZE_MAX) {
  while (!own.tasks.empty() && own.done < until) {
    const task work = std::move(own.tasks.front());
    own.tasks.pop_front();
    ++own.done;
    const cudaError_t status = work();
    if (status == cudaSuccess) continue;
    own.tasks.clear();
    return status;
  }
  return sticky;
}

cudaError_t die(cudaError_t status, const std::string& text) {
  sticky = status;
  sticky_text = text;
  return status;
}

cudaError_t check_red_zones() {
  for (const auto& [address, bytes] : allocations) {
    const auto* zone = reinterpret_cast<const unsigned char*>(address) + bytes;
    for (size_t i = 0; i < red_zone; ++i)
      if (zone[i] != red_zone_byte)
        return die(cudaErrorIllegalAddress, "a write " + std::to_string(i) + " bytes beyond " +
                                                std::to_string(bytes) + " bytes of device memory");
  }
  return cudaSuccess;
}

bool in_memory(const void* address, size_t bytes) {
  const auto own = reinterpret_cast<uintptr_t>(address);
  auto after = allocations.upper_bound(own);
  if (after == allocations.begin()) return false;
  const auto& [first, size] = *--after;
  return own - first <= size && bytes <= size - (own - first);
}

}  // namespace

cudaError_t enqueue_kernel(const launch_geometry& geometry, cudaStream_t handle,
                           std::function<void()> body) {
  const dim3 grid = geometry.grid, block = geometry.block;
  if (block.x == 0 || block.x > 1024 || block.x % 32 != 0 || grid.x == 0 || grid.y == 0 ||
      grid.z == 0 || grid.x > 0x7FFFFFFFu || grid.y > 65535 || grid.z > 65535 ||
      geometry.shared_bytes > 227 * 1024)
    return cudaErrorInvalidValue;
  return enqueue(handle, [geometry, body = std::move(body)] {
    if (injected != cudaSuccess) return die(injected, "injected by a test");
    const std::string text = run_grid(geometry, body, seed++);
    if (!text.empty()) return die(cudaErrorLaunchFailure, text);
    return check_red_zones();
  });
}

bool is_device_memory(const void* address, size_t bytes) {
  lock hold(mutex);
  return in_memory(address, bytes);
}

void set_seed(uint64_t value) {
  lock hold(mutex);
  seed = value;
}

std::string fault_text() {
  lock hold(mutex);
  return sticky_text;
}

void reset() {
  lock hold(mutex);
  sticky = injected = cudaSuccess;
  sticky_text.clear();
  default_stream.tasks.clear();
  the_machine = {};
}

void fail_next_kernel(cudaError_t status) {
  lock hold(mutex);
  injected = status;
}

void set_machine(const machine& wanted) {
  lock hold(mutex);
  the_machine = wanted;
}

}  // namespace graft::emulation

using namespace graft::emulation;

cudaError_t cudaDriverGetVersion(int* version) {
  *version = the_machine.driver_version;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 0;
  if (the_machine.driver_version < 13000) return cudaErrorInsufficientDriver;
  if (the_machine.devices == 0) return cudaErrorNoDevice;
  *count = the_machine.devices;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device < 0 || device >= the_machine.devices) return cudaErrorInvalidDevice;
  *properties = {"emulated CUDA device", the_machine.memory_bytes, multiprocessors};
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  if (sticky != cudaSuccess) return sticky;
  return device >= 0 && device < the_machine.devices ? cudaSuccess : cudaErrorInvalidDevice;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount: *value = multiprocessors; break;
    case cudaDevAttrComputeCapabilityMajor: *value = the_machine.capability / 10; break;
    case cudaDevAttrComputeCapabilityMinor: *value = the_machine.capability % 10; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = the_machine.shared_bytes; break;
  }
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* out, unsigned) {
  if (sticky != cudaSuccess) return sticky;
  lock hold(mutex);
  *out = new stream;
  streams.insert(*out);
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t handle) {
  lock hold(mutex);
  const cudaError_t status = cudaStreamSynchronize(handle);
  streams.erase(handle);
  delete handle;
  return status;
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  lock hold(mutex);
  if (sticky != cudaSuccess) return sticky;
  stream& own = of(handle);
  if (own.captured != nullptr) return cudaErrorStreamCaptureUnsupported;
  return drain(own);
}

cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode) {
  lock hold(mutex);
  if (sticky != cudaSuccess) return sticky;
  if (&of(handle) == &default_stream || handle->captured != nullptr)
    return cudaErrorStreamCaptureUnsupported;
  handle->captured = new graph;
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* out) {
  lock hold(mutex);
  if (&of(handle) == &default_stream || handle->captured == nullptr) return cudaErrorInvalidValue;
  *out = handle->captured;
  handle->captured = nullptr;
  return sticky;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* status) {
  lock hold(mutex);
  *status =
      of(handle).captured != nullptr ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return sticky;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t source,
                                 unsigned long long) {
  *executable = new graph(*source);
  return sticky;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t handle) {
  for (const task& work : executable->tasks) {
    const cudaError_t status = enqueue(handle, work);
    if (status != cudaSuccess) return status;
  }
  return sticky;
}

cudaError_t cudaGraphDestroy(cudaGraph_t source) {
  delete source;
  return sticky;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return sticky;
}

cudaError_t cudaEventCreate(cudaEvent_t* out) {
  *out = new event;
  return sticky;
}

cudaError_t cudaEventDestroy(cudaEvent_t own) {
  // What waits in a stream may still write its time.
  if (own->recorded_on != nullptr && sticky == cudaSuccess) cudaEventSynchronize(own);
  delete own;
  return sticky;
}

cudaError_t cudaEventRecord(cudaEvent_t own, cudaStream_t handle) {
  lock hold(mutex);
  if (of(handle).captured != nullptr) return cudaErrorStreamCaptureUnsupported;
  const cudaError_t status = enqueue(handle, [own] {
    own->reached = std::chrono::steady_clock::now();
    return cudaSuccess;
  });
  if (status != cudaSuccess) return status;
  own->recorded_on = &of(handle);
  own->position = own->recorded_on->done + own->recorded_on->tasks.size();
  return cudaSuccess;
}

// Runs what was enqueued before the event, and no more.
cudaError_t cudaEventSynchronize(cudaEvent_t own) {
  lock hold(mutex);
  if (sticky != cudaSuccess || own->recorded_on == nullptr) return sticky;
  if (streams.count(own->recorded_on) == 0) return sticky;  // it ended, all its work done
  return drain(*own->recorded_on, own->position);
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  lock hold(mutex);
  if (begin->recorded_on == nullptr || end->recorded_on == nullptr) return cudaErrorInvalidValue;
  *milliseconds =
      std::chrono::duration<float, std::milli>(end->reached - begin->reached).count();
  return sticky;
}

cudaError_t cudaLaunchHostFunc(cudaStream_t handle, cudaHostFn_t function, void* user) {
  return enqueue(handle, [=] {
    function(user);
    return cudaSuccess;
  });
}

cudaError_t cudaMallocHost(void** address, size_t bytes) {
  if (sticky != cudaSuccess) return sticky;
  *address = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  return *address != nullptr ? cudaSuccess : cudaErrorMemoryAllocation;
}

// Waits for everything, as cudaFreeHost does.
cudaError_t cudaFreeHost(void* address) {
  lock hold(mutex);
  for (stream* one : streams)
    if (sticky == cudaSuccess) drain(*one);
  std::free(address);
  return sticky;
}

cudaError_t cudaMalloc(void** address, size_t bytes) {
  lock hold(mutex);
  if (sticky != cudaSuccess) return sticky;
  *address = nullptr;
  if (bytes == 0) return cudaSuccess;
  if (bytes > the_machine.memory_bytes - allocated) return cudaErrorMemoryAllocation;
  const size_t whole = (bytes + red_zone + 255) / 256 * 256;
  void* memory = std::aligned_alloc(256, whole);
  if (memory == nullptr) return cudaErrorMemoryAllocation;
  if (bytes <= most_filled) std::memset(memory, 0xFF, bytes);
  std::memset(static_cast<unsigned char*>(memory) + bytes, red_zone_byte, red_zone);
  allocations[reinterpret_cast<uintptr_t>(memory)] = bytes;
  allocated += bytes;
  *address = memory;
  return cudaSuccess;
}

// Waits for everything, as cudaFree does.
cudaError_t cudaFree(void* address) {
  lock hold(mutex);
  if (address == nullptr) return sticky;
  const auto found = allocations.find(reinterpret_cast<uintptr_t>(address));
  if (found == allocations.end()) return cudaErrorInvalidValue;
  for (stream* one : streams)
    if (sticky == cudaSuccess) drain(*one);
  const cudaError_t status = sticky != cudaSuccess ? sticky : check_red_zones();
  allocated -= found->second;
  allocations.erase(found);
  std::free(address);
  return status;
}

cudaError_t cudaMemGetInfo(size_t* left, size_t* whole) {
  lock hold(mutex);
  *whole = the_machine.memory_bytes;
  *left = *whole - allocated;
  return sticky;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t handle) {
  {
    lock hold(mutex);
    const bool to_device = kind != cudaMemcpyDeviceToHost;
    const bool from_device = kind != cudaMemcpyHostToDevice;
    if (to_device != in_memory(to, bytes) || from_device != in_memory(from, bytes))
      return cudaErrorInvalidValue;
  }
  return enqueue(handle, [=] {
    std::memmove(to, from, bytes);
    return cudaSuccess;
  });
}

cudaError_t cudaMemsetAsync(void* address, int value, size_t bytes, cudaStream_t handle) {
  if (!is_device_memory(address, bytes)) return cudaErrorInvalidValue;
  return enqueue(handle, [=] {
    std::memset(address, value, bytes);
    return cudaSuccess;
  });
}

cudaError_t cudaGetLastError() { return sticky; }

const char* cudaGetErrorString(cudaError_t status) {
  switch (status) {
    case cudaSuccess: return "no error";
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInsufficientDriver:
      return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice: return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice: return "invalid device ordinal";
    case cudaErrorIllegalAddress: return "an illegal memory access was encountered";
    case cudaErrorLaunchFailure: return sticky_text.c_str();
    default: return "unknown error";
  }
}
