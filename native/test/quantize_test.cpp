// graft_quantize. Oracle: the formats by their definition, the nearest value by search; to the bit.
#include "float8.h"
#include "support.h"

using namespace graft_test;

namespace {

struct quantized {
  std::vector<uint8_t> y, transposed;
  float scale = -1;
};

quantized quantize(const array& x, int64_t rows, int64_t channels, int to, int threads) {
  quantized out;
  const auto count = static_cast<size_t>(rows * channels);
  out.y.assign(count, 0xA5);
  out.transposed.assign(count, 0xA5);
  auto args = arguments<graft_quantize_args>();
  args.x = x.data();
  args.y = out.y.data();
  args.transposed = out.transposed.data();
  args.scale = &out.scale;
  args.rows = rows;
  args.channels = channels;
  args.dtype = x.dtype();
  args.to_dtype = to;
  context c(threads);
  EXPECT_EQ(GRAFT_OK, graft_quantize_workspace(c, &args, &args.workspace_bytes));
  array workspace(args.workspace_bytes / 4, GRAFT_FLOAT32);
  args.workspace = workspace.data();
  EXPECT_EQ(GRAFT_OK, graft_quantize(c, &args)) << graft_last_error();
  return out;
}

void expect_quantized(const array& x, int64_t rows, int64_t channels, int to,
                      const quantized& got) {
  const float8 format(to);
  double largest = 0;
  for (int64_t i = 0; i < rows * channels; ++i) largest = std::max(largest, std::fabs(x[i]));
  const double scale = format.scale(largest);
  ASSERT_EQ(scale, got.scale) << "largest " << largest;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < channels; ++c) {
      const double exact = x[r * channels + c] / scale;
      const int expected = format.nearest(exact);
      ASSERT_EQ(expected, got.y[static_cast<size_t>(r * channels + c)]) << exact;
      ASSERT_EQ(expected, got.transposed[static_cast<size_t>(c * rows + r)]) << exact;
    }
}

}  // namespace

TEST(Quantize, roundsToNearestEven) {
  on_every_isa([] {
    for (int to : {GRAFT_FLOAT8_E4M3, GRAFT_FLOAT8_E5M2})
      for (int dtype : {GRAFT_FLOAT32, GRAFT_BFLOAT16})
        for (auto [rows, channels] : std::vector<std::pair<int64_t, int64_t>>{
                 {1, 1}, {1, 7}, {5, 1}, {64, 64}, {65, 130}, {300, 77}})
          for (int threads : {1, 3}) {
            SCOPED_TRACE(testing::Message() << "to " << to << " dtype " << dtype << " " << rows
                                            << "x" << channels << " threads " << threads);
            numbers random(31);
            const array x(random.normals(rows * channels), dtype, true);
            expect_quantized(x, rows, channels, to, quantize(x, rows, channels, to, threads));
          }
  });
}

// Every value of the format, what lies in the middle of two, and its float32 neighbours; at scales from
// the smallest numbers to the largest.
TEST(Quantize, tiesAndNeighbours) {
  for (int to : {GRAFT_FLOAT8_E4M3, GRAFT_FLOAT8_E5M2}) {
    const float8 format(to);
    for (int shift : {-100, -20, 0, 1, 60, 110}) {
      std::vector<double> values = {format.largest()};
      for (int code = 0; std::isfinite(format.value(static_cast<uint8_t>(code + 1))); ++code) {
        const double low = format.value(static_cast<uint8_t>(code));
        const auto middle =
            static_cast<float>((low + format.value(static_cast<uint8_t>(code + 1))) / 2);
        for (float v : {static_cast<float>(low), middle, std::nextafter(middle, 0.0f),
                        std::nextafter(middle, 1e9f)}) {
          values.push_back(v);
          values.push_back(-v);
        }
        if (code == 122) break;
      }
      for (double& v : values) v = std::ldexp(v, shift);
      const auto count = static_cast<int64_t>(values.size());
      const array x(values, GRAFT_FLOAT32);
      SCOPED_TRACE(testing::Message() << "to " << to << " shift " << shift);
      expect_quantized(x, 1, count, to, quantize(x, 1, count, to, 1));
    }
  }
}

// The scale's edge: 1.75 times a power of two still fits, the next number wants the next power.
TEST(Quantize, scaleIsTheLeastThatFits) {
  for (int to : {GRAFT_FLOAT8_E4M3, GRAFT_FLOAT8_E5M2})
    for (float largest :
         {448.0f, std::nextafter(448.0f, 1e9f), 57344.0f, std::nextafter(57344.0f, 1e9f), 1e-45f,
          1e-38f, 3e38f, std::numeric_limits<float>::max(), 1.0f, 0.0f}) {
      const array x({0.0, largest, -largest / 2}, GRAFT_FLOAT32);
      SCOPED_TRACE(testing::Message() << "to " << to << " largest " << largest);
      expect_quantized(x, 1, 3, to, quantize(x, 1, 3, to, 1));
    }
}

TEST(Quantize, whatIsNotFinite_spoilsAll) {
  for (int to : {GRAFT_FLOAT8_E4M3, GRAFT_FLOAT8_E5M2})
    for (double bad : {std::numeric_limits<double>::quiet_NaN(),
                       std::numeric_limits<double>::infinity(),
                       -std::numeric_limits<double>::infinity()}) {
      const quantized got = quantize(array({1.0, bad, 0.0, 2.0}, GRAFT_BFLOAT16), 2, 2, to, 1);
      EXPECT_TRUE(std::isnan(got.scale));
      EXPECT_EQ(std::vector<uint8_t>(4, 0x7F), got.y);
      EXPECT_EQ(std::vector<uint8_t>(4, 0x7F), got.transposed);
    }
}

TEST(Quantize, refusesWhatDoesNotFit) {
  context c;
  float x = 1, scale = 0;
  alignas(64) uint32_t workspace = 0;
  auto args = arguments<graft_quantize_args>();
  args.x = &x;
  args.scale = &scale;
  args.rows = args.channels = 1;
  args.to_dtype = GRAFT_BFLOAT16;
  expect_error(GRAFT_INVALID_DTYPE, graft_quantize(c, &args), {"to_dtype", "E4M3", "1"});
  args.to_dtype = GRAFT_FLOAT8_E4M3;
  args.dtype = GRAFT_FLOAT8_E4M3;
  expect_error(GRAFT_INVALID_DTYPE, graft_quantize(c, &args), {"dtype", "3"});
  args.dtype = GRAFT_FLOAT32;
  expect_error(GRAFT_INVALID_SHAPE, graft_quantize(c, &args), {"workspace"});
  args.workspace = &workspace;
  args.workspace_bytes = sizeof workspace;
  EXPECT_EQ(GRAFT_OK, graft_quantize(c, &args)) << graft_last_error();  // the scale alone
  EXPECT_EQ(1.0f / 256, scale);
  args.scale = nullptr;
  expect_error(GRAFT_INVALID_ARGUMENT, graft_quantize(c, &args), {"scale"});
  args.scale = &scale;
  args.rows = 0;
  EXPECT_EQ(GRAFT_OK, graft_quantize(c, &args));
  EXPECT_EQ(1.0f, scale);
}
