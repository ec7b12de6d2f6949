// What the tests of the CUDA backend share: contexts and device arrays, all through the C ABI. The
// backend is the emulated one, or a real one on a real card: GRAFT_CUDA_PLUGIN=<path of
// libgraft_cuda.so>. GRAFT_TEST_FULL=1 runs the whole grids.
#pragma once

#include <cstdlib>

#include "../support.h"

namespace graft_test {

inline std::string cuda_plugin() {
  const char* chosen = std::getenv("GRAFT_CUDA_PLUGIN");
  return chosen != nullptr ? chosen : GRAFT_CUDA_EMULATED;
}

// For tests that set up the emulated machine itself.
inline bool on_real_card() { return std::getenv("GRAFT_CUDA_PLUGIN") != nullptr; }
#define GRAFT_SKIP_ON_REAL_CARD() \
  if (on_real_card()) GTEST_SKIP() << "is about the emulated machine"

inline bool full_grid() {
  const char* full = std::getenv("GRAFT_TEST_FULL");
  return full != nullptr && std::string(full) == "1";
}

class cuda_context {
 public:
  explicit cuda_context(void* stream = nullptr) {
    EXPECT_EQ(GRAFT_OK, graft_load_backend(GRAFT_CUDA, cuda_plugin().c_str()))
        << graft_last_error();
    auto options = arguments<graft_context_options>();
    options.backend = GRAFT_CUDA;
    options.stream = stream;
    EXPECT_EQ(GRAFT_OK, graft_context_create(&options, &handle_)) << graft_last_error();
  }
  ~cuda_context() { graft_context_destroy(handle_); }
  cuda_context(const cuda_context&) = delete;
  cuda_context& operator=(const cuda_context&) = delete;
  operator graft_context*() const { return handle_; }

  void step(uint64_t seed, uint64_t step, float lr = 0.0f, float loss_scale = 1.0f,
            int32_t sequences = 0) {
    auto inputs = arguments<graft_step_inputs>();
    inputs.seed = seed;
    inputs.step = step;
    inputs.lr = lr;
    inputs.sequences = sequences;
    for (float& scale : inputs.loss_scale) scale = loss_scale;
    ASSERT_EQ(GRAFT_OK, graft_step_begin(handle_, &inputs)) << graft_last_error();
  }
  graft_step_results results() {
    auto results = arguments<graft_step_results>();
    EXPECT_EQ(GRAFT_OK, graft_step_read(handle_, &results)) << graft_last_error();
    return results;
  }
  void synchronize() { ASSERT_EQ(GRAFT_OK, graft_synchronize(handle_)) << graft_last_error(); }

 private:
  graft_context* handle_ = nullptr;
};

// Bytes in device memory, `shift` bytes off the allocator's alignment, between guards that are
// checked when it goes.
class device_array {
 public:
  device_array(cuda_context& context, int64_t bytes, int64_t shift = 0)
      : context_(context), bytes_(bytes), shift_(shift) {
    const std::vector<uint8_t> guards(static_cast<size_t>(whole()), guard_byte);
    EXPECT_EQ(GRAFT_OK, graft_malloc(context_, whole(), &memory_)) << graft_last_error();
    copy(memory_, guards.data(), whole(), GRAFT_HOST_TO_DEVICE);
  }
  // The bits of a host array.
  device_array(cuda_context& context, const array& from, int64_t shift = 0)
      : device_array(context, static_cast<int64_t>(from.bits().size()), shift) {
    upload(from.data());
  }
  template <typename T>
  device_array(cuda_context& context, const std::vector<T>& from, int64_t shift = 0)
      : device_array(context, static_cast<int64_t>(from.size() * sizeof(T)), shift) {
    upload(from.data());
  }
  ~device_array() {
    std::vector<uint8_t> all(static_cast<size_t>(whole()));
    copy(all.data(), memory_, whole(), GRAFT_DEVICE_TO_HOST);
    for (int64_t i = 0; i < whole(); ++i) {
      const bool inside = i >= guard + shift_ && i < guard + shift_ + bytes_;
      if (inside || all[static_cast<size_t>(i)] == guard_byte) continue;
      ADD_FAILURE() << "write outside of " << bytes_ << " bytes at byte " << i - guard - shift_;
      break;
    }
    EXPECT_EQ(GRAFT_OK, graft_free(context_, memory_)) << graft_last_error();
  }
  device_array(const device_array&) = delete;
  device_array& operator=(const device_array&) = delete;

  template <typename T = void>
  T* data() const {
    return reinterpret_cast<T*>(static_cast<uint8_t*>(memory_) + guard + shift_);
  }
  int64_t bytes() const { return bytes_; }
  void upload(const void* from) { copy(data(), from, bytes_, GRAFT_HOST_TO_DEVICE); }
  void download(void* to) const { copy(to, data(), bytes_, GRAFT_DEVICE_TO_HOST); }
  // Into a host array of the same size.
  void download(array& to) const {
    ASSERT_EQ(bytes_, static_cast<int64_t>(to.bits().size()));
    download(to.data());
  }

 private:
  static constexpr int64_t guard = 256;
  static constexpr uint8_t guard_byte = 0xA5;
  int64_t whole() const { return bytes_ + shift_ + 2 * guard; }
  void copy(void* to, const void* from, int64_t bytes, int kind) const {
    EXPECT_EQ(GRAFT_OK, graft_memcpy(context_, to, from, bytes, kind)) << graft_last_error();
    EXPECT_EQ(GRAFT_OK, graft_synchronize(context_)) << graft_last_error();
  }
  cuda_context& context_;
  int64_t bytes_;
  int64_t shift_;
  void* memory_ = nullptr;
};

// The architecture's rule: max|got - exact| <= 2 max|reference - exact| + 2 ulp(max|exact|). `unit`: what
// a tensor of few or small results is measured by, if its terms are larger than itself.
inline void expect_within_rule(const std::vector<double>& exact, const array& reference,
                               const array& got, const char* what, double unit = 0) {
  ASSERT_EQ(static_cast<int64_t>(exact.size()), reference.count()) << what;
  ASSERT_EQ(reference.count(), got.count()) << what;
  double largest = unit, reference_error = 0, error = 0;
  int64_t worst = 0;
  for (int64_t i = 0; i < got.count(); ++i) {
    const double e = exact[static_cast<size_t>(i)];
    largest = std::max(largest, std::fabs(e));
    reference_error = std::max(reference_error, std::fabs(reference[i] - e));
    const double own = std::fabs(got[i] - e);
    if (own <= error) continue;
    error = own;  // NaN too
    worst = i;
    if (std::isnan(own)) break;
  }
  EXPECT_LE(error, 2 * reference_error + 2 * ulp(largest, got.dtype()))
      << what << "[" << worst << "]: exact " << exact[static_cast<size_t>(worst)] << ", got "
      << got[worst] << ", the CPU backend " << reference[worst];
}

}  // namespace graft_test
