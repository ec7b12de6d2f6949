// Workspace of the attention passes; the kernels are in attention_{forward,backward}.cpp and, on dot
// products of bfloat16, attention_{forward,backward}_dot.cpp.
#include "attention_workspace.h"

namespace graft::GRAFT_ISA {

int attention_workspace(const cpu_context& context, const graft_attention_args& a, int backward,
                        int64_t* bytes) {
  const char* op = "attention_workspace";
  return backward ? backward_workspace(op, context, a, bytes)
                  : forward_workspace(op, context, a, bytes);
}

}  // namespace graft::GRAFT_ISA
