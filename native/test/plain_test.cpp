// random, embedding, cast, add, dropout, gather, scatter, column_sum. Oracles: the definitions in
// graft.h, in double, with the tests' own Philox; copies are compared bit by bit.
#include "support.h"

#include <algorithm>
#include <numeric>

using namespace graft_test;

namespace {

const std::vector<int64_t> counts = {0, 1, 2, 3, 7, 8, 9, 15, 17, 63, 65, 1000, 70001};

template <typename Args, typename Query>
workspace space_for(graft_context* c, Args& args, Query query) {
  int64_t bytes = 0;
  EXPECT_EQ(GRAFT_OK, query(c, &args, &bytes));
  workspace space(bytes);
  args.workspace = space.data();
  args.workspace_bytes = bytes;
  return space;
}

}  // namespace

// ---- random -------------------------------------------------------------------------------------

TEST(Random, followsTheDocumentedDraws) {
  on_every_isa([] {
    for (int dtype : float_dtypes())
      for (int kind : {0, 1})
        for (int64_t count : {0, 1, 2, 3, 4, 5, 1001}) {
          array out(count, dtype, count % 2 == 1);
          context c;
          auto args = arguments<graft_random_args>();
          args.out = out.data();
          args.count = count;
          args.seed = 99;
          args.stream = 12;
          args.kind = kind;
          args.dtype = dtype;
          args.a = -1;
          args.b = 3;
          ASSERT_EQ(GRAFT_OK, graft_random(c, &args));
          std::vector<double> expected;
          const uint64_t key = stream_key(99, 0, 12);
          for (int64_t e = 0; e < count; ++e) {
            const philox p(key, static_cast<uint32_t>(e / 4), 0, 0, 0);
            if (kind == 1) {
              expected.push_back(-1 + 4 * ((p.w[e % 4] >> 8) * 0x1p-24));
            } else {
              const uint32_t a = p.w[e % 4 / 2 * 2], b = p.w[e % 4 / 2 * 2 + 1];
              const double r = std::sqrt(-2 * std::log(((a >> 8) + 1.0) * 0x1p-24));
              const double phi = 2 * M_PI * (b >> 8) * 0x1p-24;
              expected.push_back(-1 + 3 * r * (e % 2 ? std::sin(phi) : std::cos(phi)));
            }
          }
          expect_close(expected, out, 1e-12, 0.51, "random");
        }
  });
}

TEST(Random, momentsAndThreads) {
  std::vector<uint8_t> one;
  for (int threads : {1, 2, 3, 7}) {
    array out(100003, GRAFT_FLOAT32);
    context c(threads);
    auto args = arguments<graft_random_args>();
    args.out = out.data();
    args.count = out.count();
    args.seed = 5;
    args.b = 1;
    ASSERT_EQ(GRAFT_OK, graft_random(c, &args));
    if (threads == 1) one = out.bits();
    EXPECT_EQ(one, out.bits());
    double mean = 0, square = 0;
    for (int64_t i = 0; i < out.count(); ++i) mean += out[i], square += out[i] * out[i];
    EXPECT_NEAR(0, mean / 100003, 5 / std::sqrt(100003.0));
    EXPECT_NEAR(1, square / 100003, 5 * std::sqrt(2 / 100003.0));
  }
}

TEST(Random, uniformStaysBelowItsEnd) {
  array out(1 << 20, GRAFT_FLOAT32);
  context c;
  auto args = arguments<graft_random_args>();
  args.out = out.data();
  args.count = out.count();
  args.kind = 1;
  args.a = 1;
  args.b = 1.0000002f;  // two floats above 1: half of the draws would round up to the end
  ASSERT_EQ(GRAFT_OK, graft_random(c, &args));
  for (int64_t i = 0; i < out.count(); ++i) {
    ASSERT_GE(out[i], 1.0);
    ASSERT_LT(out[i], static_cast<double>(args.b));
  }
}

