// A parameter set on the device: its tensors cut in blocks, so that one launch serves all of them
// and sums have a fixed order.
#pragma once

#include <vector>

#include "context.h"

namespace graft::cuda {

// Elements of one block of threads: 480 KiB of traffic for AdamW, so that its start costs nothing;
// a billion parameters still make only 65,000 blocks.
constexpr int64_t optimizer_block = 16384;

struct parameter_block {
  int64_t parameter;
  int64_t begin;
  int64_t end;
};

// The blocks of tensors of these sizes, in order.
inline std::vector<parameter_block> cut_in_blocks(const graft_parameter* parameters,
                                                  int64_t count) {
  std::vector<parameter_block> blocks;
  for (int64_t i = 0; i < count; ++i)
    for (int64_t begin = 0; begin < parameters[i].count; begin += optimizer_block) {
      const int64_t left = parameters[i].count - begin;
      blocks.push_back({i, begin, begin + (left < optimizer_block ? left : optimizer_block)});
    }
  return blocks;
}

}  // namespace graft::cuda

// Opaque in graft.h. One allocation holds the arrays; `parameters` is its start.
struct graft_parameter_set {
  const graft_parameter* parameters;           // device
  const graft::cuda::parameter_block* blocks;  // device [block_count]
  double* partial_sums;                        // device [2, block_count]
  int* finished;                               // device: blocks of the running launch that are done
  int64_t block_count;
  bool compact;  // whether a parameter has compact state: kernels without it take fewer registers
};
