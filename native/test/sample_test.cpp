// Oracle: the documented procedure with a full sort, in double.
#include "support.h"

#include <algorithm>
#include <numeric>
#include <set>

using namespace graft_test;

namespace {

struct settings {
  int64_t top_k = 0;
  float temperature = 1, top_p = 1, penalty = 1;
};

int call(graft_context* c, graft_sample_args args) {
  int64_t bytes = 0;
  const int status = graft_sample_workspace(c, &args, &bytes);
  if (status != GRAFT_OK) return status;
  workspace space(bytes);
  args.workspace = space.data();
  args.workspace_bytes = bytes;
  return graft_sample(c, &args);
}

// The tokens that may come out of row b: the oracle's, and its neighbours where the draw falls within
// `slack` of a boundary (float32 weights move boundaries by about 1e-6).
std::set<int32_t> oracle(const std::vector<double>& logits, const std::vector<int32_t>& history,
                         const settings& s, double u, double slack) {
  const size_t V = logits.size();
  std::vector<double> x = logits;
  for (int32_t token : history) {
    const double logit = logits[static_cast<size_t>(token)];
    x[static_cast<size_t>(token)] = logit > 0 ? logit / s.penalty : logit * s.penalty;
  }
  std::vector<int32_t> order(V);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return x[static_cast<size_t>(a)] > x[static_cast<size_t>(b)];
  });
  if (s.temperature == 0) return {order[0]};
  size_t count = s.top_k > 0 ? std::min(V, static_cast<size_t>(s.top_k)) : V;
  std::vector<double> p;
  const double top = x[static_cast<size_t>(order[0])];
  for (size_t i = 0; i < count; ++i)
    p.push_back(std::exp((x[static_cast<size_t>(order[i])] - top) / s.temperature));
  std::set<int32_t> allowed;
  const double total = std::accumulate(p.begin(), p.end(), 0.0);
  for (double wobble : {-slack, 0.0, slack}) {
    size_t kept = count;
    double mass = total;
    if (s.top_p < 1) {
      double seen = 0;
      for (size_t i = 0; i < count; ++i) {
        seen += p[i];
        if (seen >= (s.top_p + wobble) * total) {
          kept = i + 1;
          mass = seen;
          break;
        }
      }
    }
    for (double shift : {-slack, 0.0, slack}) {
      double seen = 0;
      size_t last = 0;
      size_t i = 0;
      for (; i < kept; ++i) {
        seen += p[i];
        last = i;
        if (seen > (u + shift) * mass) break;
      }
      allowed.insert(order[last]);
    }
  }
  return allowed;
}

void compare(int64_t B, int64_t V, int64_t stride, int dtype, const settings& s, int threads,
             double spread) {
  numbers random(53);
  array logits(random.normals(B * (stride ? stride : V), spread), dtype, V % 2 == 1);
  std::vector<int32_t> history(static_cast<size_t>(B * 6)), counts, next(static_cast<size_t>(B), -7);
  for (auto& token : history)
    token = static_cast<int32_t>(random.bits() % static_cast<uint64_t>(V));
  for (int64_t b = 0; b < B; ++b) counts.push_back(static_cast<int32_t>(b % 7));
  context c(threads);
  c.step(123, 4);
  auto args = arguments<graft_sample_args>();
  args.logits = logits.data();
  args.history = history.data();
  args.history_counts = counts.data();
  args.history_stride = 6;
  args.next = next.data();
  args.batch = B;
  args.vocabulary = V;
  args.row_stride = stride;
  args.top_k = s.top_k;
  args.temperature = s.temperature;
  args.top_p = s.top_p;
  args.repetition_penalty = s.penalty;
  args.op_id = 3;
  args.dtype = dtype;
  ASSERT_EQ(GRAFT_OK, call(c, args)) << graft_last_error();
  for (int64_t b = 0; b < B; ++b) {
    std::vector<double> row;
    for (int64_t v = 0; v < V; ++v) row.push_back(logits[b * (stride ? stride : V) + v]);
    const auto begin = history.begin() + b * 6;
    const std::vector<int32_t> past(begin, begin + counts[static_cast<size_t>(b)]);
    const double u =
        (philox(stream_key(123, 4, 3), static_cast<uint32_t>(b), 0, 0, 0).w[0] >> 8) * 0x1p-24;
    const auto allowed = oracle(row, past, s, u, 2e-6);
    EXPECT_TRUE(allowed.count(next[static_cast<size_t>(b)]))
        << "row " << b << ": expected " << *allowed.begin() << ", got "
        << next[static_cast<size_t>(b)];
  }
}

}  // namespace

TEST(Sample, agreesWithFullSort) {
  on_every_isa([] {
    for (int dtype : float_dtypes())
      for (int64_t V : {1, 2, 9, 65, 1000, 5003})
        for (double spread : {0.01, 3.0})
          for (const settings& s : std::vector<settings>{{0, 0},
                                                         {0, 0, 0.5f, 2},
                                                         {},
                                                         {5},
                                                         {1},
                                                         {100, 0.7f, 0.9f, 1.3f},
                                                         {0, 1.5f, 0.9f},
                                                         {0, 1, 0.001f},
                                                         {0, 2, 0.999f, 0.5f},
                                                         {1 << 20, 1, 0.5f}}) {
            SCOPED_TRACE(testing::Message()
                         << "dtype " << dtype << " V " << V << " k " << s.top_k << " p " << s.top_p
                         << " T " << s.temperature << " penalty " << s.penalty);
            compare(33, V, V % 2 ? V + 3 : 0, dtype, s, V == 1000 ? 3 : 1, spread);
          }
  });
}