TEST(Random, errors) {
  context c;
  float out[4];
  auto good = arguments<graft_random_args>();
  good.out = out;
  good.count = 4;
  good.b = 1;
  auto args = good;
  args.kind = 2;
  expect_error(GRAFT_INVALID_SHAPE, graft_random(c, &args), {"kind", "2"});
  args = good;
  args.b = -1;
  expect_error(GRAFT_INVALID_SHAPE, graft_random(c, &args), {"a, b", "-1"});
  args = good;
  args.a = NAN;
  expect_error(GRAFT_INVALID_SHAPE, graft_random(c, &args), {"a, b"});
  args = good;
  args.count = -4;
  expect_error(GRAFT_INVALID_SHAPE, graft_random(c, &args), {"count", "-4"});
  args = good;
  args.out = nullptr;
  expect_error(GRAFT_INVALID_ARGUMENT, graft_random(c, &args), {"out"});
}

// ---- embedding ----------------------------------------------------------------------------------

TEST(Embedding, forwardSumsThreeTables) {
  on_every_isa([] {
    for (int dtype : float_dtypes())
      for (int64_t channels : {1, 7, 8, 17, 65, 768})
        for (int threads : {1, 3}) {
          const int64_t T = 129;
          numbers random(7);
          array tokens(random.normals(50 * channels), dtype, true);
          array positions(random.normals(T * channels), dtype);
          array types(random.normals(2 * channels), dtype, true), out(T * channels, dtype, true);
          std::vector<int32_t> ids, position_ids, type_ids;
          for (int64_t t = 0; t < T; ++t) {
            ids.push_back(static_cast<int32_t>(random.bits() % 50));
            position_ids.push_back(static_cast<int32_t>(T - 1 - t));
            type_ids.push_back(static_cast<int32_t>(t % 2));
          }
          context c(threads);
          auto args = arguments<graft_embedding_args>();
          args.ids = ids.data();
          args.token_table = tokens.data();
          args.out = out.data();
          args.tokens = T;
          args.channels = channels;
          args.token_rows = 50;
          args.dtype = dtype;
          ASSERT_EQ(GRAFT_OK, graft_embedding_forward(c, &args)) << graft_last_error();
          for (int64_t t = 0; t < T; ++t)
            for (int64_t i = 0; i < channels; ++i)
              ASSERT_EQ(tokens[ids[static_cast<size_t>(t)] * channels + i], out[t * channels + i]);
          args.positions = position_ids.data();
          args.position_table = positions.data();
          args.position_rows = T;
          args.types = type_ids.data();
          args.type_table = types.data();
          args.type_rows = 2;
          ASSERT_EQ(GRAFT_OK, graft_embedding_forward(c, &args)) << graft_last_error();
          std::vector<double> expected;
          for (int64_t t = 0; t < T; ++t)
            for (int64_t i = 0; i < channels; ++i)
              expected.push_back(tokens[ids[static_cast<size_t>(t)] * channels + i] +
                                 positions[(T - 1 - t) * channels + i] + types[t % 2 * channels + i]);
          expect_close(expected, out, 6e-7, dtype == GRAFT_BFLOAT16 ? 0.51 : 1, "embedding");
        }
  });
}

TEST(Embedding, idsOutOfRangeAreNamed) {
  context c;
  float table[8] = {}, out[8];
  int32_t ids[2] = {0, 4}, others[2] = {0, 0};
  auto args = arguments<graft_embedding_args>();
  args.ids = ids;
  args.token_table = table;
  args.out = out;
  args.tokens = 2;
  args.channels = 2;
  args.token_rows = 4;
  expect_error(GRAFT_INVALID_SHAPE, graft_embedding_forward(c, &args), {"ids", "0..3", "4", "row 1"});
  ids[1] = -1;
  expect_error(GRAFT_INVALID_SHAPE, graft_embedding_forward(c, &args), {"ids", "-1", "row 1"});
  ids[1] = 3;
  args.positions = others;
  expect_error(GRAFT_INVALID_ARGUMENT, graft_embedding_forward(c, &args), {"position_table", "NULL"});
  args.position_table = table;
  expect_error(GRAFT_INVALID_SHAPE, graft_embedding_forward(c, &args), {"positions", "row 0"});
  args.position_rows = 1;
  EXPECT_EQ(GRAFT_OK, graft_embedding_forward(c, &args));
  args.type_table = table;
  expect_error(GRAFT_INVALID_ARGUMENT, graft_embedding_forward(c, &args), {"types", "NULL"});
  args.types = others;
  args.type_rows = 1;
  others[1] = 1;
  expect_error(GRAFT_INVALID_SHAPE, graft_embedding_forward(c, &args), {"positions", "row 1"});
  args.tokens = 0;
  EXPECT_EQ(GRAFT_OK, graft_embedding_forward(c, &args));
}

