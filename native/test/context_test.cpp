// Contexts, memory, step state, error texts.
#include "support.h"

#include <chrono>
#include <thread>

using namespace graft_test;

TEST(Context, versions) {
  EXPECT_EQ(GRAFT_ABI_VERSION, graft_abi_version());
  EXPECT_STREQ("0.1.0", graft_version());
  EXPECT_STREQ("GRAFT_OUT_OF_MEMORY", graft_status_name(GRAFT_OUT_OF_MEMORY));
  EXPECT_STREQ("unknown status", graft_status_name(99));
}

TEST(Context, createAndDestroy) {
  context three(3);
  EXPECT_EQ(3, graft_context_threads(three));
  EXPECT_EQ(GRAFT_OK, graft_context_activate(three));
  EXPECT_EQ(GRAFT_OK, graft_synchronize(three));
  context own_count(0);
  EXPECT_GE(graft_context_threads(own_count), 1);
  EXPECT_EQ(GRAFT_OK, graft_context_destroy(nullptr));
}

TEST(Context, refusesWrongOptions) {
  graft_context* created = nullptr;
  auto options = arguments<graft_context_options>();
  expect_error(GRAFT_INVALID_ARGUMENT, graft_context_create(nullptr, &created), {"options", "NULL"});
  expect_error(GRAFT_INVALID_ARGUMENT, graft_context_create(&options, nullptr), {"context"});
  options.struct_size = 8;
  expect_error(GRAFT_INVALID_ARGUMENT, graft_context_create(&options, &created),
               {"struct_size", "got 8"});
  options = arguments<graft_context_options>();
  options.threads = -1;
  expect_error(GRAFT_INVALID_SHAPE, graft_context_create(&options, &created), {"threads", "-1"});
  options = arguments<graft_context_options>();
  options.backend = 7;
  expect_error(GRAFT_INVALID_ARGUMENT, graft_context_create(&options, &created), {"backend", "7"});
  options = arguments<graft_context_options>();
  options.device = 1;
  expect_error(GRAFT_INVALID_ARGUMENT, graft_context_create(&options, &created), {"device", "1"});
  options = arguments<graft_context_options>();
  options.stream = &options;
  expect_error(GRAFT_INVALID_ARGUMENT, graft_context_create(&options, &created), {"stream"});
}

TEST(Context, cudaBackendMustBeLoadedFirst) {
  auto options = arguments<graft_context_options>();
  options.backend = GRAFT_CUDA;
  graft_context* created = nullptr;
  if (graft_backend_available(GRAFT_CUDA)) GTEST_SKIP() << "the CUDA backend is loaded";
  expect_error(GRAFT_UNSUPPORTED, graft_context_create(&options, &created),
               {"CUDA backend is not loaded", "graft_load_backend"});
  EXPECT_EQ(1, graft_backend_available(GRAFT_CPU));
  expect_error(GRAFT_INVALID_ARGUMENT, graft_load_backend(GRAFT_CUDA, "relative.so"),
               {"absolute path", "relative.so"});
  expect_error(GRAFT_INVALID_ARGUMENT, graft_load_backend(5, "/x"), {"backend", "5"});
  expect_error(GRAFT_UNSUPPORTED, graft_load_backend(GRAFT_CUDA, "/does/not/exist.so"),
               {"/does/not/exist.so"});
}

TEST(Context, nullContextIsAnError) {
  auto args = arguments<graft_add_args>();
  expect_error(GRAFT_INVALID_ARGUMENT, graft_add(nullptr, &args), {"add", "context", "NULL"});
  expect_error(GRAFT_INVALID_ARGUMENT, graft_synchronize(nullptr), {"synchronize"});
  EXPECT_EQ(0, graft_context_threads(nullptr));
}

TEST(Context, structSizeIsChecked) {
  context c;
  expect_error(GRAFT_INVALID_ARGUMENT, graft_add(c, nullptr), {"add", "args", "NULL"});
  graft_add_args args{};
  expect_error(GRAFT_INVALID_ARGUMENT, graft_add(c, &args), {"add", "struct_size", "got 0"});
}

