// The CUDA backend behind the C ABI: loading, contexts, memory, step state, graphs, and what
// becomes of errors.
#include "../../common/ops.h"
#include "../../cuda/device.h"
#include "cuda_support.h"

using namespace graft_test;
namespace emulation = graft::emulation;

namespace {

// The reason why the backend cannot serve on this machine.
std::string reason_on(const emulation::machine& machine) {
  emulation::set_machine(machine);
  EXPECT_EQ(0, graft_backend_available(GRAFT_CUDA));
  std::string reason = graft_last_error();
  graft_context* created = nullptr;
  auto options = arguments<graft_context_options>();
  options.backend = GRAFT_CUDA;
  expect_error(GRAFT_UNSUPPORTED, graft_context_create(&options, &created),
               {"context_create", reason});
  emulation::reset();
  return reason;
}

int adamw_of_nothing(graft_context* c, graft_parameter_set* set) {
  auto args = arguments<graft_adamw_args>();
  args.parameters = set;
  args.eps = 1e-8f;
  return graft_adamw(c, &args);
}

}  // namespace

TEST(CudaBackend, saysWhyItIsUnavailable) {
  GRAFT_SKIP_ON_REAL_CARD();
  ASSERT_EQ(GRAFT_OK, graft_load_backend(GRAFT_CUDA, cuda_plugin().c_str())) << graft_last_error();
  EXPECT_EQ(1, graft_backend_available(GRAFT_CUDA)) << graft_last_error();
  EXPECT_EQ("there is no NVIDIA driver on this machine (libcuda.so.1 was not found)",
            reason_on({.driver_version = 0}));
  EXPECT_EQ(
      "the NVIDIA driver is too old: it supports CUDA up to 12.4, this build needs CUDA 13.0 "
      "(driver 580 or later)",
      reason_on({.driver_version = 12040}));
  EXPECT_EQ(
      "no CUDA device is new enough: compute capability 8.0 or later is needed, the best here has "
      "7.5",
      reason_on({.capability = 75}));
  unsetenv("CUDA_VISIBLE_DEVICES");
  EXPECT_EQ("the NVIDIA driver finds no CUDA device", reason_on({.devices = 0}));
  setenv("CUDA_VISIBLE_DEVICES", "7", 1);
  EXPECT_EQ("the NVIDIA driver finds no CUDA device; CUDA_VISIBLE_DEVICES is \"7\"",
            reason_on({.devices = 0}));
  unsetenv("CUDA_VISIBLE_DEVICES");
}

TEST(CudaBackend, refusesADeviceThatIsNotThere) {
  GRAFT_SKIP_ON_REAL_CARD();
  cuda_context loaded;
  graft_context* created = nullptr;
  auto options = arguments<graft_context_options>();
  options.backend = GRAFT_CUDA;
  for (const int device : {-1, 1}) {
    options.device = device;
    expect_error(GRAFT_INVALID_ARGUMENT, graft_context_create(&options, &created),
                 {"device", "0..0", std::to_string(device)});
  }
}

TEST(CudaBackend, describesItsDevices) {
  cuda_context loaded;
  int32_t count = 0;
  ASSERT_EQ(GRAFT_OK, graft_device_count(GRAFT_CUDA, &count)) << graft_last_error();
  ASSERT_GE(count, 1);
  auto info = arguments<graft_device_info>();
  ASSERT_EQ(GRAFT_OK, graft_device_describe(GRAFT_CUDA, 0, &info)) << graft_last_error();
  EXPECT_GE(info.capability, 80);
  EXPECT_GE(info.multiprocessors, 1);
  EXPECT_GT(info.memory_bytes, 0);
  EXPECT_GE(info.driver_version, 13000);
  EXPECT_EQ(13, info.runtime_version / 1000);
  if (!on_real_card()) {
    EXPECT_STREQ("emulated CUDA device", info.name);
  }
  expect_error(GRAFT_INVALID_SHAPE, graft_device_describe(GRAFT_CUDA, count, &info),
               {"device_describe", "device"});
  ASSERT_EQ(GRAFT_OK, graft_device_describe(GRAFT_CPU, 0, &info));
  EXPECT_STREQ("cpu", info.name);
}

