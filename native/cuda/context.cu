// Contexts, and what becomes of errors.
#include "context.h"

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <new>

namespace graft::cuda {
namespace {

constexpr int least_driver = 13000;  // CUDA 13.0, as cudaDriverGetVersion counts
constexpr int least_capability = 80;

// The first fatal error of each device; empty: none.
constexpr int most_devices = 64;
std::mutex lost_mutex;
char lost_text[most_devices][512];

// After these every later call to the device fails with the same error until the process ends.
bool is_fatal(cudaError_t status) {
  switch (status) {
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorContained:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorContextIsDestroyed:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorTensorMemoryLeak:
    case cudaErrorMpsClientTerminated:
    case cudaErrorExternalDevice:
    case cudaErrorUnknown: return true;
    default: return false;
  }
}

int capability_of(int device) {
  int major = 0, minor = 0;
  if (cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) != cudaSuccess ||
      cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device) != cudaSuccess)
    return 0;
  return 10 * major + minor;
}

}  // namespace

int check(const cuda_context& context, const char* op, cudaError_t status) {
  if (status == cudaSuccess) return GRAFT_OK;
  cudaGetLastError();  // or the next call would report this one again
  const char* text = cudaGetErrorString(status);
  if (!is_fatal(status))
    return fail(GRAFT_DEVICE_ERROR, "%s: CUDA device %d: %s", op, context.device, text);
  {
    std::lock_guard<std::mutex> hold(lost_mutex);
    char* first = lost_text[context.device];
    if (first[0] == '\0') std::snprintf(first, sizeof lost_text[0], "%s: %s", op, text);
  }
  return fail(
      GRAFT_DEVICE_ERROR,
      "%s: CUDA device %d: %s. The device is lost to this process, which has to be restarted", op,
      context.device, text);
}

int enter(const cuda_context& context, const char* op) {
  {
    std::lock_guard<std::mutex> hold(lost_mutex);
    const char* first = lost_text[context.device];
    if (first[0] != '\0')
      return fail(GRAFT_DEVICE_LOST,
                  "%s: CUDA device %d was lost to this process by an earlier error (%s), which has "
                  "to be restarted",
                  op, context.device, first);
  }
  return check(context, op, cudaSetDevice(context.device));
}

int enter_uncaptured(const cuda_context& context, const char* op) {
  GRAFT_TRY(enter(context, op));
  if (context.capturing)
    return fail(GRAFT_INVALID_ARGUMENT,
                "%s: expected outside of a capture, got between capture_begin and capture_end",
                op);
  return GRAFT_OK;
}

const char* unavailable() {
  thread_local char text[256];
  int driver = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0)
    return "there is no NVIDIA driver on this machine (libcuda.so.1 was not found)";
  if (driver < least_driver) {
    std::snprintf(text, sizeof text,
                  "the NVIDIA driver is too old: it supports CUDA up to %d.%d, this build needs "
                  "CUDA %d.%d (driver 580 or later)",
                  driver / 1000, driver % 1000 / 10, least_driver / 1000, least_driver % 1000 / 10);
    return text;
  }
  int devices = 0;
  const cudaError_t status = cudaGetDeviceCount(&devices);
  cudaGetLastError();
  if (status == cudaErrorNoDevice || (status == cudaSuccess && devices == 0)) {
    const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
    if (visible == nullptr) return "the NVIDIA driver finds no CUDA device";
    std::snprintf(text, sizeof text,
                  "the NVIDIA driver finds no CUDA device; CUDA_VISIBLE_DEVICES is \"%.64s\"",
                  visible);
    return text;
  }
  if (status != cudaSuccess) {
    std::snprintf(text, sizeof text, "the NVIDIA driver does not answer: %.160s",
                  cudaGetErrorString(status));
    return text;
  }
  int best = 0;
  for (int device = 0; device < devices; ++device)
    best = capability_of(device) > best ? capability_of(device) : best;
  if (best < least_capability) {
    std::snprintf(text, sizeof text,
                  "no CUDA device is new enough: compute capability %d.%d or later is needed, the "
                  "best here has %d.%d",
                  least_capability / 10, least_capability % 10, best / 10, best % 10);
    return text;
  }
  return nullptr;
}

