// An answer for every op, for those that have no file yet. Weak: <op>.cu, where it is there, wins.
#include "context.h"

namespace graft::cuda {
namespace {

int unsupported(const char* op) {
  return fail(GRAFT_UNSUPPORTED, "%s: this op is not on the CUDA backend in this version", op);
}

}  // namespace

[[gnu::weak]] int attention_workspace(const cuda_context&, const graft_attention_args&, int,
                                      int64_t*) {
  return unsupported("attention_workspace");
}

#define GRAFT_ANSWER(query, args)                                       \
  [[gnu::weak]] int query(const cuda_context&, const args&, int64_t*) { \
    return unsupported(#query);                                         \
  }
GRAFT_WORKSPACE_QUERIES(GRAFT_ANSWER)
#undef GRAFT_ANSWER

#define GRAFT_ANSWER(op, args) \
  [[gnu::weak]] int op(cuda_context&, const args&) { return unsupported(#op); }
GRAFT_OPS(GRAFT_ANSWER)
#undef GRAFT_ANSWER

}  // namespace graft::cuda
