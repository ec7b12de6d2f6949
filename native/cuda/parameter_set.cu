#include "parameter_set.h"

#include <algorithm>
#include <new>

namespace graft::cuda {

int parameter_set_create(void* state, const graft_parameter* parameters, int64_t count,
                         graft_parameter_set** out) try {
  const char* op = "parameter_set_create";
  const auto& context = *static_cast<cuda_context*>(state);
  GRAFT_TRY(enter_uncaptured(context, op));
  const std::vector<parameter_block> blocks = cut_in_blocks(parameters, count);
  const size_t parameter_bytes = static_cast<size_t>(count) * sizeof(graft_parameter);
  const size_t block_bytes = blocks.size() * sizeof(parameter_block);
  const size_t sum_bytes = 2 * blocks.size() * sizeof(double);
  const size_t bytes = parameter_bytes + block_bytes + sum_bytes + sizeof(double);
  void* memory = nullptr;
  GRAFT_TRY(allocate(state, static_cast<int64_t>(bytes), &memory));
  auto* at = static_cast<unsigned char*>(memory);
  auto* set = new (std::nothrow) graft_parameter_set{
      reinterpret_cast<const graft_parameter*>(at),
      reinterpret_cast<const parameter_block*>(at + parameter_bytes),
      reinterpret_cast<double*>(at + parameter_bytes + block_bytes),
      reinterpret_cast<int*>(at + parameter_bytes + block_bytes + sum_bytes),
      static_cast<int64_t>(blocks.size()),
      std::any_of(parameters, parameters + count,
                  [](const graft_parameter& p) { return p.m16 != nullptr; })};
  const auto upload = [&]() -> int {
    if (set == nullptr) return fail(GRAFT_OUT_OF_MEMORY, "%s: no memory", op);
    if (count > 0)
      GRAFT_TRY(copy(state, at, parameters, static_cast<int64_t>(parameter_bytes),
                     GRAFT_HOST_TO_DEVICE));
    if (!blocks.empty())
      GRAFT_TRY(copy(state, at + parameter_bytes, blocks.data(), static_cast<int64_t>(block_bytes),
                     GRAFT_HOST_TO_DEVICE));
    GRAFT_TRY(graft::cuda::set(state, set->finished, 0, sizeof(int)));
    return check(context, op, cudaStreamSynchronize(context.stream));
  };
  const int status = upload();
  if (status != GRAFT_OK) {
    cudaFree(memory);
    delete set;
    return status;
  }
  *out = set;
  return GRAFT_OK;
} catch (const std::bad_alloc&) {
  return fail(GRAFT_OUT_OF_MEMORY, "parameter_set_create: no memory for %lld parameters",
              static_cast<long long>(count));
}

int parameter_set_destroy(void* state, graft_parameter_set* set) {
  const int status = release(state, const_cast<graft_parameter*>(set->parameters));
  delete set;
  return status;
}

}  // namespace graft::cuda
