// CUDA add, cast, dropout, gather_rows and scatter_rows. Oracle: the CPU backend, to the bit: each result
// is one rounding of the same float32 operations.
#include "../../cuda/device.h"
#include "cuda_support.h"

using namespace graft_test;

namespace {

int64_t bytes_of(int dtype) { return dtype == GRAFT_BFLOAT16 ? 2 : 4; }

// Around eights, warps and blocks, and more than the grid takes at once.
const std::vector<int64_t>& counts() {
  static const std::vector<int64_t> all = {0, 1, 7, 8, 9, 31, 255, 256, 257, 2049, 100003};
  return all;
}

void add(int64_t count, int dtype, int64_t shift_a, int64_t shift_b, int alias) {
  SCOPED_TRACE(testing::Message() << count << " dtype " << dtype << " shifts " << shift_a << ", "
                                  << shift_b << " alias " << alias);
  numbers random(41);
  const int64_t element = bytes_of(dtype);
  const array a(random.normals(count), dtype), b(random.normals(count), dtype);
  array got(count, dtype), expected(count, dtype);
  auto args = arguments<graft_add_args>();
  args.count = count;
  args.dtype = dtype;
  {
    cuda_context cuda;
    const device_array d_a(cuda, a, shift_a * element), d_b(cuda, b, shift_b * element);
    const device_array d_out(cuda, count * element, shift_a * element);
    const device_array& to = alias == 0 ? d_out : alias == 1 ? d_a : d_b;
    args.a = d_a.data();
    args.b = d_b.data();
    args.out = to.data();
    EXPECT_EQ(GRAFT_OK, graft_add(cuda, &args)) << graft_last_error();
    to.download(got);
  }
  context cpu;
  args.a = a.data();
  args.b = b.data();
  args.out = expected.data();
  EXPECT_EQ(GRAFT_OK, graft_add(cpu, &args)) << graft_last_error();
  EXPECT_EQ(expected.bits(), got.bits());
}

void cast(const std::vector<double>& values, int from, int to, int64_t shift_from,
          int64_t shift_to) {
  const auto count = static_cast<int64_t>(values.size());
  SCOPED_TRACE(testing::Message() << count << " from dtype " << from << " to " << to << " shifts "
                                  << shift_from << ", " << shift_to);
  const array x(values, from);
  array got(count, to), expected(count, to);
  auto args = arguments<graft_cast_args>();
  args.count = count;
  args.from_dtype = from;
  args.to_dtype = to;
  {
    cuda_context cuda;
    const device_array d_x(cuda, x, shift_from * bytes_of(from));
    const device_array d_y(cuda, count * bytes_of(to), shift_to * bytes_of(to));
    args.from = d_x.data();
    args.to = d_y.data();
    EXPECT_EQ(GRAFT_OK, graft_cast(cuda, &args)) << graft_last_error();
    d_y.download(got);
  }
  context cpu;
  args.from = x.data();
  args.to = expected.data();
  EXPECT_EQ(GRAFT_OK, graft_cast(cpu, &args)) << graft_last_error();
  for (int64_t i = 0; i < count; ++i) {
    if (std::isnan(expected[i]))
      ASSERT_TRUE(std::isnan(got[i])) << i;
    else
      ASSERT_EQ(expected[i], got[i]) << i;
  }
}

void dropout(int64_t rows, int64_t channels, int dtype, int k, int64_t shift, bool in_place) {
  SCOPED_TRACE(testing::Message() << rows << "x" << channels << " dtype " << dtype << " k " << k
                                  << " shift " << shift << " in place " << in_place);
  constexpr uint64_t seed = 0xFEDCBA9876ull, step = 4;
  constexpr uint32_t op_id = 13;
  numbers random(43);
  const int64_t count = rows * channels, element = bytes_of(dtype);
  const array x(random.normals(count), dtype);
  array got(count, dtype), expected(count, dtype);
  auto args = arguments<graft_dropout_args>();
  args.rows = rows;
  args.channels = channels;
  args.dropout = k;
  args.op_id = op_id;
  args.dtype = dtype;
  {
    cuda_context cuda;
    cuda.step(seed, step);
    const device_array d_x(cuda, x, shift * element), d_y(cuda, count * element, shift * element);
    const device_array& to = in_place ? d_x : d_y;
    args.x = d_x.data();
    args.y = to.data();
    EXPECT_EQ(GRAFT_OK, graft_dropout(cuda, &args)) << graft_last_error();
    to.download(got);
  }
  context cpu;
  cpu.step(seed, step);
  args.x = x.data();
  args.y = expected.data();
  EXPECT_EQ(GRAFT_OK, graft_dropout(cpu, &args)) << graft_last_error();
  EXPECT_EQ(expected.bits(), got.bits());
  // The tests' own Philox, too.
  const uint64_t key = stream_key(seed, step, op_id);
  for (int64_t i = 0; i < count; ++i) {
    const bool kept = keep_factor(key, k, i / channels, i % channels) != 0;
    ASSERT_EQ(kept && x[i] != 0, got[i] != 0) << i;
  }
}

// The rows [0, source_rows) shuffled, `count` of them, some of them -1.
std::vector<int32_t> index_of(numbers& random, int64_t count, int64_t source_rows, bool distinct) {
  std::vector<int32_t> all(static_cast<size_t>(source_rows));
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int32_t>(i);
  for (size_t i = all.size(); i > 1; --i) std::swap(all[i - 1], all[random.bits() % i]);
  std::vector<int32_t> index;
  for (int64_t n = 0; n < count; ++n) {
    const uint64_t pick = distinct ? static_cast<uint64_t>(n) : random.bits();
    index.push_back(random.bits() % 5 == 0 ? -1 : all[pick % all.size()]);
  }
  return index;
}

void rows(bool gather, int64_t count, int64_t source_rows, int64_t channels, int dtype,
          int64_t shift, bool accumulate) {
  SCOPED_TRACE(testing::Message() << (gather ? "gather " : "scatter ") << count << " of "
                                  << source_rows << ", " << channels << " channels, dtype " << dtype
                                  << " shift " << shift << " accumulate " << accumulate);
  numbers random(47);
  const int64_t in_rows = gather ? source_rows : count, out_rows = gather ? count : source_rows;
  const array in(random.normals(in_rows * channels), dtype);
  array expected(random.normals(out_rows * channels), dtype);
  array got(out_rows * channels, dtype);
  const std::vector<int32_t> index = index_of(random, count, source_rows, !gather);
  auto args = arguments<graft_rows_args>();
  args.count = count;
  args.source_rows = source_rows;
  args.channels = channels;
  args.accumulate = accumulate ? 1 : 0;
  args.dtype = dtype;
  const auto op = gather ? graft_gather_rows : graft_scatter_rows;
  {
    cuda_context cuda;
    const int64_t off = shift * bytes_of(dtype);
    const device_array d_in(cuda, in, off), d_out(cuda, expected, off);
    const device_array d_index(cuda, index, 4 * shift);
    args.in = d_in.data();
    args.out = d_out.data();
    args.index = d_index.data<int32_t>();
    EXPECT_EQ(GRAFT_OK, op(cuda, &args)) << graft_last_error();
    d_out.download(got);
  }
  context cpu;
  args.in = in.data();
  args.out = expected.data();
  args.index = index.data();
  EXPECT_EQ(GRAFT_OK, op(cpu, &args)) << graft_last_error();
  EXPECT_EQ(expected.bits(), got.bits());
}

}  // namespace

