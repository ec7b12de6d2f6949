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