// Oracle: float32 sums in the order of t, bit by bit: that is the documented order.
TEST(Embedding, backwardAddsInOrder) {
  on_every_isa([] {
    for (int dtype : float_dtypes())
      for (int64_t rows : {1, 2, 40, 5000})
        for (int64_t channels : {1, 9, 128, 130, 300})
          for (int threads : {1, 2, 3, 7}) {
            const int64_t T = 700;
            numbers random(11);
            std::vector<int32_t> ids, order(T);
            for (int64_t t = 0; t < T; ++t)
              ids.push_back(static_cast<int32_t>(random.bits() % static_cast<uint64_t>(rows)));
            std::iota(order.begin(), order.end(), 0);
            std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
              return ids[static_cast<size_t>(a)] < ids[static_cast<size_t>(b)];
            });
            array dout(random.normals(T * channels), dtype, true);
            array dtable(random.normals(rows * channels), GRAFT_FLOAT32, true);
            std::vector<float> expected;
            for (double x : dtable.values()) expected.push_back(static_cast<float>(x));
            for (int64_t t = 0; t < T; ++t)
              for (int64_t i = 0; i < channels; ++i)
                expected[static_cast<size_t>(ids[static_cast<size_t>(t)] * channels + i)] +=
                    static_cast<float>(dout[t * channels + i]);
            context c(threads);
            auto args = arguments<graft_embedding_backward_args>();
            args.ids = ids.data();
            args.order = order.data();
            args.dout = dout.data();
            args.dtable = dtable.floats();
            args.tokens = T;
            args.channels = channels;
            args.rows = rows;
            args.dtype = dtype;
            ASSERT_EQ(GRAFT_OK, graft_embedding_backward(c, &args)) << graft_last_error();
            for (int64_t i = 0; i < dtable.count(); ++i)
              ASSERT_EQ(expected[static_cast<size_t>(i)], dtable[i])
                  << rows << " rows, " << channels << " channels, element " << i;
          }
  });
}

TEST(Embedding, backwardRefusesAWrongOrder) {
  context c;
  float dout[6] = {}, dtable[6] = {};
  int32_t ids[3] = {1, 0, 1}, order[3] = {1, 0, 2};
  auto args = arguments<graft_embedding_backward_args>();
  args.ids = ids;
  args.order = order;
  args.dout = dout;
  args.dtable = dtable;
  args.tokens = 3;
  args.channels = 2;
  args.rows = 3;
  EXPECT_EQ(GRAFT_OK, graft_embedding_backward(c, &args));
  order[1] = 2, order[2] = 0;  // sorted, but not stable
  expect_error(GRAFT_INVALID_SHAPE, graft_embedding_backward(c, &args), {"order", "stable"});
  order[1] = 3;
  expect_error(GRAFT_INVALID_SHAPE, graft_embedding_backward(c, &args), {"order", "0..2", "3"});
  order[0] = 0, order[1] = 1, order[2] = 2;
  expect_error(GRAFT_INVALID_SHAPE, graft_embedding_backward(c, &args), {"order", "place 1"});
  ids[2] = 7;
  expect_error(GRAFT_INVALID_SHAPE, graft_embedding_backward(c, &args), {"ids", "7", "row 2"});
  args.tokens = 0;
  EXPECT_EQ(GRAFT_OK, graft_embedding_backward(c, &args));
}

