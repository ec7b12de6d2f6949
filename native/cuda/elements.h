// Elements of arrays as stored, and their float32 values.
#pragma once

#include "device.h"

namespace graft::cuda {

struct bf16 {
  uint16_t bits;
};

GRAFT_DEVICE float value_of(float x) { return x; }
GRAFT_DEVICE float value_of(bf16 x) { return float_of_bf16(x.bits); }

template <typename T>
GRAFT_DEVICE T element_of(float x) {
  if constexpr (sizeof(T) == 2)
    return {bf16_of(x)};
  else
    return x;
}

}  // namespace graft::cuda