int device_count(int32_t* count) {
  int devices = 0;
  const cudaError_t status = cudaGetDeviceCount(&devices);
  if (status != cudaSuccess)
    return fail(GRAFT_DEVICE_ERROR, "device_count: %s", cudaGetErrorString(status));
  *count = devices < most_devices ? devices : most_devices;
  return GRAFT_OK;
}

int device_describe(int32_t device, graft_device_info* info) {
  const char* op = "device_describe";
  cuda_context context{};
  context.device = device;
  cudaDeviceProp properties;
  GRAFT_TRY(check(context, op, cudaGetDeviceProperties(&properties, device)));
  *info = {};
  info->struct_size = sizeof *info;
  std::snprintf(info->name, sizeof info->name, "%.*s", static_cast<int>(sizeof info->name - 1),
                properties.name);
  info->memory_bytes = static_cast<int64_t>(properties.totalGlobalMem);
  info->capability = capability_of(device);
  info->multiprocessors = properties.multiProcessorCount;
  GRAFT_TRY(check(context, op, cudaDriverGetVersion(&info->driver_version)));
  return check(context, op, cudaRuntimeGetVersion(&info->runtime_version));
}

int context_create(const graft_context_options* options, void** state) {
  const char* op = "context_create";
  int devices = 0;
  cudaGetDeviceCount(&devices);
  if (devices > most_devices) devices = most_devices;
  if (options->device < 0 || options->device >= devices)
    return fail(GRAFT_INVALID_ARGUMENT, "%s: device: expected 0..%d, got %d", op, devices - 1,
                options->device);
  const int capability = capability_of(options->device);
  if (capability < least_capability)
    return fail(GRAFT_UNSUPPORTED,
                "%s: CUDA device %d has compute capability %d.%d, %d.%d or later is needed", op,
                options->device, capability / 10, capability % 10, least_capability / 10,
                least_capability % 10);
  auto* created = new (std::nothrow) cuda_context{};
  if (created == nullptr) return fail(GRAFT_OUT_OF_MEMORY, "%s: no memory", op);
  created->device = options->device;
  created->capability = capability;
  created->stream = static_cast<cudaStream_t>(options->stream);
  const auto prepare = [&]() -> int {
    GRAFT_TRY(enter(*created, op));
    GRAFT_TRY(check(*created, op,
                    cudaDeviceGetAttribute(&created->multiprocessors,
                                           cudaDevAttrMultiProcessorCount, created->device)));
    GRAFT_TRY(check(*created, op,
                    cudaDeviceGetAttribute(&created->shared_bytes,
                                           cudaDevAttrMaxSharedMemoryPerBlockOptin,
                                           created->device)));
    if (created->stream == nullptr) {
      // Not blocking: the legacy default stream of other libraries does not hold it up.
      GRAFT_TRY(
          check(*created, op, cudaStreamCreateWithFlags(&created->stream, cudaStreamNonBlocking)));
      created->owns_stream = true;
    }
    void* step = nullptr;
    GRAFT_TRY(check(*created, op, cudaMalloc(&step, sizeof(step_state))));
    created->step = static_cast<step_state*>(step);
    return check(*created, op, step_clear(*created));
  };
  const int status = prepare();
  if (status != GRAFT_OK) {
    cudaFree(created->step);
    if (created->owns_stream) cudaStreamDestroy(created->stream);
    delete created;
    return status;
  }
  *state = created;
  return GRAFT_OK;
}

int context_destroy(void* state) {
  const char* op = "context_destroy";
  auto* context = static_cast<cuda_context*>(state);
  int status = enter(*context, op);
  if (status == GRAFT_OK) status = check(*context, op, cudaStreamSynchronize(context->stream));
  // On a lost device these fail too, and there is nothing left to free.
  cudaFree(context->step);
  if (context->owns_stream) cudaStreamDestroy(context->stream);
  cudaGetLastError();
  delete context;
  return status;
}

int context_activate(void* state) {
  return enter(*static_cast<cuda_context*>(state), "context_activate");
}

int synchronize(void* state) {
  const auto& context = *static_cast<cuda_context*>(state);
  GRAFT_TRY(enter_uncaptured(context, "synchronize"));
  return check(context, "synchronize", cudaStreamSynchronize(context.stream));
}

int stream(void* state, void** out) {
  *out = static_cast<cuda_context*>(state)->stream;
  return GRAFT_OK;
}

}  // namespace graft::cuda