// ---- cast, add ----------------------------------------------------------------------------------

TEST(Cast, roundsToNearestEven) {
  on_every_isa([] {
    for (int64_t count : counts)
      for (int threads : {1, 3}) {
        numbers random(13);
        array from(count, GRAFT_FLOAT32, true), to(count, GRAFT_BFLOAT16, true);
        array back(count, GRAFT_FLOAT32, true), same(count, GRAFT_FLOAT32);
        for (int64_t i = 0; i < count; ++i) {
          uint32_t bits = static_cast<uint32_t>(random.bits());
          if (i % 3 == 0) bits = (bits & 0xFFFF0000u) | 0x8000u;  // ties
          float x;
          std::memcpy(&x, &bits, sizeof x);
          std::memcpy(from.floats() + i, &x, sizeof x);
        }
        context c(threads);
        auto args = arguments<graft_cast_args>();
        args.from = from.data();
        args.to = to.data();
        args.count = count;
        args.to_dtype = GRAFT_BFLOAT16;
        ASSERT_EQ(GRAFT_OK, graft_cast(c, &args)) << graft_last_error();
        const auto bits = to.bits();
        for (int64_t i = 0; i < count; ++i) {
          uint16_t got;
          std::memcpy(&got, bits.data() + 2 * i, 2);
          ASSERT_EQ(float_to_bf16(from.floats()[i]), got) << i;
        }
        args.from = to.data();
        args.to = back.data();
        args.from_dtype = GRAFT_BFLOAT16;
        args.to_dtype = GRAFT_FLOAT32;
        ASSERT_EQ(GRAFT_OK, graft_cast(c, &args));
        for (int64_t i = 0; i < count; ++i)
          ASSERT_TRUE(back[i] == to[i] || (std::isnan(back[i]) && std::isnan(to[i])));
        args.from = from.data();
        args.to = same.data();
        args.from_dtype = GRAFT_FLOAT32;
        ASSERT_EQ(GRAFT_OK, graft_cast(c, &args));
        EXPECT_EQ(from.bits(), same.bits());
      }
  });
  context c;
  float x = 0;
  auto args = arguments<graft_cast_args>();
  args.from = args.to = &x;
  args.count = 1;
  args.to_dtype = GRAFT_INT32;
  expect_error(GRAFT_INVALID_DTYPE, graft_cast(c, &args), {"from_dtype, to_dtype", "0, 2"});
  args.to_dtype = 5;
  expect_error(GRAFT_INVALID_DTYPE, graft_cast(c, &args), {"to_dtype", "5"});
}

TEST(Add, elementwiseAndInPlace) {
  on_every_isa([] {
    for (int dtype : float_dtypes())
      for (int64_t count : counts)
        for (int alias : {0, 1, 2}) {
          numbers random(19);
          array a(random.normals(count), dtype, true), b(random.normals(count), dtype, true);
          array out(count, dtype, true);
          std::vector<double> expected;
          for (int64_t i = 0; i < count; ++i) expected.push_back(a[i] + b[i]);
          context c(2);
          auto args = arguments<graft_add_args>();
          args.a = a.data();
          args.b = b.data();
          array& to = alias == 0 ? out : alias == 1 ? a : b;
          args.out = to.data();
          args.count = count;
          args.dtype = dtype;
          ASSERT_EQ(GRAFT_OK, graft_add(c, &args));
          expect_close(expected, to, 0, 0.51, "sum");
        }
  });
  context c;
  float x[2] = {};
  auto args = arguments<graft_add_args>();
  args.a = args.out = x;
  args.count = 2;
  expect_error(GRAFT_INVALID_ARGUMENT, graft_add(c, &args), {" b:", "NULL"});
  args.count = INT64_MAX;
  expect_error(GRAFT_INVALID_SHAPE, graft_add(c, &args), {"count"});
}

