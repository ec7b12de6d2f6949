// What attention_forward.cu needs of the Hopper kernel.
#pragma once

#include "context.h"

namespace graft::cuda {

// GRAFT_UNSUPPORTED, with the reason, for what the kernel cannot do or this device cannot run.
int attention_forward_sm90(const char* op, const cuda_context& context,
                           const graft_attention_args& args);

}  // namespace graft::cuda