// Equal logits: falling order is rising id, so the token is floor(u V); the arg max is token 0.
TEST(Sample, tiesTakeTheLowestId) {
  on_every_isa([] {
    const int64_t V = 4096;
    array logits(std::vector<double>(static_cast<size_t>(V), 0.5), GRAFT_FLOAT32);
    logits.set(5, 0.5);
    int32_t next = -1;
    context c;
    c.step(1, 2);
    auto args = arguments<graft_sample_args>();
    args.logits = logits.data();
    args.next = &next;
    args.batch = 1;
    args.vocabulary = V;
    args.top_p = 1;
    args.repetition_penalty = 1;
    ASSERT_EQ(GRAFT_OK, call(c, args));
    EXPECT_EQ(0, next);
    args.temperature = 1;
    ASSERT_EQ(GRAFT_OK, call(c, args));
    const double u = (philox(stream_key(1, 2, 0), 0, 0, 0, 0).w[0] >> 8) * 0x1p-24;
    EXPECT_EQ(static_cast<int32_t>(u * static_cast<double>(V)), next);
    args.top_k = 10;
    ASSERT_EQ(GRAFT_OK, call(c, args));
    EXPECT_EQ(static_cast<int32_t>(u * 10), next);
    args.top_k = 0;
    args.top_p = 0.25f;
    ASSERT_EQ(GRAFT_OK, call(c, args));
    EXPECT_EQ(static_cast<int32_t>(u * 1024), next);
  });
}

// Tokens at -inf are never drawn; -0 and +0 tie.
TEST(Sample, maskedTokens) {
  on_every_isa([] {
    array logits({-INFINITY, -0.0, -INFINITY, 0.0, -INFINITY}, GRAFT_FLOAT32);
    int32_t next = -1;
    context c;
    auto args = arguments<graft_sample_args>();
    args.logits = logits.data();
    args.next = &next;
    args.batch = 1;
    args.vocabulary = 5;
    args.top_p = 1;
    args.repetition_penalty = 1;
    ASSERT_EQ(GRAFT_OK, call(c, args));
    EXPECT_EQ(1, next);
    args.temperature = 1;
    args.top_k = 4;
    int seen[5] = {};
    for (uint64_t step = 0; step < 200; ++step) {
      c.step(9, step);
      ASSERT_EQ(GRAFT_OK, call(c, args));
      ++seen[next];
    }
    EXPECT_EQ(200, seen[1] + seen[3]);
    EXPECT_GT(seen[1], 60);
    EXPECT_GT(seen[3], 60);
  });
}

TEST(Sample, errors) {
  context c;
  float logits[8] = {};
  int32_t next[2], history[2] = {}, counts[2] = {1, 1};
  auto good = arguments<graft_sample_args>();
  good.logits = logits;
  good.next = next;
  good.batch = 2;
  good.vocabulary = 4;
  good.top_p = 1;
  good.repetition_penalty = 1;
  good.temperature = 1;
  ASSERT_EQ(GRAFT_OK, call(c, good)) << graft_last_error();
  auto args = good;
  args.top_p = 0;
  expect_error(GRAFT_INVALID_SHAPE, call(c, args), {"top_p", "(0, 1]"});
  args = good;
  args.temperature = -1;
  expect_error(GRAFT_INVALID_SHAPE, call(c, args), {"temperature", "-1"});
  args = good;
  args.repetition_penalty = 0;
  expect_error(GRAFT_INVALID_SHAPE, call(c, args), {"repetition_penalty"});
  args = good;
  args.top_k = -1;
  expect_error(GRAFT_INVALID_SHAPE, call(c, args), {"top_k", "-1"});
  args = good;
  args.history = history;
  args.history_stride = 1;
  expect_error(GRAFT_INVALID_ARGUMENT, call(c, args), {"history_counts", "NULL"});
  args.history_counts = counts;
  ASSERT_EQ(GRAFT_OK, call(c, args)) << graft_last_error();
  history[1] = 4;
  expect_error(GRAFT_INVALID_SHAPE, call(c, args), {"history:", "0..3", "4", "row 1"});
  counts[0] = 2;
  expect_error(GRAFT_INVALID_SHAPE, call(c, args), {"history_counts", "0..1", "2", "row 0"});
  args = good;
  logits[5] = NAN;
  expect_error(GRAFT_INVALID_SHAPE, call(c, args), {"logits", "NaN", "row 1"});
  for (int i = 4; i < 8; ++i) logits[i] = -INFINITY;
  expect_error(GRAFT_INVALID_SHAPE, call(c, args), {"logits", "row 1"});
  logits[5] = INFINITY;
  expect_error(GRAFT_INVALID_SHAPE, call(c, args), {"logits", "row 1"});
  expect_error(GRAFT_INVALID_SHAPE, graft_sample(c, &good), {"workspace_bytes"});
  args = good;
  args.batch = 0;
  EXPECT_EQ(GRAFT_OK, call(c, args)) << graft_last_error();
}
