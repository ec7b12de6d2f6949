// CUDA embedding. Oracle: sums of rows in double; beside it the CPU backend on the same inputs. Tolerance,
// the architecture's rule: max|got - f64| <= 2 max|CPU - f64| + 2 ulp(max|f64|) a tensor.
#include <algorithm>
#include <numeric>

#include "../../cuda/device.h"
#include "cuda_support.h"

using namespace graft_test;
namespace emulation = graft::emulation;

namespace {

using ints = std::vector<int32_t>;
using bits = std::vector<uint8_t>;

ints draw(numbers& random, int64_t count, int64_t rows) {
  ints all(static_cast<size_t>(count));
  for (int32_t& id : all) id = static_cast<int32_t>(random.bits() % static_cast<uint64_t>(rows));
  return all;
}

ints order_of(const ints& ids) {
  ints order(ids.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return ids[static_cast<size_t>(a)] < ids[static_cast<size_t>(b)];
  });
  return order;
}

struct table {
  int64_t rows;
  array values;
  ints ids;
  table(numbers& random, int64_t row_count, int64_t channels, int64_t tokens, int dtype)
      : rows(row_count),
        values(random.normals(row_count * channels), dtype),
        ids(draw(random, tokens, row_count)) {}
};

void forward(int64_t tokens, int64_t channels, int dtype, bool position, bool type,
             int64_t shift = 0) {
  SCOPED_TRACE(testing::Message() << tokens << "x" << channels << " dtype " << dtype << " position "
                                  << position << " type " << type << " shift " << shift);
  numbers random(23);
  const int64_t element = dtype == GRAFT_BFLOAT16 ? 2 : 4;
  table a(random, 37, channels, tokens, dtype), b(random, 11, channels, tokens, dtype),
      c(random, 2, channels, tokens, dtype);
  auto args = arguments<graft_embedding_args>();
  args.tokens = tokens;
  args.channels = channels;
  args.token_rows = a.rows;
  args.position_rows = b.rows;
  args.type_rows = c.rows;
  args.dtype = dtype;
  array got(tokens * channels, dtype), reference(tokens * channels, dtype);
  {
    cuda_context cuda;
    const int64_t off = shift * element;
    const device_array ids(cuda, a.ids, 4 * shift), positions(cuda, b.ids, 4 * shift);
    const device_array types(cuda, c.ids), tokens_table(cuda, a.values, off);
    const device_array positions_table(cuda, b.values, off), types_table(cuda, c.values, off);
    const device_array out(cuda, got.count() * element, off);
    args.ids = ids.data<int32_t>();
    args.token_table = tokens_table.data();
    if (position) {
      args.positions = positions.data<int32_t>();
      args.position_table = positions_table.data();
    }
    if (type) {
      args.types = types.data<int32_t>();
      args.type_table = types_table.data();
    }
    args.out = out.data();
    EXPECT_EQ(GRAFT_OK, graft_embedding_forward(cuda, &args)) << graft_last_error();
    out.download(got);
  }
  context cpu;
  args.ids = a.ids.data();
  args.token_table = a.values.data();
  args.positions = position ? b.ids.data() : nullptr;
  args.position_table = position ? b.values.data() : nullptr;
  args.types = type ? c.ids.data() : nullptr;
  args.type_table = type ? c.values.data() : nullptr;
  args.out = reference.data();
  EXPECT_EQ(GRAFT_OK, graft_embedding_forward(cpu, &args)) << graft_last_error();
  // Two float32 sums, in one order on both.
  EXPECT_EQ(reference.bits(), got.bits());
}

bits backward(const ints& ids, int64_t rows, int64_t channels, int dtype, int64_t shift = 0,
              bool compare = true) {
  const auto tokens = static_cast<int64_t>(ids.size());
  SCOPED_TRACE(testing::Message() << tokens << " ids of " << rows << ", " << channels << " channels, "
                                  << "dtype " << dtype << " shift " << shift);
  numbers random(31);
  const int64_t element = dtype == GRAFT_BFLOAT16 ? 2 : 4;
  const ints order = order_of(ids);
  array dout(random.normals(tokens * channels), dtype);
  array dtable(random.normals(rows * channels), GRAFT_FLOAT32);
  std::vector<double> exact = dtable.values();
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t c = 0; c < channels; ++c)
      exact[static_cast<size_t>(ids[static_cast<size_t>(t)] * channels + c)] += dout[t * channels + c];
  auto args = arguments<graft_embedding_backward_args>();
  args.tokens = tokens;
  args.channels = channels;
  args.rows = rows;
  args.dtype = dtype;
  array got(rows * channels, GRAFT_FLOAT32);
  {
    cuda_context cuda;
    const device_array d_ids(cuda, ids), d_order(cuda, order, 4 * shift);
    const device_array d_dout(cuda, dout, shift * element), d_dtable(cuda, dtable, 4 * shift);
    args.ids = d_ids.data<int32_t>();
    args.order = d_order.data<int32_t>();
    args.dout = d_dout.data();
    args.dtable = d_dtable.data<float>();
    EXPECT_EQ(GRAFT_OK, graft_embedding_backward(cuda, &args)) << graft_last_error();
    d_dtable.download(got);
  }
  if (!compare) return got.bits();
  context cpu;
  args.ids = ids.data();
  args.order = order.data();
  args.dout = dout.data();
  args.dtable = dtable.floats();
  EXPECT_EQ(GRAFT_OK, graft_embedding_backward(cpu, &args)) << graft_last_error();
  expect_within_rule(exact, dtable, got, "dtable");
  return got.bits();
}