TEST(CudaAdd, isTheCpusToTheBit) {
  for (int dtype : float_dtypes()) {
    for (int64_t count : counts()) add(count, dtype, 0, 0, static_cast<int>(count % 3));
    for (int64_t shift : {1, 2, 3, 4, 5, 8}) {
      add(77, dtype, shift, shift, 0);
      add(77, dtype, shift, 0, 1);
    }
  }
}

TEST(CudaCast, isTheCpusToTheBit) {
  numbers random(53);
  for (auto [from, to] : std::vector<std::pair<int, int>>{{GRAFT_FLOAT32, GRAFT_BFLOAT16},
                                                          {GRAFT_BFLOAT16, GRAFT_FLOAT32},
                                                          {GRAFT_FLOAT32, GRAFT_FLOAT32},
                                                          {GRAFT_BFLOAT16, GRAFT_BFLOAT16}}) {
    for (int64_t count : counts()) cast(random.normals(count), from, to, 0, 0);
    for (int64_t shift : {1, 2, 3, 4, 7, 8}) {
      cast(random.normals(50), from, to, shift, 0);
      cast(random.normals(50), from, to, 0, shift);
      cast(random.normals(50), from, to, shift, shift);
    }
    // Ties to even, the largest number, infinities, denormals, NaN.
    cast({1.00390625, 1.01171875, -1.00390625, 3.4028234e38, INFINITY, -INFINITY, 1e-40, -0.0, NAN},
         from, to, 0, 0);
  }
}

