// A device that runs kernels of sm_90a.
#pragma once

#include "cuda_support.h"

namespace graft_test {

class sm90_test : public testing::Test {
 protected:
  void SetUp() override {
    if (!on_real_card()) return;  // the emulated one is of that capability
    ASSERT_EQ(GRAFT_OK, graft_load_backend(GRAFT_CUDA, cuda_plugin().c_str()));
    auto info = arguments<graft_device_info>();
    ASSERT_EQ(GRAFT_OK, graft_device_describe(GRAFT_CUDA, 0, &info));
    if (info.capability != 90) GTEST_SKIP() << "needs compute capability 9.0";
  }
};

}  // namespace graft_test