// Large enough for streaming stores.
TEST(Add, streamed) {
  on_every_isa([] {
    const int64_t count = (int64_t{5} << 20) + 3;
    for (int dtype : float_dtypes()) {
      array a(count, dtype), b(count, dtype), out(count, dtype);
      for (int64_t i = 0; i < count; ++i) a.set(i, i % 97), b.set(i, i % 31);
      context c(2);
      auto args = arguments<graft_add_args>();
      args.a = a.data();
      args.b = b.data();
      args.out = out.data();
      args.count = count;
      args.dtype = dtype;
      ASSERT_EQ(GRAFT_OK, graft_add(c, &args));
      for (int64_t i = 0; i < count; ++i) ASSERT_EQ(i % 97 + i % 31, out[i]) << i;
    }
  });
}

// ---- dropout ------------------------------------------------------------------------------------

TEST(Dropout, followsTheDocumentedBytes) {
  on_every_isa([] {
    for (int dtype : float_dtypes())
      for (int k : {0, 1, 26, 128, 255})
        for (auto [rows, channels] : std::vector<std::pair<int64_t, int64_t>>{
                 {1, 1}, {3, 15}, {2, 16}, {2, 17}, {3, 511}, {2, 512}, {2, 513}, {67, 768}, {1, 1300}})
          for (bool in_place : {false, true}) {
            numbers random(23);
            array x(random.normals(rows * channels), dtype, channels % 2 == 1);
            array y(rows * channels, dtype, channels % 2 == 1);
            const uint64_t key = stream_key(77, 6, 5);
            std::vector<double> expected;
            for (int64_t r = 0; r < rows; ++r)
              for (int64_t i = 0; i < channels; ++i)
                expected.push_back(x[r * channels + i] * keep_factor(key, k, r, i));
            std::vector<uint8_t> one;
            const array source(x.values(), dtype);
            for (int threads : {1, 3}) {
              context c(threads);
              c.step(77, 6);
              auto args = arguments<graft_dropout_args>();
              for (int64_t i = 0; i < x.count(); ++i) x.set(i, source[i]);
              args.x = x.data();
              args.y = in_place ? x.data() : y.data();
              args.rows = rows;
              args.channels = channels;
              args.dropout = k;
              args.op_id = 5;
              args.dtype = dtype;
              ASSERT_EQ(GRAFT_OK, graft_dropout(c, &args));
              expect_close(expected, in_place ? x : y, 0, 2, "dropout");
            }
          }
  });
  context c;
  auto args = arguments<graft_dropout_args>();
  args.dropout = 300;
  expect_error(GRAFT_INVALID_SHAPE, graft_dropout(c, &args), {"dropout", "0..255", "300"});
  args.dropout = 10;
  EXPECT_EQ(GRAFT_OK, graft_dropout(c, &args));
}

// A NaN or infinity that is dropped is 0.
TEST(Dropout, dropsWhatIsNotFinite) {
  array x(std::vector<double>(256, INFINITY), GRAFT_FLOAT32), y(256, GRAFT_FLOAT32);
  context c;
  c.step(77, 6);
  auto args = arguments<graft_dropout_args>();
  args.x = x.data();
  args.y = y.data();
  args.rows = 1;
  args.channels = 256;
  args.dropout = 128;
  ASSERT_EQ(GRAFT_OK, graft_dropout(c, &args));
  const uint64_t key = stream_key(77, 6, 0);
  for (int64_t i = 0; i < 256; ++i)
    ASSERT_EQ(keep_factor(key, 128, 0, i) == 0 ? 0.0 : INFINITY, y[i]) << i;
}

// ---- rows ---------------------------------------------------------------------------------------

