// Checks every backend relies on: pointers, dtypes, sizes, strides and products that fit int64_t.
// One function an op, in common/checks/<op>.cpp; each returns GRAFT_OK or fail(...). The helpers are
// static: CPU kernels, compiled once an instruction set, use them too (see cpu/cpu.h).
#pragma once

#include <cstdint>

#include "error.h"
#include "ops.h"

namespace graft {

#define GRAFT_DECLARE_CHECK(op, args) int check_##op(const args&);
GRAFT_OPS(GRAFT_DECLARE_CHECK)
#undef GRAFT_DECLARE_CHECK

// Sizes only (no pointers): what a workspace query needs to be right. Exported for the plugin.
int check_attention_sizes(const char* op, const graft_attention_args&);
// Which arrays of a parameter are there, and their alignment.
int check_optimizer_state(const char* op, const graft_parameter&);
GRAFT_API int check_attention_decode_sizes(const char* op, const graft_attention_decode_args&);

// For backends that have the base engine alone.
static inline int check_base_engine(const char* op, const graft_attention_args& a, const char* where) {
  if (a.engine != GRAFT_ATTENTION_SM90) return GRAFT_OK;
  return fail(GRAFT_UNSUPPORTED, "%s: engine: expected 0 or 1 %s, got 2 (sm_90)", op, where);
}

static inline int64_t dtype_bytes(int32_t dtype) { return dtype == GRAFT_BFLOAT16 ? 2 : 4; }

// float32 or bfloat16.
static inline int check_float_dtype(const char* op, const char* name, int32_t dtype) {
  if (dtype == GRAFT_FLOAT32 || dtype == GRAFT_BFLOAT16) return GRAFT_OK;
  return fail(GRAFT_INVALID_DTYPE, "%s: %s: expected GRAFT_FLOAT32 or GRAFT_BFLOAT16, got %d", op,
              name, static_cast<int>(dtype));
}

// low <= value <= high.
static inline int check_range(const char* op, const char* name, int64_t value, int64_t low,
                       int64_t high = INT64_MAX) {
  if (value >= low && value <= high) return GRAFT_OK;
  if (high == INT64_MAX)
    return fail(GRAFT_INVALID_SHAPE, "%s: %s: expected at least %lld, got %lld", op, name,
                static_cast<long long>(low), static_cast<long long>(value));
  return fail(GRAFT_INVALID_SHAPE, "%s: %s: expected %lld..%lld, got %lld", op, name,
              static_cast<long long>(low), static_cast<long long>(high),
              static_cast<long long>(value));
}

// a * b * element_bytes fits int64_t.
static inline int check_product(const char* op, const char* name, int64_t a, int64_t b,
                         int64_t element_bytes) {
  int64_t product;
  if (!__builtin_mul_overflow(a, b, &product) &&
      !__builtin_mul_overflow(product, element_bytes, &product))
    return GRAFT_OK;
  return fail(GRAFT_INVALID_SHAPE, "%s: %s: expected a size within 2^63 bytes, got %lld x %lld", op,
              name, static_cast<long long>(a), static_cast<long long>(b));
}

// Not null (unless elements is 0) and aligned to `alignment`.
static inline int check_pointer(const char* op, const char* name, const void* pointer, int64_t elements,
                         int64_t alignment) {
  if (elements == 0) return GRAFT_OK;
  if (pointer == nullptr)
    return fail(GRAFT_INVALID_ARGUMENT, "%s: %s: expected an address, got NULL", op, name);
  if (reinterpret_cast<uintptr_t>(pointer) % static_cast<uintptr_t>(alignment) != 0)
    return fail(GRAFT_INVALID_ALIGNMENT, "%s: %s: expected alignment to %lld bytes, got %p", op,
                name, static_cast<long long>(alignment), pointer);
  return GRAFT_OK;
}

// As check_pointer, but NULL is allowed.
static inline int check_optional_pointer(const char* op, const char* name, const void* pointer,
                                  int64_t alignment) {
  return pointer == nullptr ? GRAFT_OK : check_pointer(op, name, pointer, 1, alignment);
}

// A stride of 0 means packed; else it must be at least `packed`.
static inline int check_stride(const char* op, const char* name, int64_t stride, int64_t packed) {
  if (stride == 0 || stride >= packed) return GRAFT_OK;
  return fail(GRAFT_INVALID_SHAPE, "%s: %s: expected 0 or at least %lld, got %lld", op, name,
              static_cast<long long>(packed), static_cast<long long>(stride));
}
static inline int64_t stride_or(int64_t stride, int64_t packed) { return stride == 0 ? packed : stride; }

static inline int check_dropout(const char* op, const char* name, int32_t dropout) {
  return check_range(op, name, dropout, 0, 255);
}

// A finite weight of class `index`, at least 0.
static inline int check_weight(const char* op, const char* name, float weight, int64_t index) {
  if (weight >= 0.0f && weight <= __FLT_MAX__) return GRAFT_OK;
  return fail(GRAFT_INVALID_SHAPE, "%s: %s: expected a finite number >= 0, got %g at %lld", op, name,
              static_cast<double>(weight), static_cast<long long>(index));
}

static inline int check_workspace(const char* op, const void* workspace, int64_t got, int64_t needed) {
  if (needed == 0) return GRAFT_OK;
  if (got < needed)
    return fail(GRAFT_INVALID_SHAPE, "%s: workspace_bytes: expected at least %lld, got %lld", op,
                static_cast<long long>(needed), static_cast<long long>(got));
  return check_pointer(op, "workspace", workspace, 1, 64);
}

}  // namespace graft
