// Sampling on the CUDA backend. Oracle: the CPU backend, token by token, which its own tests hold
// to a full sort in double; and what can be said outright of ties, masks and rows without a draw.
#include "../../cuda/emulation/runtime.h"
#include "cuda_support.h"

using namespace graft_test;
namespace emulation = graft::emulation;

namespace {

struct settings {
  int64_t top_k = 0;
  float temperature = 1, top_p = 1, penalty = 1;
};

struct rows_of_logits {
  int64_t batch, vocabulary, stride;
  array logits;
  std::vector<int32_t> history, counts;

  rows_of_logits(int64_t B, int64_t V, int64_t padding, int dtype, double spread,
                 uint64_t seed = 53)
      : batch(B),
        vocabulary(V),
        stride(V + padding),
        logits(numbers(seed).normals(B * stride, spread), dtype) {
    numbers random(seed + 1);
    for (int64_t i = 0; i < B * 6; ++i)
      history.push_back(static_cast<int32_t>(random.bits() % static_cast<uint64_t>(V)));
    for (int64_t b = 0; b < B; ++b) counts.push_back(static_cast<int32_t>(b % 7));
  }
  graft_sample_args args(const settings& s) const {
    auto args = arguments<graft_sample_args>();
    args.history_stride = 6;
    args.batch = batch;
    args.vocabulary = vocabulary;
    args.row_stride = stride == vocabulary ? 0 : stride;
    args.top_k = s.top_k;
    args.temperature = s.temperature;
    args.top_p = s.top_p;
    args.repetition_penalty = s.penalty;
    args.op_id = 3;
    args.dtype = logits.dtype();
    return args;
  }
};

constexpr uint64_t seed = 123;

std::vector<int32_t> on_cuda(cuda_context& c, const rows_of_logits& r, const settings& s,
                             uint64_t step = 4, int64_t shift = 0) {
  const int64_t element = r.logits.dtype() == GRAFT_BFLOAT16 ? 2 : 4;
  device_array logits(c, r.logits, shift * element), history(c, r.history, 4),
      counts(c, r.counts, 4);
  std::vector<int32_t> next(static_cast<size_t>(r.batch), -7);
  device_array d_next(c, next, 4);
  auto args = r.args(s);
  args.logits = logits.data();
  args.history = history.data<int32_t>();
  args.history_counts = counts.data<int32_t>();
  args.next = d_next.data<int32_t>();
  EXPECT_EQ(GRAFT_OK, graft_sample_workspace(c, &args, &args.workspace_bytes))
      << graft_last_error();
  device_array space(c, args.workspace_bytes);
  args.workspace = space.data();
  c.step(seed, step);
  EXPECT_EQ(GRAFT_OK, graft_sample(c, &args)) << graft_last_error();
  c.synchronize();
  d_next.download(next.data());
  array after(r.logits.count(), r.logits.dtype());
  logits.download(after);
  EXPECT_EQ(r.logits.bits(), after.bits()) << "logits are not changed";
  return next;
}

std::vector<int32_t> on_cpu(const rows_of_logits& r, const settings& s, uint64_t step = 4) {
  context c;
  c.step(seed, step);
  std::vector<int32_t> next(static_cast<size_t>(r.batch), -7);
  auto args = r.args(s);
  args.logits = r.logits.data();
  args.history = r.history.data();
  args.history_counts = r.counts.data();
  args.next = next.data();
  EXPECT_EQ(GRAFT_OK, graft_sample_workspace(c, &args, &args.workspace_bytes));
  workspace space(args.workspace_bytes);
  args.workspace = space.data();
  EXPECT_EQ(GRAFT_OK, graft_sample(c, &args)) << graft_last_error();
  return next;
}

const std::vector<settings>& all_settings() {
  static const std::vector<settings> all = {{0, 0},
                                            {0, 0, 0.5f, 2},
                                            {},
                                            {5},
                                            {1},
                                            {100, 0.7f, 0.9f, 1.3f},
                                            {0, 1.5f, 0.9f},
                                            {0, 1, 0.001f},
                                            {0, 2, 0.999f, 0.5f},
                                            {1 << 20, 1, 0.5f}};
  return all;
}

double uniform(uint64_t step, uint32_t row) {
  return (philox(stream_key(seed, step, 3), row, 0, 0, 0).w[0] >> 8) * 0x1p-24;
}

}  // namespace

TEST(CudaSample, theCpusTokens) {
  cuda_context c;
  int i = 0;
  std::vector<int64_t> vocabularies = {1, 9, 65, 1000, 3001};
  if (full_grid()) vocabularies.insert(vocabularies.end(), {30522, 50257});
  for (const int dtype : float_dtypes())
    for (const int64_t V : vocabularies)
      for (const settings& s : all_settings()) {
        SCOPED_TRACE(testing::Message() << "dtype " << dtype << ", V " << V << ", k " << s.top_k
                                        << ", p " << s.top_p << ", T " << s.temperature
                                        << ", penalty " << s.penalty);
        const double spread = i % 3 == 0 ? 0.01 : 3.0 * (i % 3);
        const rows_of_logits r(full_grid() ? 50 : 5, V, V % 2 * 3, dtype, spread,
                               static_cast<uint64_t>(i));
        EXPECT_EQ(on_cpu(r, s), on_cuda(c, r, s, 4, i % 5));
        ++i;
      }
}

