#include "../check.h"

#include <cmath>

namespace graft {
namespace {

int check_set(const char* op, const graft_parameter_set* set) {
  if (set != nullptr) return GRAFT_OK;
  return fail(GRAFT_INVALID_ARGUMENT, "%s: parameters: expected a parameter set, got NULL", op);
}

int check_beta(const char* op, const char* name, float beta) {
  if (beta >= 0.0f && beta < 1.0f) return GRAFT_OK;
  return fail(GRAFT_INVALID_SHAPE, "%s: %s: expected a number in [0, 1), got %g", op, name,
              static_cast<double>(beta));
}

// What AdamW and LAMB share.
template <typename Args>
int check_step(const char* op, const Args& args) {
  GRAFT_TRY(check_set(op, args.parameters));
  GRAFT_TRY(check_beta(op, "beta1", args.beta1));
  GRAFT_TRY(check_beta(op, "beta2", args.beta2));
  if (!(args.eps > 0.0f) || !std::isfinite(args.eps))
    return fail(GRAFT_INVALID_SHAPE, "%s: eps: expected a finite number above 0, got %g", op,
                static_cast<double>(args.eps));
  return check_range(op, "zero_grad", args.zero_grad, 0, 1);
}

}  // namespace

int check_optimizer_state(const char* op, const graft_parameter& p) {
  const bool compact = p.m16 != nullptr || p.v16 != nullptr;
  GRAFT_TRY(check_optional_pointer(op, "weight16", p.weight16, 2));
  if (compact) {
    if (p.m != nullptr || p.v != nullptr)
      return fail(GRAFT_INVALID_ARGUMENT, "%s: m, v: expected NULL beside m16 and v16", op);
    GRAFT_TRY(check_pointer(op, "m16", p.m16, p.count, 2));
    GRAFT_TRY(check_pointer(op, "v16", p.v16, p.count, 2));
  } else {
    GRAFT_TRY(check_pointer(op, "m", p.m, p.count, 4));
    GRAFT_TRY(check_pointer(op, "v", p.v, p.count, 4));
  }
  if (p.remainder == nullptr) return check_pointer(op, "weight", p.weight, p.count, 4);
  if (!compact || p.weight16 == nullptr || p.weight != nullptr)
    return fail(GRAFT_INVALID_ARGUMENT,
                "%s: remainder: expected m16, v16 and weight16 beside it, and no weight", op);
  return check_pointer(op, "remainder", p.remainder, p.count, 2);
}

int check_grad_norm(const graft_grad_norm_args& args) {
  const char* op = "grad_norm";
  GRAFT_TRY(check_set(op, args.parameters));
  if (std::isnan(args.max_norm))
    return fail(GRAFT_INVALID_SHAPE, "%s: max_norm: expected a number, got NaN", op);
  return GRAFT_OK;
}

int check_adamw(const graft_adamw_args& args) { return check_step("adamw", args); }

int check_lamb(const graft_lamb_args& args) { return check_step("lamb", args); }

}  // namespace graft
