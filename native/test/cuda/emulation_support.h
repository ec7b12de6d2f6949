// What the tests of the emulated device layer share.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "../../cuda/device.h"

namespace emulation = graft::emulation;

namespace graft_test {

using graft::cuda::launch_shape;

// An array in device memory.
template <typename T>
class buffer {
 public:
  explicit buffer(size_t count) : count_(count) {
    void* address = nullptr;
    EXPECT_EQ(cudaSuccess, cudaMalloc(&address, count * sizeof(T)));
    data_ = static_cast<T*>(address);
  }
  explicit buffer(const std::vector<T>& values) : buffer(values.size()) {
    std::copy(values.begin(), values.end(), data_);
  }
  ~buffer() { cudaFree(data_); }
  buffer(const buffer&) = delete;
  buffer& operator=(const buffer&) = delete;
  operator T*() const { return data_; }
  size_t size() const { return count_; }

 private:
  size_t count_;
  T* data_;
};

inline launch_shape blocks_of(int threads, size_t shared_bytes = 0, unsigned blocks = 1) {
  return {dim3(blocks), threads, shared_bytes, nullptr};
}

template <typename... P>
void run(void (*kernel)(P...), const launch_shape& shape, std::type_identity_t<P>... arguments) {
  ASSERT_EQ(cudaSuccess, launch(kernel, shape, arguments...));
  ASSERT_EQ(cudaSuccess, cudaStreamSynchronize(nullptr)) << emulation::fault_text();
}

template <typename... P>
void expect_fault(const std::vector<std::string>& texts, void (*kernel)(P...),
                  const launch_shape& shape, std::type_identity_t<P>... arguments) {
  ASSERT_EQ(cudaSuccess, launch(kernel, shape, arguments...));
  const cudaError_t status = cudaStreamSynchronize(nullptr);
  EXPECT_NE(cudaSuccess, status);
  for (const std::string& text : texts)
    EXPECT_NE(std::string::npos, emulation::fault_text().find(text)) << emulation::fault_text();
  EXPECT_EQ(status, cudaStreamSynchronize(nullptr)) << "a fault is sticky";
  emulation::reset();
}

inline void with_seeds(const std::function<void()>& body) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    emulation::set_seed(seed * 7919);
    body();
  }
}

}  // namespace graft_test
