// Tensor copies: they land one by one at some later time, in any order, and then tell their barrier.
#pragma once

#include <string>

#include "block.h"

namespace graft::emulation {

struct tensor_shape {
  const unsigned char* address;
  int64_t dims[3];     // elements of 2 bytes
  int64_t strides[2];  // bytes, of the second and third
  int box[3];
};

void issue_tensor_copy(void* shared, const tensor_shape& tensor, const int (&first)[3], void* mbarrier,
                       const location& at);
// One of those in flight, chosen at random; false if there is none.
bool land_tensor_copy();
bool tensor_copies_in_flight();
void start_block_of_tensor_copies();

}  // namespace graft::emulation