// A row that does not fit in shared memory lies in the workspace.
TEST(CudaSample, rowsBeyondSharedMemory) {
  GRAFT_SKIP_ON_REAL_CARD();
  emulation::machine small;
  small.shared_bytes = 5 * 1024;
  emulation::set_machine(small);
  cuda_context c;
  emulation::set_machine({});
  const rows_of_logits r(9, 1501, 0, GRAFT_BFLOAT16, 3);
  auto args = r.args({});
  int64_t bytes = 0;
  ASSERT_EQ(GRAFT_OK, graft_sample_workspace(c, &args, &bytes));
  EXPECT_EQ(8 * 1501 * 4, bytes);
  for (const settings& s : all_settings()) EXPECT_EQ(on_cpu(r, s), on_cuda(c, r, s));
}

// Equal logits: falling order is rising id, so the token is floor(u V); the arg max is token 0.
TEST(CudaSample, tiesTakeTheLowestId) {
  cuda_context c;
  const int64_t V = 4096;
  rows_of_logits r(3, V, 0, GRAFT_FLOAT32, 0);
  const auto expected = [&](double tokens) {
    std::vector<int32_t> all;
    for (uint32_t b = 0; b < 3; ++b) all.push_back(static_cast<int32_t>(uniform(4, b) * tokens));
    return all;
  };
  EXPECT_EQ(expected(0), on_cuda(c, r, {0, 0}));
  EXPECT_EQ(expected(4096), on_cuda(c, r, {}));
  EXPECT_EQ(expected(10), on_cuda(c, r, {10}));
  EXPECT_EQ(expected(1024), on_cuda(c, r, {0, 1, 0.25f}));
  EXPECT_EQ(expected(512), on_cuda(c, r, {1024, 1, 0.5f}));
}

// Tokens at -inf are never drawn; -0 and +0 tie.
TEST(CudaSample, maskedTokens) {
  cuda_context c;
  rows_of_logits r(1, 5, 0, GRAFT_FLOAT32, 0);
  for (int64_t v = 0; v < 5; v += 2) r.logits.set(v, -INFINITY);
  r.logits.set(1, -0.0);
  r.logits.set(3, 0.0);
  EXPECT_EQ(std::vector<int32_t>{1}, on_cuda(c, r, {0, 0}));
  for (uint64_t step = 0; step < 20; ++step)
    EXPECT_EQ(std::vector<int32_t>{uniform(step, 0) < 0.5 ? 1 : 3}, on_cuda(c, r, {4}, step));
}

// Cumulative masses that are exact: top-p of 3/4 over weights 2, 1, 1 takes two tokens.
TEST(CudaSample, topPIsReachedByEquality) {
  cuda_context c;
  rows_of_logits r(1, 4, 0, GRAFT_FLOAT32, 0);
  const double half = std::log(2.0);
  r.logits.set(0, 0.0);
  r.logits.set(1, half);
  r.logits.set(2, 0.0);
  r.logits.set(3, -INFINITY);
  // Weights of the tokens in order: 1 (id 1), 1/2 (id 0), 1/2 (id 2); ln 2 is rounded, so is 1/2.
  for (uint64_t step = 0; step < 20; ++step) {
    const auto next = on_cuda(c, r, {0, 1, 0.7499f}, step);
    EXPECT_EQ(on_cpu(r, {0, 1, 0.7499f}, step), next);
    EXPECT_NE(2, next[0]);
  }
  rows_of_logits even(1, 4, 0, GRAFT_FLOAT32, 0);
  for (uint64_t step = 0; step < 20; ++step)
    EXPECT_GT(3, on_cuda(c, even, {0, 1, 0.75f}, step)[0]);
}

TEST(CudaSample, rowsWithoutADrawGiveMinusOne) {
  cuda_context c;
  rows_of_logits r(4, 40, 2, GRAFT_FLOAT32, 1);
  const rows_of_logits good(4, 40, 2, GRAFT_FLOAT32, 1);
  r.logits.set(42 + 17, NAN);
  r.logits.set(2 * 42 + 39, INFINITY);
  for (int64_t v = 0; v < 40; ++v) r.logits.set(3 * 42 + v, -INFINITY);
  for (const settings& s : all_settings()) {
    const auto next = on_cuda(c, r, s);
    EXPECT_EQ(on_cpu(good, s)[0], next[0]);
    for (size_t b = 1; b < 4; ++b) EXPECT_EQ(-1, next[b]) << b;
  }
}

// Logits that a tiny temperature drives beyond float32 leave the most probable token.
TEST(CudaSample, overflowingTemperatureTakesTheArgMax) {
  cuda_context c;
  rows_of_logits r(1, 300, 0, GRAFT_FLOAT32, 1);
  r.logits.set(123, 9);
  EXPECT_EQ(std::vector<int32_t>{123}, on_cuda(c, r, {0, 1e-38f}));
  EXPECT_EQ(std::vector<int32_t>{123}, on_cuda(c, r, {7, 1e-38f, 0.5f}));
}

TEST(CudaSample, sameTokensInAnyOrderOfBlocksAndWarps) {
  const rows_of_logits r(5, 777, 0, GRAFT_BFLOAT16, 2);
  std::vector<int32_t> first;
  for (uint64_t order = 1; order <= 4; ++order) {
    emulation::set_seed(1000 * order);
    cuda_context c;
    const auto next = on_cuda(c, r, {50, 0.9f, 0.95f, 1.1f});
    if (order == 1) first = next;
    EXPECT_EQ(first, next);
  }
}
