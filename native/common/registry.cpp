#include "registry.h"

#include <dlfcn.h>

#include <mutex>

#include "error.h"

namespace graft {
namespace {

std::mutex plugin_mutex;
const backend_table* cuda_table = nullptr;

}  // namespace

int find_backend(const char* op, int backend, const backend_table** table) {
  if (backend == GRAFT_CPU) {
    *table = &cpu_backend();
    return GRAFT_OK;
  }
  if (backend != GRAFT_CUDA)
    return fail(GRAFT_INVALID_ARGUMENT, "%s: backend: expected GRAFT_CPU or GRAFT_CUDA, got %d", op,
                backend);
  std::lock_guard<std::mutex> lock(plugin_mutex);
  if (cuda_table == nullptr)
    return fail(GRAFT_UNSUPPORTED,
                "%s: backend: the CUDA backend is not loaded; graft_load_backend(GRAFT_CUDA, path "
                "of libgraft_cuda.so) comes first",
                op);
  *table = cuda_table;
  return GRAFT_OK;
}

}  // namespace graft

extern "C" int graft_load_backend(int backend, const char* path) {
  using graft::fail;
  const char* op = "load_backend";
  if (backend == GRAFT_CPU) return GRAFT_OK;
  if (backend != GRAFT_CUDA)
    return fail(GRAFT_INVALID_ARGUMENT, "%s: backend: expected GRAFT_CPU or GRAFT_CUDA, got %d", op,
                backend);
  if (path == nullptr || path[0] != '/')
    return fail(GRAFT_INVALID_ARGUMENT, "%s: path: expected an absolute path, got %s", op,
                path == nullptr ? "NULL" : path);
  std::lock_guard<std::mutex> lock(graft::plugin_mutex);
  if (graft::cuda_table != nullptr) return GRAFT_OK;
  // RTLD_LOCAL: the plugin's CUDA runtime is its own and must not serve symbols to others.
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return fail(GRAFT_UNSUPPORTED, "%s: %s", op, dlerror());
  using table_function = const graft::backend_table* (*)();
  auto table_of = reinterpret_cast<table_function>(dlsym(library, "graft_backend_table"));
  if (table_of == nullptr) {
    dlclose(library);
    return fail(GRAFT_UNSUPPORTED, "%s: %s is not a Graft backend", op, path);
  }
  const graft::backend_table* table = table_of();
  if (table->abi_version != GRAFT_ABI_VERSION ||
      table->struct_size != static_cast<int64_t>(sizeof(graft::backend_table)) ||
      table->backend != GRAFT_CUDA) {
    const int version = table->abi_version;
    dlclose(library);
    return fail(GRAFT_UNSUPPORTED, "%s: %s: expected ABI version %d, got %d", op, path,
                GRAFT_ABI_VERSION, version);
  }
  graft::cuda_table = table;
  return GRAFT_OK;
}
