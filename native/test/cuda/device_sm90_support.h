// What the tests of Hopper's part of the device layer share.
#pragma once

#include "../../cuda/device_sm90.h"
#include "../support.h"
#include "emulation_support.h"

namespace graft_test {

// A bf16 array [tokens, heads, columns] of small whole numbers, every one of another neighbourhood.
struct tensor {
  int columns, heads, tokens;
  buffer<uint16_t> data;
  tensor(int columns, int heads, int tokens)
      : columns(columns), heads(heads), tokens(tokens), data(make(columns * heads * tokens)) {}
  static std::vector<uint16_t> make(int count) {
    std::vector<uint16_t> values(static_cast<size_t>(count));
    for (int i = 0; i < count; ++i) values[static_cast<size_t>(i)] = float_to_bf16(static_cast<float>(i * 37 % 251 - 125));
    return values;
  }
  float at(int token, int head, int column) const {
    const bool inside = token >= 0 && token < tokens && head >= 0 && head < heads && column >= 0 &&
                        column < columns;
    return inside ? bf16_to_float(data[(token * heads + head) * columns + column]) : 0.0f;
  }
  graft::cuda::tensor_map map(uint32_t rows) const {
    graft::cuda::tensor_map own{};
    EXPECT_EQ(cudaSuccess,
              graft::cuda::make_tensor_map(&own, data,
                              {static_cast<uint64_t>(columns), static_cast<uint64_t>(heads),
                               static_cast<uint64_t>(tokens)},
                              {static_cast<uint64_t>(columns) * 2, static_cast<uint64_t>(columns * heads) * 2},
                              {64, 1, rows}));
    return own;
  }
};

}  // namespace graft_test