TEST(Context, isaLimits) {
  const int highest = graft_cpu_isa();
  expect_error(GRAFT_UNSUPPORTED, graft_cpu_limit_isa(-1), {"cpu_limit_isa", "-1"});
  expect_error(GRAFT_UNSUPPORTED, graft_cpu_limit_isa(99), {"99"});
  EXPECT_EQ(GRAFT_OK, graft_cpu_limit_isa(GRAFT_ISA_BASELINE));
  EXPECT_EQ(GRAFT_ISA_BASELINE, graft_cpu_isa());
  EXPECT_EQ(GRAFT_OK, graft_cpu_limit_isa(highest));
}

TEST(Context, onTheCpuTheStreamIsTheCaller) {
  context c;
  void* stream = &c;
  EXPECT_EQ(GRAFT_OK, graft_context_stream(c, &stream));
  EXPECT_EQ(nullptr, stream);
  int calls = 0;
  EXPECT_EQ(GRAFT_OK, graft_host_enqueue(c, [](void* n) { ++*static_cast<int*>(n); }, &calls));
  EXPECT_EQ(1, calls) << "at once";
  expect_error(GRAFT_INVALID_ARGUMENT, graft_host_enqueue(c, nullptr, nullptr), {"function"});
  graft_event *begin = nullptr, *end = nullptr;
  ASSERT_EQ(GRAFT_OK, graft_event_create(c, &begin));
  ASSERT_EQ(GRAFT_OK, graft_event_create(c, &end));
  EXPECT_EQ(GRAFT_OK, graft_event_record(c, begin));
  std::this_thread::sleep_for(std::chrono::milliseconds(2));
  EXPECT_EQ(GRAFT_OK, graft_event_record(c, end));
  EXPECT_EQ(GRAFT_OK, graft_event_synchronize(c, end));
  float milliseconds = 0;
  EXPECT_EQ(GRAFT_OK, graft_event_elapsed(c, begin, end, &milliseconds));
  EXPECT_GE(milliseconds, 1.5f);
  EXPECT_EQ(GRAFT_OK, graft_event_destroy(c, begin));
  EXPECT_EQ(GRAFT_OK, graft_event_destroy(c, end));
  EXPECT_EQ(GRAFT_OK, graft_event_destroy(c, nullptr));
  void* memory = nullptr;
  EXPECT_EQ(GRAFT_OK, graft_host_malloc(c, 100, &memory));
  EXPECT_EQ(0u, reinterpret_cast<uintptr_t>(memory) % 64);
  EXPECT_EQ(GRAFT_OK, graft_host_free(c, memory));
}

TEST(Context, graphsAreUnsupportedOnTheCpu) {
  context c;
  graft_graph* graph = nullptr;
  expect_error(GRAFT_UNSUPPORTED, graft_capture_begin(c), {"capture_begin", "CPU"});
  expect_error(GRAFT_UNSUPPORTED, graft_capture_end(c, &graph), {"capture_end"});
  EXPECT_EQ(GRAFT_OK, graft_graph_destroy(c, nullptr));
}

TEST(Context, lastErrorIsTheThreadsOwn) {
  expect_error(GRAFT_INVALID_ARGUMENT, graft_synchronize(nullptr), {"synchronize"});
  std::string seen = "unset";
  std::thread other([&] { seen = graft_last_error(); });
  other.join();
  EXPECT_EQ("", seen);
}

TEST(Memory, allocates64ByteAligned) {
  context c;
  for (int64_t bytes : {int64_t{1}, int64_t{63}, int64_t{4097}, int64_t{3} << 20}) {
    void* address = nullptr;
    ASSERT_EQ(GRAFT_OK, graft_malloc(c, bytes, &address));
    EXPECT_EQ(0u, reinterpret_cast<uintptr_t>(address) % 64);
    EXPECT_EQ(GRAFT_OK, graft_memset(c, address, 0x5A, bytes));
    EXPECT_EQ(0x5A, static_cast<uint8_t*>(address)[bytes - 1]);
    EXPECT_EQ(GRAFT_OK, graft_free(c, address));
  }
  void* address = &c;
  EXPECT_EQ(GRAFT_OK, graft_malloc(c, 0, &address));
  EXPECT_EQ(nullptr, address);
  EXPECT_EQ(GRAFT_OK, graft_free(c, nullptr));
  expect_error(GRAFT_INVALID_SHAPE, graft_malloc(c, -1, &address), {"malloc", "-1"});
  expect_error(GRAFT_OUT_OF_MEMORY, graft_malloc(c, int64_t{1} << 60, &address),
               {"1152921504606846976"});
  expect_error(GRAFT_OUT_OF_MEMORY, graft_malloc(c, INT64_MAX, &address), {"9223372036854775807"});
}