TEST(CudaCast, copiesIntegers) {
  cuda_context cuda;
  const std::vector<int32_t> values = {0, -1, INT32_MAX, INT32_MIN, 0x7FC00001};
  const device_array from(cuda, values, 4), to(cuda, 20);
  auto args = arguments<graft_cast_args>();
  args.from = from.data();
  args.to = to.data();
  args.count = 5;
  args.from_dtype = args.to_dtype = GRAFT_INT32;
  ASSERT_EQ(GRAFT_OK, graft_cast(cuda, &args)) << graft_last_error();
  std::vector<int32_t> got(5);
  to.download(got.data());
  EXPECT_EQ(values, got);
}

TEST(CudaDropout, isTheCpusToTheBit) {
  for (int dtype : float_dtypes()) {
    for (int64_t channels : {1, 7, 8, 15, 16, 17, 40, 256, 264, 512, 520, 1032})
      for (int k : {0, 1, 26, 128, 255}) dropout(11, channels, dtype, k, 0, k == 26);
    for (int64_t shift : {1, 2, 4, 8}) dropout(3, 48, dtype, 26, shift, false);
    dropout(400, 24, dtype, 26, 0, false);
    dropout(0, 24, dtype, 26, 0, false);
    dropout(3, 0, dtype, 26, 0, false);
  }
}

TEST(CudaRows, gatherIsTheCpusToTheBit) {
  for (int dtype : float_dtypes()) {
    for (int64_t channels : {1, 7, 8, 9, 40, 264, 520})
      for (int64_t count : {1, 9, 300}) rows(true, count, 37, channels, dtype, 0, false);
    for (int64_t shift : {1, 2, 4, 8}) rows(true, 9, 5, 24, dtype, shift, false);
    rows(true, 0, 5, 8, dtype, 0, false);
    rows(true, 5, 5, 0, dtype, 0, false);
  }
}

TEST(CudaRows, scatterIsTheCpusToTheBit) {
  for (int dtype : float_dtypes())
    for (bool accumulate : {false, true}) {
      for (int64_t channels : {1, 7, 8, 9, 40, 264, 520})
        for (int64_t count : {1, 9, 250}) rows(false, count, 300, channels, dtype, 0, accumulate);
      for (int64_t shift : {1, 2, 4, 8}) rows(false, 5, 9, 24, dtype, shift, accumulate);
      rows(false, 0, 5, 8, dtype, 0, accumulate);
      rows(false, 3, 5, 0, dtype, 0, accumulate);
    }
}

// A float32 on the way would make every NaN the same.
TEST(CudaRows, keepsTheBitsOfNaNs) {
  cuda_context cuda;
  std::vector<uint16_t> values;
  for (uint16_t i = 0; i < 24; ++i) values.push_back(static_cast<uint16_t>(0x7F81 + i));
  const device_array in(cuda, values), out(cuda, 48);
  const device_array index(cuda, std::vector<int32_t>{0});
  auto args = arguments<graft_rows_args>();
  args.in = in.data();
  args.out = out.data();
  args.index = index.data<int32_t>();
  args.count = args.source_rows = 1;
  args.dtype = GRAFT_BFLOAT16;
  for (int64_t channels : {24, 23}) {
    args.channels = channels;
    ASSERT_EQ(GRAFT_OK, graft_gather_rows(cuda, &args)) << graft_last_error();
    std::vector<uint16_t> got(24);
    out.download(got.data());
    got.resize(static_cast<size_t>(channels));
    EXPECT_TRUE(std::equal(got.begin(), got.end(), values.begin())) << channels;
  }
}
