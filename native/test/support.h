// What the native tests share: contexts, arrays of either dtype with guards, an independent Philox,
// and comparison in units in the last place. Oracles compute in double on the values as stored.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "graft/graft.h"

namespace graft_test {

class context {
 public:
  explicit context(int threads = 1) {
    graft_context_options options{};
    options.struct_size = sizeof options;
    options.backend = GRAFT_CPU;
    options.threads = threads;
    EXPECT_EQ(GRAFT_OK, graft_context_create(&options, &handle_)) << graft_last_error();
  }
  ~context() { graft_context_destroy(handle_); }
  context(const context&) = delete;
  context& operator=(const context&) = delete;
  operator graft_context*() const { return handle_; }

  void step(uint64_t seed, uint64_t step, float lr = 0.0f, float loss_scale = 1.0f) {
    graft_step_inputs inputs{};
    inputs.struct_size = sizeof inputs;
    inputs.seed = seed;
    inputs.step = step;
    inputs.lr = lr;
    for (float& scale : inputs.loss_scale) scale = loss_scale;
    ASSERT_EQ(GRAFT_OK, graft_step_begin(handle_, &inputs));
  }
  graft_step_results results() {
    graft_step_results results{};
    results.struct_size = sizeof results;
    EXPECT_EQ(GRAFT_OK, graft_step_read(handle_, &results));
    return results;
  }

 private:
  graft_context* handle_ = nullptr;
};

// Zeroed arguments with struct_size set.
template <typename Args>
Args arguments() {
  Args args{};
  args.struct_size = sizeof args;
  return args;
}

// Runs `body` on every instruction set of this processor.
inline void on_every_isa(const std::function<void()>& body) {
  const int highest = graft_cpu_isa();
  for (int isa = GRAFT_ISA_BASELINE; isa <= highest; ++isa) {
    ASSERT_EQ(GRAFT_OK, graft_cpu_limit_isa(isa));
    SCOPED_TRACE("isa " + std::to_string(isa));
    body();
  }
  ASSERT_EQ(GRAFT_OK, graft_cpu_limit_isa(highest));
}

inline float bf16_to_float(uint16_t bits) {
  const uint32_t word = uint32_t{bits} << 16;
  float x;
  std::memcpy(&x, &word, sizeof x);
  return x;
}

// Nearest bfloat16, ties to even, found by comparing both neighbours (not by the kernels' bit trick).
inline uint16_t float_to_bf16(float x) {
  uint32_t word;
  std::memcpy(&word, &x, sizeof word);
  if (std::isnan(x)) return static_cast<uint16_t>((word >> 16) | 0x40);
  const auto down = static_cast<uint16_t>(word >> 16);
  if ((word & 0xFFFF) == 0) return down;
  const auto up = static_cast<uint16_t>(down + 1);
  const uint32_t rest = word & 0xFFFF;
  if (rest != 0x8000) return rest < 0x8000 ? down : up;
  return down % 2 == 0 ? down : up;
}

// An array of float32 or bfloat16, one element off any alignment if asked, between guards that are
// checked when it goes.
class array {
 public:
  array(int64_t count, int dtype, bool misaligned = false)
      : count_(count), dtype_(dtype), element_(dtype == GRAFT_BFLOAT16 ? 2 : 4) {
    const size_t bytes = static_cast<size_t>(count) * element_;
    bytes_.assign(bytes + 3 * guard, guard_byte);
    const auto address = reinterpret_cast<uintptr_t>(bytes_.data());
    start_ = guard + (64 - (address + guard) % 64) % 64 + (misaligned ? element_ : 0);
    std::memset(data(), 0, bytes);
  }
  array(const std::vector<double>& values, int dtype, bool misaligned = false)
      : array(static_cast<int64_t>(values.size()), dtype, misaligned) {
    for (int64_t i = 0; i < count_; ++i) set(i, values[static_cast<size_t>(i)]);
  }
  array(const array&) = delete;
  array& operator=(const array&) = delete;
  array(array&&) = default;
  ~array() {
    if (bytes_.empty()) return;
    const size_t end = start_ + static_cast<size_t>(count_) * element_;
    for (size_t i = 0; i < bytes_.size(); ++i)
      if ((i < start_ || i >= end) && bytes_[i] != guard_byte) {
        ADD_FAILURE() << "write outside the array at byte "
                      << static_cast<int64_t>(i) - static_cast<int64_t>(start_);
        return;
      }
  }

  void* data() { return bytes_.data() + start_; }
  const void* data() const { return bytes_.data() + start_; }
  float* floats() { return static_cast<float*>(data()); }
  int64_t count() const { return count_; }
  int dtype() const { return dtype_; }
  double operator[](int64_t i) const {
    const uint8_t* at = bytes_.data() + start_ + static_cast<size_t>(i) * element_;
    if (dtype_ == GRAFT_BFLOAT16) {
      uint16_t bits;
      std::memcpy(&bits, at, 2);
      return bf16_to_float(bits);
    }
    float x;
    std::memcpy(&x, at, 4);
    return x;
  }
  void set(int64_t i, double value) {
    uint8_t* at = bytes_.data() + start_ + static_cast<size_t>(i) * element_;
    const auto x = static_cast<float>(value);
    if (dtype_ == GRAFT_BFLOAT16) {
      const uint16_t bits = float_to_bf16(x);
      std::memcpy(at, &bits, 2);
    } else {
      std::memcpy(at, &x, 4);
    }
  }
  std::vector<double> values() const {
    std::vector<double> all(static_cast<size_t>(count_));
    for (int64_t i = 0; i < count_; ++i) all[static_cast<size_t>(i)] = (*this)[i];
    return all;
  }
  std::vector<uint8_t> bits() const {
    const auto begin = bytes_.begin() + static_cast<std::ptrdiff_t>(start_);
    return {begin, begin + count_ * static_cast<std::ptrdiff_t>(element_)};
  }