TEST(Rows, gatherAndScatter) {
  on_every_isa([] {
    for (int dtype : float_dtypes())
      for (int64_t channels : {1, 9, 768})
        for (int threads : {1, 3}) {
          const int64_t rows = 100, n = 60;
          numbers random(31);
          array source(random.normals(rows * channels), dtype, true);
          array picked(n * channels, dtype, true);
          std::vector<int32_t> index;
          for (int64_t i = 0; i < n; ++i)
            index.push_back(i % 7 == 6 ? -1 : static_cast<int32_t>((i * 37) % rows));
          context c(threads);
          auto args = arguments<graft_rows_args>();
          args.in = source.data();
          args.out = picked.data();
          args.index = index.data();
          args.count = n;
          args.source_rows = rows;
          args.channels = channels;
          args.dtype = dtype;
          ASSERT_EQ(GRAFT_OK, graft_gather_rows(c, &args)) << graft_last_error();
          for (int64_t i = 0; i < n; ++i)
            for (int64_t k = 0; k < channels; ++k) {
              const int32_t from = index[static_cast<size_t>(i)];
              ASSERT_EQ(from < 0 ? 0 : source[from * channels + k], picked[i * channels + k]);
            }
          array target(random.normals(rows * channels), dtype, true);
          for (int accumulate : {1, 0}) {
            std::vector<double> expected =
                accumulate ? target.values() : std::vector<double>(target.values().size(), 0.0);
            for (int64_t i = 0; i < n; ++i) {
              const int32_t to = index[static_cast<size_t>(i)];
              for (int64_t k = 0; to >= 0 && k < channels; ++k)
                expected[static_cast<size_t>(to * channels + k)] += picked[i * channels + k];
            }
            args.in = picked.data();
            args.out = target.data();
            args.accumulate = accumulate;
            ASSERT_EQ(GRAFT_OK, graft_scatter_rows(c, &args));
            expect_close(expected, target, 0, accumulate ? 0.51 : 0, "scatter");
          }
        }
  });
  context c;
  float x[4] = {};
  int32_t index[2] = {0, 2};
  auto args = arguments<graft_rows_args>();
  args.in = args.out = x;
  args.index = index;
  args.count = args.source_rows = args.channels = 2;
  expect_error(GRAFT_INVALID_SHAPE, graft_gather_rows(c, &args), {"index", "-1..1", "2", "row 1"});
  index[1] = -2;
  expect_error(GRAFT_INVALID_SHAPE, graft_scatter_rows(c, &args), {"index", "-2", "row 1"});
  args.index = nullptr;
  expect_error(GRAFT_INVALID_ARGUMENT, graft_gather_rows(c, &args), {"index", "NULL"});
  args.count = 0;
  args.source_rows = 0;
  EXPECT_EQ(GRAFT_OK, graft_gather_rows(c, &args));
}

// ---- column sums --------------------------------------------------------------------------------

TEST(ColumnSum, agreesWithDoubleAndThreads) {
  on_every_isa([] {
    for (int dtype : float_dtypes())
      for (auto [rows, channels] : std::vector<std::pair<int64_t, int64_t>>{
               {0, 3}, {1, 1}, {2, 7}, {9, 17}, {65, 63}, {515, 300}, {1000, 65}}) {
        numbers random(37);
        array x(random.normals(rows * channels), dtype, true);
        const std::vector<double> start = random.normals(channels);
        std::vector<uint8_t> one;
        for (int threads : {1, 2, 3, 7}) {
          array out(start, GRAFT_FLOAT32, true);
          std::vector<double> expected = out.values();
          for (int64_t i = 0; i < x.count(); ++i)
            expected[static_cast<size_t>(i % channels)] += x[i];
          context c(threads);
          auto args = arguments<graft_column_sum_args>();
          args.x = x.data();
          args.out = out.floats();
          args.rows = rows;
          args.channels = channels;
          args.dtype = dtype;
          const workspace space = space_for(c, args, graft_column_sum_workspace);
          ASSERT_EQ(GRAFT_OK, graft_column_sum(c, &args)) << graft_last_error();
          expect_close(expected, out, 1e-7 * static_cast<double>(rows), 2, "column sum");
          if (threads == 1) one = out.bits();
          EXPECT_EQ(one, out.bits());
        }
      }
  });
  context c;
  float x[4] = {};
  auto args = arguments<graft_column_sum_args>();
  args.x = args.out = x;
  args.rows = args.channels = 2;
  expect_error(GRAFT_INVALID_SHAPE, graft_column_sum(c, &args), {"workspace_bytes"});
}
