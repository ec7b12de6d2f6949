// The CPU backend: contexts, memory, step state, and the choice of an instruction set.
#include <omp.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <new>

#include "../cpu/cpu.h"
#include "backend.h"
#include "error.h"
#include "host_memory.h"

// Everything before it is done when it is recorded.
struct graft_event {
  std::chrono::steady_clock::time_point recorded;
};

namespace graft {
namespace {

int detect_isa() {
#if defined(__x86_64__) && !defined(GRAFT_BASELINE_ONLY)
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") ||
      !__builtin_cpu_supports("bmi2"))
    return GRAFT_ISA_BASELINE;
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl"))
    return GRAFT_ISA_AVX2;
  if (!__builtin_cpu_supports("avx512bf16")) return GRAFT_ISA_AVX512;
  return GRAFT_ISA_AVX512_BF16;
#else
  return GRAFT_ISA_BASELINE;
#endif
}

const cpu_ops& ops_of(int isa) {
#if defined(__x86_64__) && !defined(GRAFT_BASELINE_ONLY)
  switch (isa) {
    case GRAFT_ISA_AVX2: return avx2::table;
    case GRAFT_ISA_AVX512: return avx512::table;
    case GRAFT_ISA_AVX512_BF16: return avx512bf16::table;
    default: return baseline::table;
  }
#else
  (void)isa;
  return baseline::table;
#endif
}

std::atomic<int>& chosen_isa() {
  static std::atomic<int> isa{detect_isa()};
  return isa;
}

const cpu_ops& ops() { return ops_of(chosen_isa().load(std::memory_order_relaxed)); }

cpu_context& context_of(void* state) { return *static_cast<cpu_context*>(state); }

const char* unavailable() { return nullptr; }

int device_count(int32_t* count) {
  *count = 1;
  return GRAFT_OK;
}

int device_describe(int32_t, graft_device_info* info) {
  *info = {};
  info->struct_size = sizeof *info;
  std::strcpy(info->name, "cpu");
  return GRAFT_OK;
}

int context_create(const graft_context_options* options, void** state) {
  if (options->device != 0)
    return fail(GRAFT_INVALID_ARGUMENT, "context_create: device: expected 0 on the CPU, got %d",
                options->device);
  if (options->stream != nullptr)
    return fail(GRAFT_INVALID_ARGUMENT, "context_create: stream: expected NULL on the CPU");
  auto* created = new (std::nothrow) cpu_context{};
  if (created == nullptr) return fail(GRAFT_OUT_OF_MEMORY, "context_create: no memory");
  created->threads = options->threads > 0 ? options->threads : omp_get_max_threads();
  created->inputs.struct_size = sizeof(graft_step_inputs);
  created->results.struct_size = sizeof(graft_step_results);
  created->results.clip_coefficient = 1.0f;
  for (float& scale : created->inputs.loss_scale) scale = 1.0f;
  *state = created;
  return GRAFT_OK;
}

int context_destroy(void* state) {
  delete static_cast<cpu_context*>(state);
  return GRAFT_OK;
}

int context_activate(void* state) {
  omp_set_num_threads(context_of(state).threads);
  return GRAFT_OK;
}

int context_threads(void* state) { return context_of(state).threads; }
int synchronize(void*) { return GRAFT_OK; }

int stream(void*, void** out) {
  *out = nullptr;
  return GRAFT_OK;
}

// Smaller blocks are not worth asking the system about.
constexpr int64_t large_block = int64_t{64} << 20;

int memory_info(void*, int64_t* free_bytes, int64_t* total_bytes) {
  const memory_amounts amounts = host_memory();
  *free_bytes = amounts.free;
  *total_bytes = amounts.total;
  return GRAFT_OK;
}

int allocate(void*, int64_t bytes, void** address) {
  if (bytes >= large_block) {
    const memory_amounts amounts = host_memory();
    if (bytes > amounts.free)
      return fail(GRAFT_OUT_OF_MEMORY,
                  "malloc: %lld bytes asked for on the CPU, which has %lld of %lld left",
                  static_cast<long long>(bytes), static_cast<long long>(amounts.free),
                  static_cast<long long>(amounts.total));
  }
  // Whole pages for large blocks, cache lines for small ones.
  const size_t alignment = bytes >= (1 << 21) ? 4096 : 64;
  if (bytes > INT64_MAX - 4096) {
    return fail(GRAFT_OUT_OF_MEMORY, "malloc: %lld bytes asked for", static_cast<long long>(bytes));
  }
  const size_t rounded = (static_cast<size_t>(bytes) + alignment - 1) / alignment * alignment;
  void* block = std::aligned_alloc(alignment, rounded);
  if (block == nullptr)
    return fail(GRAFT_OUT_OF_MEMORY, "malloc: %lld bytes asked for", static_cast<long long>(bytes));
  *address = block;
  return GRAFT_OK;
}

int release(void*, void* address) {
  std::free(address);
  return GRAFT_OK;
}

int copy(void*, void* to, const void* from, int64_t bytes, int) {
  std::memmove(to, from, static_cast<size_t>(bytes));
  return GRAFT_OK;
}

int set(void*, void* address, int value, int64_t bytes) {
  std::memset(address, value, static_cast<size_t>(bytes));
  return GRAFT_OK;
}

int event_create(void*, graft_event** out) {
  *out = new (std::nothrow) graft_event{};
  return *out != nullptr ? GRAFT_OK : fail(GRAFT_OUT_OF_MEMORY, "event_create: no memory");
}

int event_record(void*, graft_event* event) {
  event->recorded = std::chrono::steady_clock::now();
  return GRAFT_OK;
}

int event_synchronize(void*, graft_event*) { return GRAFT_OK; }

int event_elapsed(void*, graft_event* begin, graft_event* end, float* milliseconds) {
  *milliseconds =
      std::chrono::duration<float, std::milli>(end->recorded - begin->recorded).count();
  return GRAFT_OK;
}

int event_destroy(void*, graft_event* event) {
  delete event;
  return GRAFT_OK;
}

int host_enqueue(void*, graft_host_function function, void* user) {
  function(user);
  return GRAFT_OK;
}

int no_graphs(const char* op) {
  return fail(GRAFT_UNSUPPORTED, "%s: the CPU backend has no graphs; replay the calls", op);
}
int capture_begin(void*) { return no_graphs("capture_begin"); }
int capture_end(void*, graft_graph**) { return no_graphs("capture_end"); }
int graph_launch(void*, graft_graph*) { return no_graphs("graph_launch"); }
int graph_destroy(void*, graft_graph*) { return no_graphs("graph_destroy"); }

int step_begin(void* state, const graft_step_inputs* inputs) {
  context_of(state).inputs = *inputs;
  return GRAFT_OK;
}

int loss_reset(void* state) {
  graft_step_results& results = context_of(state).results;
  for (int slot = 0; slot < GRAFT_LOSS_SLOTS; ++slot) {
    results.loss_sum[slot] = 0.0;
    results.loss_weight[slot] = 0.0;
    results.loss_count[slot] = 0;
  }
  return GRAFT_OK;
}

int step_read(void* state, graft_step_results* results) {
  *results = context_of(state).results;
  return GRAFT_OK;
}

int step_restore(void* state, const graft_step_results* results) {
  graft_step_results& own = context_of(state).results;
  own.adam_t = results->adam_t;
  own.skipped_steps = results->skipped_steps;
  for (int slot = 0; slot < GRAFT_LOSS_SLOTS; ++slot) {
    own.loss_sum[slot] = results->loss_sum[slot];
    own.loss_weight[slot] = results->loss_weight[slot];
    own.loss_count[slot] = results->loss_count[slot];
  }
  return GRAFT_OK;
}

int parameter_set_destroy(void*, graft_parameter_set* set) {
  delete[] set->parameters;
  delete[] set->blocks;
  delete[] set->partial_sums;
  delete set;
  return GRAFT_OK;
}

int parameter_set_create(void* state, const graft_parameter* parameters, int64_t count,
                         graft_parameter_set** out) {
  int64_t blocks = 0;
  for (int64_t i = 0; i < count; ++i)
    blocks += (parameters[i].count + optimizer_block - 1) / optimizer_block;
  auto* set = new (std::nothrow) graft_parameter_set{};
  if (set == nullptr) return fail(GRAFT_OUT_OF_MEMORY, "parameter_set_create: no memory");
  set->count = count;
  set->block_count = blocks;
  set->parameters = new (std::nothrow) graft_parameter[static_cast<size_t>(count)];
  set->blocks = new (std::nothrow) parameter_block[static_cast<size_t>(blocks)];
  set->partial_sums = new (std::nothrow) double[2 * static_cast<size_t>(blocks)];
  if (!set->parameters || !set->blocks || !set->partial_sums) {
    parameter_set_destroy(state, set);
    return fail(GRAFT_OUT_OF_MEMORY, "parameter_set_create: no memory for %lld parameters",
                static_cast<long long>(count));
  }
  int64_t block = 0;
  for (int64_t i = 0; i < count; ++i) {
    set->parameters[i] = parameters[i];
    for (int64_t begin = 0; begin < parameters[i].count; begin += optimizer_block) {
      const int64_t left = parameters[i].count - begin;
      set->blocks[block++] = {i, begin, begin + (left < optimizer_block ? left : optimizer_block)};
    }
  }
  *out = set;
  return GRAFT_OK;
}

int attention_workspace(void* state, const graft_attention_args* args, int backward,
                        int64_t* bytes) {
  return ops().attention_workspace(context_of(state), *args, backward, bytes);
}

#define GRAFT_FORWARD(query, args_type)                                  \
  int query(void* state, const args_type* args, int64_t* bytes) {        \
    return ops().query(context_of(state), *args, bytes);                 \
  }
GRAFT_WORKSPACE_QUERIES(GRAFT_FORWARD)
#undef GRAFT_FORWARD
#define GRAFT_FORWARD(op, args_type)              \
  int op(void* state, const args_type* args) {    \
    return ops().op(context_of(state), *args);    \
  }
GRAFT_OPS(GRAFT_FORWARD)
#undef GRAFT_FORWARD

}  // namespace