 private:
  static constexpr size_t guard = 128;
  static constexpr uint8_t guard_byte = 0xA5;
  int64_t count_;
  int dtype_;
  size_t element_;
  size_t start_ = 0;
  std::vector<uint8_t> bytes_;
};

// Uniform and roughly normal numbers of a seed (splitmix64).
class numbers {
 public:
  explicit numbers(uint64_t seed) : state_(seed) {}
  uint64_t bits() {
    uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  double uniform() { return static_cast<double>(bits() >> 11) * 0x1p-53; }
  double normal() {
    double sum = 0;
    for (int i = 0; i < 12; ++i) sum += uniform();
    return sum - 6;
  }
  std::vector<double> normals(int64_t count, double scale = 1, double mean = 0) {
    std::vector<double> all(static_cast<size_t>(count));
    for (double& x : all) x = mean + scale * normal();
    return all;
  }

 private:
  uint64_t state_;
};

// Philox 4x32-10 from its definition (Salmon et al., SC 2011, 3.3), as a check on the kernels' own.
struct philox {
  uint32_t w[4];
  philox(uint64_t key, uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3) : w{c0, c1, c2, c3} {
    auto k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
    for (int round = 0; round < 10; ++round) {
      const uint64_t a = 0xD2511F53ull * w[0], b = 0xCD9E8D57ull * w[2];
      const uint32_t next[4] = {static_cast<uint32_t>(b >> 32) ^ w[1] ^ k0, static_cast<uint32_t>(b),
                                static_cast<uint32_t>(a >> 32) ^ w[3] ^ k1, static_cast<uint32_t>(a)};
      std::memcpy(w, next, sizeof w);
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
  }
};
inline uint64_t stream_key(uint64_t seed, uint64_t step, uint32_t op_id) {
  const philox p(seed, static_cast<uint32_t>(step), static_cast<uint32_t>(step >> 32), op_id, 0);
  return p.w[0] | (uint64_t{p.w[1]} << 32);
}
// Factor of byte `byte` (0..15) of these words under dropout k/256: 0 or 256 / (256 - k).
inline double keep_factor_of(const philox& words, int byte, int k) {
  const int value = static_cast<int>((words.w[byte / 4] >> (8 * (byte % 4))) & 0xFF);
  return value < k ? 0 : 256.0 / (256 - k);
}
// Factor of element (row, col) under hidden dropout.
inline double keep_factor(uint64_t key, int k, int64_t row, int64_t col) {
  if (k == 0) return 1;
  const philox words(key, static_cast<uint32_t>(col / 16), static_cast<uint32_t>(row), 0, 0);
  return keep_factor_of(words, static_cast<int>(col % 16), k);
}
// Factor of the probability of key j for query i, head h, sequence b under attention dropout.
inline double attention_keep(uint64_t key, int k, int64_t b, int64_t h, int64_t i, int64_t j) {
  if (k == 0) return 1;
  const philox words(key, static_cast<uint32_t>(j / 16), static_cast<uint32_t>(i),
                     static_cast<uint32_t>(h), static_cast<uint32_t>(b));
  return keep_factor_of(words, static_cast<int>(j % 16), k);
}

// One unit in the last place of a dtype at x; 0 of infinity and NaN, which allow nothing but themselves.
inline double ulp(double x, int dtype) {
  if (!std::isfinite(x)) return 0;
  const double magnitude = std::max(std::fabs(x), 1e-37);
  const int exponent = std::ilogb(magnitude);
  return std::ldexp(1.0, exponent - (dtype == GRAFT_BFLOAT16 ? 7 : 23));
}

// |got - expected| <= absolute + ulps of the expected value.
inline void expect_close(const std::vector<double>& expected, const array& got, double absolute,
                         double ulps, const char* what) {
  ASSERT_EQ(static_cast<int64_t>(expected.size()), got.count()) << what;
  for (int64_t i = 0; i < got.count(); ++i) {
    const double e = expected[static_cast<size_t>(i)];
    const double bound = absolute + ulps * ulp(e, got.dtype());
    if (std::isnan(e) ? std::isnan(got[i]) : (got[i] == e || std::fabs(got[i] - e) <= bound))
      continue;
    ADD_FAILURE() << what << "[" << i << "]: expected " << e << " +- " << bound << ", got "
                  << got[i];
    return;
  }
}

// The call fails with `status` and the message holds each of the texts.
inline void expect_error(int expected, int status, const std::vector<std::string>& texts) {
  EXPECT_STREQ(graft_status_name(expected), graft_status_name(status));
  if (status == GRAFT_OK) return;
  const std::string message = graft_last_error();
  for (const std::string& text : texts)
    EXPECT_NE(std::string::npos, message.find(text)) << "'" << text << "' in: " << message;
}

// 64-byte aligned workspace.
class workspace {
 public:
  explicit workspace(int64_t bytes) : bytes_(bytes), storage_(static_cast<size_t>(bytes) + 64) {}
  void* data() {
    const auto address = reinterpret_cast<uintptr_t>(storage_.data());
    return storage_.data() + (64 - address % 64) % 64;
  }
  int64_t bytes() const { return bytes_; }

 private:
  int64_t bytes_;
  std::vector<uint8_t> storage_;
};

inline const std::vector<int>& float_dtypes() {
  static const std::vector<int> all = {GRAFT_FLOAT32, GRAFT_BFLOAT16};
  return all;
}

}  // namespace graft_test
