// The table that libgraft.so asks the plugin for.
#include "context.h"

namespace graft::cuda {
namespace {

cuda_context& context_of(void* state) { return *static_cast<cuda_context*>(state); }

int context_threads(void*) { return 0; }

int attention_workspace_entry(void* state, const graft_attention_args* args, int backward,
                              int64_t* bytes) {
  return attention_workspace(context_of(state), *args, backward, bytes);
}

#define GRAFT_FORWARD(query, args_type)                                         \
  int query##_entry(void* state, const args_type* args, int64_t* bytes) {       \
    return query(context_of(state), *args, bytes);                              \
  }
GRAFT_WORKSPACE_QUERIES(GRAFT_FORWARD)
#undef GRAFT_FORWARD
#define GRAFT_FORWARD(op, args_type)                      \
  int op##_entry(void* state, const args_type* args) {    \
    GRAFT_TRY(enter(context_of(state), #op));             \
    return op(context_of(state), *args);                  \
  }
GRAFT_OPS(GRAFT_FORWARD)
#undef GRAFT_FORWARD

constexpr backend_table table = {
    sizeof(backend_table),
    GRAFT_ABI_VERSION,
    GRAFT_CUDA,
    unavailable,
    device_count,
    device_describe,
    context_create,
    context_destroy,
    context_activate,
    context_threads,
    synchronize,
    stream,
    allocate,
    release,
    copy,
    set,
    host_allocate,
    host_release,
    memory_info,
    event_create,
    event_record,
    event_synchronize,
    event_elapsed,
    event_destroy,
    host_enqueue,
    capture_begin,
    capture_end,
    graph_launch,
    graph_destroy,
    step_begin,
    loss_reset,
    step_read,
    step_restore,
    parameter_set_create,
    parameter_set_destroy,
    attention_workspace_entry,
#define GRAFT_ENTRY(name, args) name##_entry,
    GRAFT_WORKSPACE_QUERIES(GRAFT_ENTRY) GRAFT_OPS(GRAFT_ENTRY)
#undef GRAFT_ENTRY
};

}  // namespace
}  // namespace graft::cuda

extern "C" GRAFT_API const graft::backend_table* graft_backend_table() {
  return &graft::cuda::table;
}
