// Events, and functions of the host in the order of the stream.
#include <new>

#include "context.h"

// Opaque in graft.h.
struct graft_event {
  cudaEvent_t handle;
};

namespace graft::cuda {

int event_create(void* state, graft_event** out) {
  const char* op = "event_create";
  const auto& context = *static_cast<cuda_context*>(state);
  GRAFT_TRY(enter_uncaptured(context, op));
  cudaEvent_t handle = nullptr;
  GRAFT_TRY(check(context, op, cudaEventCreate(&handle)));
  *out = new (std::nothrow) graft_event{handle};
  if (*out != nullptr) return GRAFT_OK;
  cudaEventDestroy(handle);
  return fail(GRAFT_OUT_OF_MEMORY, "%s: no memory for an event", op);
}

int event_record(void* state, graft_event* event) {
  const auto& context = *static_cast<cuda_context*>(state);
  GRAFT_TRY(enter_uncaptured(context, "event_record"));
  return check(context, "event_record", cudaEventRecord(event->handle, context.stream));
}

int event_synchronize(void* state, graft_event* event) {
  const auto& context = *static_cast<cuda_context*>(state);
  GRAFT_TRY(enter_uncaptured(context, "event_synchronize"));
  return check(context, "event_synchronize", cudaEventSynchronize(event->handle));
}

int event_elapsed(void* state, graft_event* begin, graft_event* end, float* milliseconds) {
  const char* op = "event_elapsed";
  const auto& context = *static_cast<cuda_context*>(state);
  GRAFT_TRY(enter_uncaptured(context, op));
  GRAFT_TRY(check(context, op, cudaEventSynchronize(end->handle)));
  return check(context, op, cudaEventElapsedTime(milliseconds, begin->handle, end->handle));
}

int event_destroy(void* state, graft_event* event) {
  const auto& context = *static_cast<cuda_context*>(state);
  int status = enter(context, "event_destroy");
  if (status == GRAFT_OK)
    status = check(context, "event_destroy", cudaEventDestroy(event->handle));
  delete event;
  return status;
}

int host_enqueue(void* state, graft_host_function function, void* user) {
  const auto& context = *static_cast<cuda_context*>(state);
  GRAFT_TRY(enter(context, "host_enqueue"));
  return check(context, "host_enqueue", cudaLaunchHostFunc(context.stream, function, user));
}

}  // namespace graft::cuda
