// What attention_backward.cu needs of the Hopper kernels.
#pragma once

#include "attention_gradient.h"

namespace graft::cuda {

// As the base kernels, with the parameters they would have. GRAFT_UNSUPPORTED, with the reason, for what
// these cannot do or this device cannot run.
int attention_backward_sm90(const char* op, const cuda_context& context,
                            const graft_attention_args& args, const backward_params& p);

}  // namespace graft::cuda