// An allocation that is granted and then kills the process would be no answer.
TEST(Memory, moreThanTheHostHasIsRefused) {
  context c;
  int64_t left = 0, total = 0;
  ASSERT_EQ(GRAFT_OK, graft_memory_info(c, &left, &total));
  EXPECT_GT(left, int64_t{64} << 20);
  EXPECT_GT(total, int64_t{64} << 20);
  if (total == INT64_MAX) GTEST_SKIP() << "the system does not say what it has";
  void* address = nullptr;
  expect_error(GRAFT_OUT_OF_MEMORY, graft_malloc(c, left + total, &address),
               {"malloc", "bytes asked for", "left"});
  EXPECT_EQ(nullptr, address);
  expect_error(GRAFT_INVALID_ARGUMENT, graft_memory_info(c, &left, nullptr),
               {"memory_info", "total_bytes"});
}

TEST(Memory, copiesOfEveryKind) {
  context c;
  const char from[] = "abcdefgh";
  for (int kind : {GRAFT_HOST_TO_DEVICE, GRAFT_DEVICE_TO_HOST, GRAFT_DEVICE_TO_DEVICE}) {
    char to[9] = {};
    ASSERT_EQ(GRAFT_OK, graft_memcpy(c, to, from, 9, kind));
    EXPECT_STREQ(from, to);
  }
  char to[9];
  expect_error(GRAFT_INVALID_SHAPE, graft_memcpy(c, to, from, 9, 3), {"kind", "3"});
  expect_error(GRAFT_INVALID_SHAPE, graft_memcpy(c, to, from, -9, 0), {"bytes", "-9"});
  expect_error(GRAFT_INVALID_ARGUMENT, graft_memcpy(c, nullptr, from, 9, 0), {"to", "NULL"});
  EXPECT_EQ(GRAFT_OK, graft_memcpy(c, nullptr, nullptr, 0, 0));
}

TEST(StepState, restoreAndReset) {
  context c;
  graft_step_results results = c.results();
  EXPECT_EQ(0, results.adam_t);
  EXPECT_EQ(1.0f, results.clip_coefficient);
  results.adam_t = 41;
  results.skipped_steps = 2;
  results.loss_sum[3] = 1.5;
  results.loss_weight[3] = 2.5;
  results.loss_count[3] = 7;
  ASSERT_EQ(GRAFT_OK, graft_step_restore(c, &results));
  EXPECT_EQ(41, c.results().adam_t);
  EXPECT_EQ(2, c.results().skipped_steps);
  EXPECT_EQ(1.5, c.results().loss_sum[3]);
  EXPECT_EQ(2.5, c.results().loss_weight[3]);
  ASSERT_EQ(GRAFT_OK, graft_loss_reset(c));
  EXPECT_EQ(0.0, c.results().loss_sum[3]);
  EXPECT_EQ(0.0, c.results().loss_weight[3]);
  EXPECT_EQ(0, c.results().loss_count[3]);
  EXPECT_EQ(41, c.results().adam_t);
  results.adam_t = -1;
  expect_error(GRAFT_INVALID_SHAPE, graft_step_restore(c, &results), {"adam_t", "-1"});
  results.struct_size = 0;
  expect_error(GRAFT_INVALID_ARGUMENT, graft_step_read(c, &results), {"struct_size"});
}

TEST(StepState, refusesNumbersThatAreNone) {
  context c;
  auto inputs = arguments<graft_step_inputs>();
  inputs.lr = NAN;
  expect_error(GRAFT_INVALID_SHAPE, graft_step_begin(c, &inputs), {"lr", "nan"});
  inputs.lr = 0;
  inputs.loss_scale[1] = INFINITY;
  expect_error(GRAFT_INVALID_SHAPE, graft_step_begin(c, &inputs), {"loss_scale", "inf"});
}
