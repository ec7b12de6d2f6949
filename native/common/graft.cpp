// The entry points: each checks its arguments, then hands them to the context's backend.
#include "graft/graft.h"

#include <cmath>
#include <new>

#include "backend.h"
#include "check.h"
#include "registry.h"

using graft::fail;

namespace {

int check_context(const char* op, const graft_context* context) {
  if (context != nullptr) return GRAFT_OK;
  return fail(GRAFT_INVALID_ARGUMENT, "%s: context: expected a context, got NULL", op);
}

template <typename Struct>
int check_struct(const char* op, const char* name, const Struct* value) {
  if (value == nullptr)
    return fail(GRAFT_INVALID_ARGUMENT, "%s: %s: expected an address, got NULL", op, name);
  if (value->struct_size != static_cast<int64_t>(sizeof(Struct)))
    return fail(GRAFT_INVALID_ARGUMENT, "%s: struct_size: expected %lld, got %lld", op,
                static_cast<long long>(sizeof(Struct)),
                static_cast<long long>(value->struct_size));
  return GRAFT_OK;
}

int check_out(const char* op, const char* name, const void* out) {
  if (out != nullptr) return GRAFT_OK;
  return fail(GRAFT_INVALID_ARGUMENT, "%s: %s: expected an address, got NULL", op, name);
}

}  // namespace