const backend_table& cpu_backend() {
  static const backend_table table = {
      sizeof(backend_table), GRAFT_ABI_VERSION, GRAFT_CPU,    unavailable,
      device_count,          device_describe,
      context_create,        context_destroy,   context_activate, context_threads,
      synchronize,           stream,            allocate,     release,
      copy,                  set,               allocate,     release,      memory_info,
      event_create,          event_record,      event_synchronize, event_elapsed,
      event_destroy,         host_enqueue,      capture_begin, capture_end,  graph_launch,
      graph_destroy,         step_begin,        loss_reset,   step_read,
      step_restore,          parameter_set_create, parameter_set_destroy, attention_workspace,
#define GRAFT_ENTRY(name, args) name,
      GRAFT_WORKSPACE_QUERIES(GRAFT_ENTRY) GRAFT_OPS(GRAFT_ENTRY)
#undef GRAFT_ENTRY
  };
  return table;
}

}  // namespace graft

extern "C" int graft_cpu_isa(void) { return graft::chosen_isa().load(); }

extern "C" int graft_cpu_limit_isa(int isa) {
  const int highest = graft::detect_isa();
  if (isa < GRAFT_ISA_BASELINE || isa > highest)
    return graft::fail(GRAFT_UNSUPPORTED, "cpu_limit_isa: isa: expected 0..%d here, got %d",
                       highest, isa);
  graft::chosen_isa().store(isa);
  return GRAFT_OK;
}