// Runs of these lengths, shuffled.
ints with_runs(numbers& random, const std::vector<int>& lengths) {
  ints ids;
  for (size_t id = 0; id < lengths.size(); ++id)
    ids.insert(ids.end(), static_cast<size_t>(lengths[id]), static_cast<int32_t>(id));
  for (size_t i = ids.size(); i > 1; --i) std::swap(ids[i - 1], ids[random.bits() % i]);
  return ids;
}

}  // namespace

TEST(CudaEmbedding, forwardIsTheCpusToTheBit) {
  for (int dtype : float_dtypes())
    for (int64_t channels : {1, 7, 8, 40, 257, 264, 768})
      for (int64_t tokens : {1, 9, 200}) {
        forward(tokens, channels, dtype, false, false);
        forward(tokens, channels, dtype, true, true);
        forward(tokens, channels, dtype, false, true);
      }
}

TEST(CudaEmbedding, forwardAtEveryAlignment) {
  for (int dtype : float_dtypes())
    for (int64_t shift : {1, 2, 3, 4, 8}) forward(5, 24, dtype, true, true, shift);
}

// Lengths around a warp's batch of 32, the block's 8 warps of them, the limit of short runs, and tiles.
TEST(CudaEmbedding, backwardOfRunsOfEveryLength) {
  const std::vector<int> lengths = {1,  0, 2,  31, 32,  33, 63,  64, 65, 127, 128,
                                    129, 1, 255, 256, 257, 300, 1,  7,  600};
  numbers random(3);
  const ints ids = with_runs(random, lengths);
  for (int dtype : float_dtypes())
    for (int64_t channels : {8, 13, 264})
      backward(ids, static_cast<int64_t>(lengths.size()), channels, dtype);
}

// Few rows: narrow strips. 1,500 and more of an id go through all warps several times.
TEST(CudaEmbedding, backwardOfFewIds) {
  numbers random(5);
  for (int dtype : float_dtypes())
    for (int64_t channels : {1, 8, 31, 40, 72}) {
      backward(draw(random, 1100, 2), 2, channels, dtype);
      backward(with_runs(random, {1500, 1, 62, 64, 700}), 5, channels, dtype);
    }
}

TEST(CudaEmbedding, backwardOfManyIds) {
  numbers random(7);
  for (int dtype : float_dtypes()) {
    for (int64_t tokens : {1, 2, 63, 64, 65, 500}) backward(draw(random, tokens, 300), 300, 40, dtype);
    if (full_grid()) backward(draw(random, 8000, 5000), 5000, 768, dtype);
  }
}

TEST(CudaEmbedding, backwardAtEveryAlignment) {
  numbers random(9);
  const ints ids = with_runs(random, {3, 70, 1});
  for (int dtype : float_dtypes())
    for (int64_t shift : {1, 2, 3, 4, 7, 8}) backward(ids, 3, 32, dtype, shift);
}

TEST(CudaEmbedding, sameBitsUnderEveryOrder) {
  GRAFT_SKIP_ON_REAL_CARD();
  numbers random(11);
  const ints many = with_runs(random, {3, 70, 1, 300, 12, 64, 2, 2, 90});
  const ints few = with_runs(random, {400, 900});
  emulation::set_seed(1);
  const bits first = backward(many, 9, 24, GRAFT_FLOAT32, 0, false);
  const bits second = backward(few, 2, 24, GRAFT_FLOAT32, 0, false);
  for (uint64_t seed : {7u, 99u, 31337u}) {
    emulation::set_seed(seed);
    EXPECT_EQ(first, backward(many, 9, 24, GRAFT_FLOAT32, 0, false)) << seed;
    EXPECT_EQ(second, backward(few, 2, 24, GRAFT_FLOAT32, 0, false)) << seed;
  }
}

TEST(CudaEmbedding, noTokens) {
  cuda_context cuda;
  auto f = arguments<graft_embedding_args>();
  f.channels = 8;
  EXPECT_EQ(GRAFT_OK, graft_embedding_forward(cuda, &f)) << graft_last_error();
  auto b = arguments<graft_embedding_backward_args>();
  b.channels = 8;
  EXPECT_EQ(GRAFT_OK, graft_embedding_backward(cuda, &b)) << graft_last_error();
  cuda.synchronize();
}