extern "C" {

int graft_abi_version(void) { return GRAFT_ABI_VERSION; }

const char* graft_version(void) { return "0.1.0"; }

int graft_backend_available(int backend) {
  const graft::backend_table* table = nullptr;
  if (graft::find_backend("backend_available", backend, &table) != GRAFT_OK) return 0;
  if (const char* why = table->unavailable()) {
    fail(GRAFT_UNSUPPORTED, "%s", why);
    return 0;
  }
  return 1;
}

int graft_device_count(int backend, int32_t* count) {
  const char* op = "device_count";
  GRAFT_TRY(check_out(op, "count", count));
  const graft::backend_table* table = nullptr;
  GRAFT_TRY(graft::find_backend(op, backend, &table));
  if (const char* why = table->unavailable()) return fail(GRAFT_UNSUPPORTED, "%s: %s", op, why);
  return table->device_count(count);
}

int graft_device_describe(int backend, int32_t device, graft_device_info* info) {
  const char* op = "device_describe";
  GRAFT_TRY(check_struct(op, "info", info));
  int32_t count = 0;
  GRAFT_TRY(graft_device_count(backend, &count));
  GRAFT_TRY(graft::check_range(op, "device", device, 0, count - 1));
  const graft::backend_table* table = nullptr;
  GRAFT_TRY(graft::find_backend(op, backend, &table));
  return table->device_describe(device, info);
}

int graft_context_create(const graft_context_options* options, graft_context** context) {
  const char* op = "context_create";
  GRAFT_TRY(check_struct(op, "options", options));
  GRAFT_TRY(check_out(op, "context", context));
  GRAFT_TRY(graft::check_range(op, "threads", options->threads, 0, 4096));
  const graft::backend_table* table = nullptr;
  GRAFT_TRY(graft::find_backend(op, options->backend, &table));
  if (const char* why = table->unavailable()) return fail(GRAFT_UNSUPPORTED, "%s: %s", op, why);
  void* state = nullptr;
  GRAFT_TRY(table->context_create(options, &state));
  auto* created = new (std::nothrow) graft_context{table, state};
  if (created == nullptr) {
    table->context_destroy(state);
    return fail(GRAFT_OUT_OF_MEMORY, "%s: no memory for a context", op);
  }
  *context = created;
  return GRAFT_OK;
}

int graft_context_destroy(graft_context* context) {
  if (context == nullptr) return GRAFT_OK;
  const int status = context->backend->context_destroy(context->state);
  delete context;
  return status;
}

int graft_context_activate(graft_context* context) {
  GRAFT_TRY(check_context("context_activate", context));
  return context->backend->context_activate(context->state);
}

int graft_context_threads(graft_context* context) {
  return context == nullptr ? 0 : context->backend->context_threads(context->state);
}

int graft_synchronize(graft_context* context) {
  GRAFT_TRY(check_context("synchronize", context));
  return context->backend->synchronize(context->state);
}

int graft_context_stream(graft_context* context, void** stream) {
  GRAFT_TRY(check_context("context_stream", context));
  GRAFT_TRY(check_out("context_stream", "stream", stream));
  return context->backend->stream(context->state, stream);
}

int graft_malloc(graft_context* context, int64_t bytes, void** address) {
  GRAFT_TRY(check_context("malloc", context));
  GRAFT_TRY(check_out("malloc", "address", address));
  GRAFT_TRY(graft::check_range("malloc", "bytes", bytes, 0));
  *address = nullptr;
  if (bytes == 0) return GRAFT_OK;
  return context->backend->malloc(context->state, bytes, address);
}

int graft_free(graft_context* context, void* address) {
  GRAFT_TRY(check_context("free", context));
  if (address == nullptr) return GRAFT_OK;
  return context->backend->free(context->state, address);
}

int graft_memory_info(graft_context* context, int64_t* free_bytes, int64_t* total_bytes) {
  GRAFT_TRY(check_context("memory_info", context));
  GRAFT_TRY(check_out("memory_info", "free_bytes", free_bytes));
  GRAFT_TRY(check_out("memory_info", "total_bytes", total_bytes));
  return context->backend->memory_info(context->state, free_bytes, total_bytes);
}

int graft_memcpy(graft_context* context, void* to, const void* from, int64_t bytes, int kind) {
  GRAFT_TRY(check_context("memcpy", context));
  GRAFT_TRY(graft::check_range("memcpy", "bytes", bytes, 0));
  GRAFT_TRY(graft::check_range("memcpy", "kind", kind, GRAFT_HOST_TO_DEVICE,
                               GRAFT_DEVICE_TO_DEVICE));
  GRAFT_TRY(graft::check_pointer("memcpy", "to", to, bytes, 1));
  GRAFT_TRY(graft::check_pointer("memcpy", "from", from, bytes, 1));
  if (bytes == 0) return GRAFT_OK;
  return context->backend->memcpy(context->state, to, from, bytes, kind);
}

int graft_memset(graft_context* context, void* address, int value, int64_t bytes) {
  GRAFT_TRY(check_context("memset", context));
  GRAFT_TRY(graft::check_range("memset", "bytes", bytes, 0));
  GRAFT_TRY(graft::check_pointer("memset", "address", address, bytes, 1));
  if (bytes == 0) return GRAFT_OK;
  return context->backend->memset(context->state, address, value, bytes);
}

int graft_host_malloc(graft_context* context, int64_t bytes, void** address) {
  GRAFT_TRY(check_context("host_malloc", context));
  GRAFT_TRY(check_out("host_malloc", "address", address));
  GRAFT_TRY(graft::check_range("host_malloc", "bytes", bytes, 0));
  *address = nullptr;
  if (bytes == 0) return GRAFT_OK;
  return context->backend->host_malloc(context->state, bytes, address);
}

int graft_host_free(graft_context* context, void* address) {
  GRAFT_TRY(check_context("host_free", context));
  if (address == nullptr) return GRAFT_OK;
  return context->backend->host_free(context->state, address);
}

int graft_event_create(graft_context* context, graft_event** event) {
  GRAFT_TRY(check_context("event_create", context));
  GRAFT_TRY(check_out("event_create", "event", event));
  return context->backend->event_create(context->state, event);
}

int graft_event_record(graft_context* context, graft_event* event) {
  GRAFT_TRY(check_context("event_record", context));
  GRAFT_TRY(check_out("event_record", "event", event));
  return context->backend->event_record(context->state, event);
}

int graft_event_synchronize(graft_context* context, graft_event* event) {
  GRAFT_TRY(check_context("event_synchronize", context));
  GRAFT_TRY(check_out("event_synchronize", "event", event));
  return context->backend->event_synchronize(context->state, event);
}

int graft_event_elapsed(graft_context* context, graft_event* begin, graft_event* end,
                        float* milliseconds) {
  const char* op = "event_elapsed";
  GRAFT_TRY(check_context(op, context));
  GRAFT_TRY(check_out(op, "begin", begin));
  GRAFT_TRY(check_out(op, "end", end));
  GRAFT_TRY(check_out(op, "milliseconds", milliseconds));
  return context->backend->event_elapsed(context->state, begin, end, milliseconds);
}

int graft_event_destroy(graft_context* context, graft_event* event) {
  GRAFT_TRY(check_context("event_destroy", context));
  if (event == nullptr) return GRAFT_OK;
  return context->backend->event_destroy(context->state, event);
}

int graft_host_enqueue(graft_context* context, graft_host_function function, void* user) {
  GRAFT_TRY(check_context("host_enqueue", context));
  if (function == nullptr)
    return fail(GRAFT_INVALID_ARGUMENT, "host_enqueue: function: expected an address, got NULL");
  return context->backend->host_enqueue(context->state, function, user);
}

int graft_capture_begin(graft_context* context) {
  GRAFT_TRY(check_context("capture_begin", context));
  return context->backend->capture_begin(context->state);
}

int graft_capture_end(graft_context* context, graft_graph** graph) {
  GRAFT_TRY(check_context("capture_end", context));
  GRAFT_TRY(check_out("capture_end", "graph", graph));
  return context->backend->capture_end(context->state, graph);
}

int graft_graph_launch(graft_context* context, graft_graph* graph) {
  GRAFT_TRY(check_context("graph_launch", context));
  GRAFT_TRY(check_out("graph_launch", "graph", graph));
  return context->backend->graph_launch(context->state, graph);
}

int graft_graph_destroy(graft_context* context, graft_graph* graph) {
  GRAFT_TRY(check_context("graph_destroy", context));
  if (graph == nullptr) return GRAFT_OK;
  return context->backend->graph_destroy(context->state, graph);
}

int graft_step_begin(graft_context* context, const graft_step_inputs* inputs) {
  const char* op = "step_begin";
  GRAFT_TRY(check_context(op, context));
  GRAFT_TRY(check_struct(op, "inputs", inputs));
  GRAFT_TRY(graft::check_range(op, "sequences", inputs->sequences, 0));
  if (!std::isfinite(inputs->lr))
    return fail(GRAFT_INVALID_SHAPE, "%s: lr: expected a finite number, got %g", op,
                static_cast<double>(inputs->lr));
  for (float scale : inputs->loss_scale)
    if (!std::isfinite(scale))
      return fail(GRAFT_INVALID_SHAPE, "%s: loss_scale: expected finite numbers, got %g", op,
                  static_cast<double>(scale));
  return context->backend->step_begin(context->state, inputs);
}

int graft_loss_reset(graft_context* context) {
  GRAFT_TRY(check_context("loss_reset", context));
  return context->backend->loss_reset(context->state);
}

int graft_step_read(graft_context* context, graft_step_results* results) {
  GRAFT_TRY(check_context("step_read", context));
  GRAFT_TRY(check_struct("step_read", "results", results));
  return context->backend->step_read(context->state, results);
}

int graft_step_restore(graft_context* context, const graft_step_results* results) {
  GRAFT_TRY(check_context("step_restore", context));
  GRAFT_TRY(check_struct("step_restore", "results", results));
  GRAFT_TRY(graft::check_range("step_restore", "adam_t", results->adam_t, 0));
  return context->backend->step_restore(context->state, results);
}

int graft_parameter_set_create(graft_context* context, const graft_parameter* parameters,
                               int64_t count, graft_parameter_set** set) {
  const char* op = "parameter_set_create";
  GRAFT_TRY(check_context(op, context));
  GRAFT_TRY(check_out(op, "set", set));
  GRAFT_TRY(graft::check_range(op, "count", count, 0));
  GRAFT_TRY(graft::check_pointer(op, "parameters", parameters, count, 8));
  for (int64_t i = 0; i < count; ++i) {
    const graft_parameter& p = parameters[i];
    GRAFT_TRY(graft::check_range(op, "parameter count", p.count, 0));
    GRAFT_TRY(graft::check_pointer(op, "grad", p.grad, p.count, 4));
    GRAFT_TRY(graft::check_optimizer_state(op, p));
    if (!(p.weight_decay >= 0.0f) || !(p.lr_scale >= 0.0f))
      return fail(GRAFT_INVALID_SHAPE,
                  "%s: weight_decay, lr_scale: expected numbers >= 0, got %g, %g (parameter %lld)",
                  op, static_cast<double>(p.weight_decay), static_cast<double>(p.lr_scale),
                  static_cast<long long>(i));
  }
  return context->backend->parameter_set_create(context->state, parameters, count, set);
}

int graft_parameter_set_destroy(graft_context* context, graft_parameter_set* set) {
  GRAFT_TRY(check_context("parameter_set_destroy", context));
  if (set == nullptr) return GRAFT_OK;
  return context->backend->parameter_set_destroy(context->state, set);
}

int graft_attention_workspace(graft_context* context, const graft_attention_args* args,
                              int backward, int64_t* bytes) {
  const char* op = "attention_workspace";
  GRAFT_TRY(check_context(op, context));
  GRAFT_TRY(check_struct(op, "args", args));
  GRAFT_TRY(check_out(op, "bytes", bytes));
  GRAFT_TRY(graft::check_attention_sizes(op, *args));
  return context->backend->attention_workspace(context->state, args, backward, bytes);
}

#define GRAFT_QUERY(query, args_type)                                                      \
  int graft_##query(graft_context* context, const args_type* args, int64_t* bytes) {       \
    GRAFT_TRY(check_context(#query, context));                                             \
    GRAFT_TRY(check_struct(#query, "args", args));                                         \
    GRAFT_TRY(check_out(#query, "bytes", bytes));                                          \
    return context->backend->query(context->state, args, bytes);                           \
  }
GRAFT_WORKSPACE_QUERIES(GRAFT_QUERY)
#undef GRAFT_QUERY

#define GRAFT_ENTRY(op, args_type)                                   \
  int graft_##op(graft_context* context, const args_type* args) {    \
    GRAFT_TRY(check_context(#op, context));                          \
    GRAFT_TRY(check_struct(#op, "args", args));                      \
    GRAFT_TRY(graft::check_##op(*args));                             \
    return context->backend->op(context->state, args);               \
  }
GRAFT_OPS(GRAFT_ENTRY)
#undef GRAFT_ENTRY

}  // extern "C"