TEST(CudaBackend, memory) {
  cuda_context c;
  EXPECT_EQ(0, graft_context_threads(c));
  EXPECT_EQ(GRAFT_OK, graft_context_activate(c));
  void* address = nullptr;
  int64_t left = 0, whole = 0, left_then = 0;
  ASSERT_EQ(GRAFT_OK, graft_memory_info(c, &left, &whole)) << graft_last_error();
  EXPECT_LE(left, whole);
  void* large = nullptr;
  ASSERT_EQ(GRAFT_OK, graft_malloc(c, int64_t{256} << 20, &large)) << graft_last_error();
  ASSERT_EQ(GRAFT_OK, graft_memory_info(c, &left_then, &whole));
  // Others may use the same card, so that it is not said by how much.
  EXPECT_LT(left_then, left);
  EXPECT_EQ(GRAFT_OK, graft_free(c, large));
  expect_error(GRAFT_INVALID_ARGUMENT, graft_memory_info(c, nullptr, &whole),
               {"memory_info", "free_bytes"});
  ASSERT_EQ(GRAFT_OK, graft_malloc(c, 1000, &address)) << graft_last_error();
  EXPECT_EQ(0u, reinterpret_cast<uintptr_t>(address) % 256);
  ASSERT_EQ(GRAFT_OK, graft_memset(c, address, 0x5A, 1000));
  std::vector<uint8_t> sent(500), got(1000);
  for (size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<uint8_t>(i);
  ASSERT_EQ(GRAFT_OK, graft_memcpy(c, address, sent.data(), 500, GRAFT_HOST_TO_DEVICE));
  ASSERT_EQ(GRAFT_OK, graft_memcpy(c, static_cast<uint8_t*>(address) + 700, address, 300,
                                   GRAFT_DEVICE_TO_DEVICE));
  ASSERT_EQ(GRAFT_OK, graft_memcpy(c, got.data(), address, 1000, GRAFT_DEVICE_TO_HOST));
  c.synchronize();
  for (size_t i = 0; i < 1000; ++i) {
    const int expected =
        i < 500 ? static_cast<uint8_t>(i) : (i < 700 ? 0x5A : static_cast<uint8_t>(i - 700));
    ASSERT_EQ(expected, got[i]) << i;
  }
  EXPECT_EQ(GRAFT_OK, graft_free(c, address));
  expect_error(GRAFT_OUT_OF_MEMORY, graft_malloc(c, int64_t{1} << 60, &address),
               {"malloc", "1152921504606846976 bytes", "left"});
  EXPECT_EQ(nullptr, address);
  EXPECT_EQ(GRAFT_OK, graft_synchronize(c)) << "running out of memory is not fatal";
}

TEST(CudaBackend, stepState) {
  cuda_context c;
  graft_step_results r = c.results();
  EXPECT_EQ(static_cast<int64_t>(sizeof r), r.struct_size);
  EXPECT_EQ(1.0f, r.clip_coefficient);
  EXPECT_EQ(0, r.adam_t);
  r.adam_t = int64_t{1} << 40;
  r.skipped_steps = 3;
  r.clip_coefficient = 0.5f;  // not restored: the next norm makes it
  for (int slot = 0; slot < GRAFT_LOSS_SLOTS; ++slot) {
    r.loss_sum[slot] = 1.5 * slot;
    r.loss_weight[slot] = 2.5 * slot;
    r.loss_count[slot] = 10 + slot;
  }
  ASSERT_EQ(GRAFT_OK, graft_step_restore(c, &r));
  graft_step_results got = c.results();
  EXPECT_EQ(int64_t{1} << 40, got.adam_t);
  EXPECT_EQ(3, got.skipped_steps);
  EXPECT_EQ(1.0f, got.clip_coefficient);
  EXPECT_EQ(4.5, got.loss_sum[3]);
  EXPECT_EQ(7.5, got.loss_weight[3]);
  EXPECT_EQ(13, got.loss_count[3]);
  ASSERT_EQ(GRAFT_OK, graft_loss_reset(c));
  got = c.results();
  for (int slot = 0; slot < GRAFT_LOSS_SLOTS; ++slot) {
    EXPECT_EQ(0.0, got.loss_sum[slot]);
    EXPECT_EQ(0.0, got.loss_weight[slot]);
    EXPECT_EQ(0, got.loss_count[slot]);
  }
  EXPECT_EQ(int64_t{1} << 40, got.adam_t);
}

// The inputs are in the stream's order, though the caller changes its struct at once.
TEST(CudaBackend, stepInputsTravelWithTheStream) {
  cuda_context c;
  device_array grad(c, std::vector<float>{1}), m(c, std::vector<float>{0}),
      v(c, std::vector<float>{0}), weight(c, std::vector<float>{0});
  const graft_parameter p = {grad.data<float>(),
                             weight.data<float>(),
                             nullptr,
                             m.data<float>(),
                             v.data<float>(),
                             1,
                             0.0f,
                             1.0f,
                             nullptr,
                             nullptr,
                             nullptr};
  graft_parameter_set* set = nullptr;
  ASSERT_EQ(GRAFT_OK, graft_parameter_set_create(c, &p, 1, &set));
  for (const float lr : {1.0f, 0.25f}) {
    c.step(1, 1, lr);
    ASSERT_EQ(GRAFT_OK, adamw_of_nothing(c, set));  // betas 0: w -= lr
  }
  c.step(1, 1, 100.0f);
  float got = 0;
  weight.download(&got);
  EXPECT_FLOAT_EQ(-1.25f, got);
  EXPECT_EQ(GRAFT_OK, graft_parameter_set_destroy(c, set));
}

// What is enqueued before an event is done when it is reached; what comes after need not be.
TEST(CudaBackend, eventsMarkAPlaceInTheStream) {
  cuda_context c;
  void* stream = nullptr;
  ASSERT_EQ(GRAFT_OK, graft_context_stream(c, &stream));
  EXPECT_NE(nullptr, stream);
  void *host = nullptr, *address = nullptr;
  ASSERT_EQ(GRAFT_OK, graft_host_malloc(c, 4, &host)) << graft_last_error();
  EXPECT_EQ(0u, reinterpret_cast<uintptr_t>(host) % 64);
  ASSERT_EQ(GRAFT_OK, graft_malloc(c, 4, &address));
  graft_event *begin = nullptr, *end = nullptr;
  ASSERT_EQ(GRAFT_OK, graft_event_create(c, &begin));
  ASSERT_EQ(GRAFT_OK, graft_event_create(c, &end));
  EXPECT_EQ(GRAFT_OK, graft_event_synchronize(c, begin)) << "never recorded";
  ASSERT_EQ(GRAFT_OK, graft_event_record(c, begin));
  auto* word = static_cast<int32_t*>(host);
  *word = 7;
  ASSERT_EQ(GRAFT_OK, graft_memcpy(c, address, host, 4, GRAFT_HOST_TO_DEVICE));
  ASSERT_EQ(GRAFT_OK, graft_event_record(c, end));
  ASSERT_EQ(GRAFT_OK, graft_event_synchronize(c, end));
  *word = 8;  // the copy is over
  int32_t got = 0;
  ASSERT_EQ(GRAFT_OK, graft_memcpy(c, &got, address, 4, GRAFT_DEVICE_TO_HOST));
  if (!on_real_card()) {
    EXPECT_EQ(GRAFT_OK, graft_event_synchronize(c, end));
    EXPECT_EQ(0, got) << "was enqueued after the event";
  }
  c.synchronize();
  EXPECT_EQ(7, got);
  float milliseconds = -1;
  ASSERT_EQ(GRAFT_OK, graft_event_elapsed(c, begin, end, &milliseconds)) << graft_last_error();
  EXPECT_GE(milliseconds, 0);
  ASSERT_EQ(GRAFT_OK, graft_capture_begin(c));
  for (const int status : {graft_event_record(c, end), graft_event_synchronize(c, end)})
    expect_error(GRAFT_INVALID_ARGUMENT, status, {"outside of a capture"});
  graft_graph* graph = nullptr;
  ASSERT_EQ(GRAFT_OK, graft_capture_end(c, &graph));
  EXPECT_EQ(GRAFT_OK, graft_graph_destroy(c, graph));
  EXPECT_EQ(GRAFT_OK, graft_event_destroy(c, begin));
  EXPECT_EQ(GRAFT_OK, graft_event_destroy(c, end));
  EXPECT_EQ(GRAFT_OK, graft_free(c, address));
  EXPECT_EQ(GRAFT_OK, graft_host_free(c, host));
}

TEST(CudaBackend, hostFunctionsRunInOrder_andInGraphs) {
  cuda_context c;
  struct seen {
    const int32_t* word;
    std::vector<int32_t> values;
  };
  int32_t word = 0;
  seen log{&word, {}};
  const auto look = [](void* user) {
    auto* own = static_cast<seen*>(user);
    own->values.push_back(*own->word);
  };
  device_array from(c, std::vector<int32_t>{5});
  expect_error(GRAFT_INVALID_ARGUMENT, graft_host_enqueue(c, nullptr, &log), {"function"});
  ASSERT_EQ(GRAFT_OK, graft_host_enqueue(c, look, &log));
  ASSERT_EQ(GRAFT_OK, graft_memcpy(c, &word, from.data(), 4, GRAFT_DEVICE_TO_HOST));
  ASSERT_EQ(GRAFT_OK, graft_host_enqueue(c, look, &log));
  c.synchronize();
  EXPECT_EQ((std::vector<int32_t>{0, 5}), log.values);
  ASSERT_EQ(GRAFT_OK, graft_capture_begin(c));
  ASSERT_EQ(GRAFT_OK, graft_host_enqueue(c, look, &log));
  graft_graph* graph = nullptr;
  ASSERT_EQ(GRAFT_OK, graft_capture_end(c, &graph));
  EXPECT_EQ(2u, log.values.size());
  ASSERT_EQ(GRAFT_OK, graft_graph_launch(c, graph));
  ASSERT_EQ(GRAFT_OK, graft_graph_launch(c, graph));
  c.synchronize();
  EXPECT_EQ(4u, log.values.size());
  EXPECT_EQ(GRAFT_OK, graft_graph_destroy(c, graph));
}

// One captured graph serves all steps: what changes is in the step state.
TEST(CudaBackend, aCapturedStepReplays) {
  cuda_context c;
  device_array grad(c, std::vector<float>{3}), m(c, std::vector<float>{0}),
      v(c, std::vector<float>{0}), weight(c, std::vector<float>{0});
  const graft_parameter p = {grad.data<float>(),
                             weight.data<float>(),
                             nullptr,
                             m.data<float>(),
                             v.data<float>(),
                             1,
                             0.0f,
                             1.0f,
                             nullptr,
                             nullptr,
                             nullptr};
  graft_parameter_set* set = nullptr;
  ASSERT_EQ(GRAFT_OK, graft_parameter_set_create(c, &p, 1, &set));
  graft_graph* graph = nullptr;
  expect_error(GRAFT_INVALID_ARGUMENT, graft_capture_end(c, &graph), {"capture_end", "no capture"});
  ASSERT_EQ(GRAFT_OK, graft_capture_begin(c)) << graft_last_error();
  ASSERT_EQ(GRAFT_OK, adamw_of_nothing(c, set));
  void* address = nullptr;
  for (const int status :
       {graft_synchronize(c), graft_malloc(c, 4, &address), graft_capture_begin(c)})
    expect_error(GRAFT_INVALID_ARGUMENT, status, {"outside of a capture"});
  ASSERT_EQ(GRAFT_OK, graft_capture_end(c, &graph)) << graft_last_error();
  EXPECT_EQ(0, c.results().adam_t) << "capturing runs nothing";
  for (const float lr : {1.0f, 2.0f, 4.0f}) {
    c.step(1, 1, lr);
    ASSERT_EQ(GRAFT_OK, graft_graph_launch(c, graph)) << graft_last_error();
  }
  float got = 0;
  weight.download(&got);
  EXPECT_FLOAT_EQ(-7.0f, got);
  EXPECT_EQ(3, c.results().adam_t);
  EXPECT_EQ(GRAFT_OK, graft_graph_destroy(c, graph));
  EXPECT_EQ(GRAFT_OK, graft_parameter_set_destroy(c, set));
}

TEST(CudaBackend, aCallersStreamIsUsedAndLeft) {
  GRAFT_SKIP_ON_REAL_CARD();
  cudaStream_t stream = nullptr;
  ASSERT_EQ(cudaSuccess, cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  {
    cuda_context c(stream);
    auto restored = arguments<graft_step_results>();
    restored.adam_t = 5;
    ASSERT_EQ(GRAFT_OK, graft_step_restore(c, &restored));
    ASSERT_EQ(cudaSuccess, cudaStreamSynchronize(stream));
    EXPECT_EQ(5, c.results().adam_t);
  }
  EXPECT_EQ(cudaSuccess, cudaStreamSynchronize(stream)) << "still the caller's";
  EXPECT_EQ(cudaSuccess, cudaStreamDestroy(stream));
}

// A fatal error comes at the next synchronisation; then every call says that the device is lost. In
// a process of its own, for the loss is the process's.
TEST(CudaBackendDeathTest, aLostDeviceStaysLost) {
  GRAFT_SKIP_ON_REAL_CARD();
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        cuda_context c;
        graft_parameter_set* set = nullptr;
        bool right = graft_parameter_set_create(c, nullptr, 0, &set) == GRAFT_OK;
        emulation::fail_next_kernel(cudaErrorIllegalAddress);
        right = right && adamw_of_nothing(c, set) == GRAFT_OK;
        right = right && graft_synchronize(c) == GRAFT_DEVICE_ERROR;
        const std::string first = graft_last_error();
        right = right && first.find("illegal memory access") != std::string::npos &&
                first.find("lost to this process") != std::string::npos;
        void* address = nullptr;
        auto results = arguments<graft_step_results>();
        for (const int status :
             {graft_synchronize(c), adamw_of_nothing(c, set), graft_malloc(c, 4, &address),
              graft_step_read(c, &results), graft_loss_reset(c), graft_context_activate(c)}) {
          right = right && status == GRAFT_DEVICE_LOST;
          right = right && std::string(graft_last_error()).find("illegal memory access") !=
                               std::string::npos;
        }
        graft_context* other = nullptr;
        auto options = arguments<graft_context_options>();
        options.backend = GRAFT_CUDA;
        right = right && graft_context_create(&options, &other) == GRAFT_DEVICE_LOST;
        right = right && graft_parameter_set_destroy(c, set) == GRAFT_DEVICE_LOST;
        std::_Exit(right ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}
