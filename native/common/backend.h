// What a backend is: one versioned table of functions. The CPU's is linked in, a plugin exports
// `graft_backend_table`. Arguments reach a backend already checked (common/checks).
#pragma once

#include "ops.h"

namespace graft {

struct backend_table {
  int64_t struct_size;
  int32_t abi_version;
  int32_t backend;

  // nullptr if the backend can serve contexts, else why not.
  const char* (*unavailable)();
  int (*device_count)(int32_t* count);
  int (*device_describe)(int32_t device, graft_device_info*);
  int (*context_create)(const graft_context_options*, void** state);
  int (*context_destroy)(void* state);
  int (*context_activate)(void* state);
  int (*context_threads)(void* state);
  int (*synchronize)(void* state);
  int (*stream)(void* state, void** stream);

  int (*malloc)(void* state, int64_t bytes, void** address);
  int (*free)(void* state, void* address);
  int (*memcpy)(void* state, void* to, const void* from, int64_t bytes, int kind);
  int (*memset)(void* state, void* address, int value, int64_t bytes);
  int (*host_malloc)(void* state, int64_t bytes, void** address);
  int (*host_free)(void* state, void* address);
  int (*memory_info)(void* state, int64_t* free_bytes, int64_t* total_bytes);

  int (*event_create)(void* state, graft_event**);
  int (*event_record)(void* state, graft_event*);
  int (*event_synchronize)(void* state, graft_event*);
  int (*event_elapsed)(void* state, graft_event* begin, graft_event* end, float* milliseconds);
  int (*event_destroy)(void* state, graft_event*);
  int (*host_enqueue)(void* state, graft_host_function, void* user);

  int (*capture_begin)(void* state);
  int (*capture_end)(void* state, graft_graph**);
  int (*graph_launch)(void* state, graft_graph*);
  int (*graph_destroy)(void* state, graft_graph*);

  int (*step_begin)(void* state, const graft_step_inputs*);
  int (*loss_reset)(void* state);
  int (*step_read)(void* state, graft_step_results*);
  int (*step_restore)(void* state, const graft_step_results*);

  int (*parameter_set_create)(void* state, const graft_parameter*, int64_t, graft_parameter_set**);
  int (*parameter_set_destroy)(void* state, graft_parameter_set*);

  int (*attention_workspace)(void* state, const graft_attention_args*, int backward, int64_t*);
#define GRAFT_TABLE_ENTRY(query, args) int (*query)(void* state, const args*, int64_t* bytes);
  GRAFT_WORKSPACE_QUERIES(GRAFT_TABLE_ENTRY)
#undef GRAFT_TABLE_ENTRY

#define GRAFT_TABLE_ENTRY(op, args) int (*op)(void* state, const args*);
  GRAFT_OPS(GRAFT_TABLE_ENTRY)
#undef GRAFT_TABLE_ENTRY
};

const backend_table& cpu_backend();

}  // namespace graft

struct graft_context {
  const graft::backend_table* backend;
  void* state;
};
