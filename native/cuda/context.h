// The CUDA backend's inside: a context, and how an op reaches the device.
//
// An op is `int <op>(cuda_context&, const graft_<op>_args&)` in native/cuda/<op>.cu: kernel,
// launcher, entry. Its arguments are checked (common/checks) and the context's device is set. It
// enqueues on context.stream, never waits and never allocates.
#pragma once

#include "../common/backend.h"
#include "../common/error.h"
#include "device.h"

namespace graft::cuda {

// In device memory: what graft.h calls the step state. Kernels read it, so that a captured graph
// needs no new arguments.
struct step_state {
  graft_step_inputs inputs;
  graft_step_results results;
  // Blocks of the running launch that are done, for kernels whose last block joins the sums of all.
  // That block sets it back to 0; a context's launches follow one another, so one is enough.
  int finished;
};

struct cuda_context {
  int device;
  int multiprocessors;
  int capability;    // 10 * major + minor
  int shared_bytes;  // most shared memory a block can have
  bool owns_stream;
  bool capturing;
  cudaStream_t stream;
  step_state* step;  // device memory
};

// GRAFT_OK, or the error as text: "<op>: CUDA device 0: ...". A fatal one marks the device lost for
// the process; from then on enter() fails.
int check(const cuda_context& context, const char* op, cudaError_t status);
// Makes the device the thread's own; GRAFT_DEVICE_LOST after a fatal error.
int enter(const cuda_context& context, const char* op);
// As enter(), for calls that wait or allocate and so cannot be captured.
int enter_uncaptured(const cuda_context& context, const char* op);

// What backend.cu collects into the table. The names are backend.h's.
const char* unavailable();
int device_count(int32_t* count);
int device_describe(int32_t device, graft_device_info*);
int context_create(const graft_context_options*, void** state);
int context_destroy(void* state);
int context_activate(void* state);
int synchronize(void* state);
int stream(void* state, void** stream);
int allocate(void* state, int64_t bytes, void** address);
int release(void* state, void* address);
int copy(void* state, void* to, const void* from, int64_t bytes, int kind);
int set(void* state, void* address, int value, int64_t bytes);
int host_allocate(void* state, int64_t bytes, void** address);
int host_release(void* state, void* address);
int memory_info(void* state, int64_t* free_bytes, int64_t* total_bytes);
int event_create(void* state, graft_event**);
int event_record(void* state, graft_event*);
int event_synchronize(void* state, graft_event*);
int event_elapsed(void* state, graft_event* begin, graft_event* end, float* milliseconds);
int event_destroy(void* state, graft_event*);
int host_enqueue(void* state, graft_host_function, void* user);
int capture_begin(void* state);
int capture_end(void* state, graft_graph**);
int graph_launch(void* state, graft_graph*);
int graph_destroy(void* state, graft_graph*);
int step_begin(void* state, const graft_step_inputs*);
int loss_reset(void* state);
int step_read(void* state, graft_step_results*);
int step_restore(void* state, const graft_step_results*);
int parameter_set_create(void* state, const graft_parameter*, int64_t, graft_parameter_set**);
int parameter_set_destroy(void* state, graft_parameter_set*);

// Sets the step state to its start, ordered on the stream.
cudaError_t step_clear(const cuda_context& context);

int attention_workspace(const cuda_context&, const graft_attention_args&, int backward,
                        int64_t* bytes);
#define GRAFT_DECLARE(query, args) int query(const cuda_context&, const args&, int64_t* bytes);
GRAFT_WORKSPACE_QUERIES(GRAFT_DECLARE)
#undef GRAFT_DECLARE
#define GRAFT_DECLARE(op, args) int op(cuda_context&, const args&);
GRAFT_OPS(GRAFT_DECLARE)
#undef GRAFT_DECLARE

}  // namespace graft::cuda
