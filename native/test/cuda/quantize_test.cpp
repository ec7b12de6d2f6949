// CUDA quantize. Oracle: the CPU backend, to the bit: both scale exactly and round once.
#include "cuda_support.h"

using namespace graft_test;

namespace {

struct shape {
  int64_t rows, channels;
};

void quantize(shape size, int dtype, int to, int64_t shift, bool plain, bool transposed,
              const std::vector<double>& values) {
  SCOPED_TRACE(testing::Message() << size.rows << "x" << size.channels << " dtype " << dtype
                                  << " to " << to << " shift " << shift << " y " << plain
                                  << " transposed " << transposed);
  const int64_t count = size.rows * size.channels;
  const array x(values, dtype);
  std::vector<uint8_t> y(static_cast<size_t>(count)), t(y), expected_y(y), expected_t(y);
  float scale = -1, expected_scale = -2;
  auto args = arguments<graft_quantize_args>();
  args.rows = size.rows;
  args.channels = size.channels;
  args.dtype = dtype;
  args.to_dtype = to;
  {
    cuda_context cuda;
    ASSERT_EQ(GRAFT_OK, graft_quantize_workspace(cuda, &args, &args.workspace_bytes));
    const device_array d_x(cuda, x, shift * (dtype == GRAFT_BFLOAT16 ? 2 : 4));
    const device_array d_y(cuda, count, shift), d_t(cuda, count, shift);
    const device_array d_scale(cuda, 4), workspace(cuda, args.workspace_bytes);
    args.x = d_x.data();
    args.y = plain ? d_y.data() : nullptr;
    args.transposed = transposed ? d_t.data() : nullptr;
    args.scale = d_scale.data<float>();
    args.workspace = workspace.data();
    ASSERT_EQ(GRAFT_OK, graft_quantize(cuda, &args)) << graft_last_error();
    d_scale.download(&scale);
    if (plain) d_y.download(y.data());
    if (transposed) d_t.download(t.data());
  }
  context cpu;
  ASSERT_EQ(GRAFT_OK, graft_quantize_workspace(cpu, &args, &args.workspace_bytes));
  array workspace(args.workspace_bytes / 4, GRAFT_FLOAT32);
  args.x = x.data();
  args.y = plain ? expected_y.data() : nullptr;
  args.transposed = transposed ? expected_t.data() : nullptr;
  args.scale = &expected_scale;
  args.workspace = workspace.data();
  ASSERT_EQ(GRAFT_OK, graft_quantize(cpu, &args)) << graft_last_error();
  EXPECT_TRUE(scale == expected_scale || (std::isnan(scale) && std::isnan(expected_scale)))
      << scale << " " << expected_scale;
  EXPECT_EQ(expected_y, y);
  EXPECT_EQ(expected_t, t);
}

std::vector<double> normals(shape size) {
  numbers random(53);
  return random.normals(size.rows * size.channels);
}

}  // namespace

TEST(CudaQuantize, equalsTheCpu) {
  std::vector<shape> shapes = {{0, 5},   {5, 0},    {1, 1},     {1, 8},     {3, 7},
                               {4, 130}, {128, 16}, {129, 136}, {130, 131}, {260, 264}};
  if (full_grid()) shapes.insert(shapes.end(), {{1024, 768}, {1000, 3072}, {4096, 333}});
  for (shape size : shapes)
    for (int dtype : {GRAFT_FLOAT32, GRAFT_BFLOAT16})
      for (int to : {GRAFT_FLOAT8_E4M3, GRAFT_FLOAT8_E5M2})
        quantize(size, dtype, to, 0, true, true, normals(size));
}

TEST(CudaQuantize, everyAlignment) {
  const shape size = {36, 40};
  for (int64_t shift = 0; shift < 8; ++shift)
    for (int dtype : {GRAFT_FLOAT32, GRAFT_BFLOAT16})
      quantize(size, dtype, GRAFT_FLOAT8_E4M3, shift, true, true, normals(size));
}

TEST(CudaQuantize, eitherLayoutAlone) {
  const shape size = {70, 48};
  quantize(size, GRAFT_BFLOAT16, GRAFT_FLOAT8_E5M2, 0, true, false, normals(size));
  quantize(size, GRAFT_BFLOAT16, GRAFT_FLOAT8_E5M2, 0, false, true, normals(size));
  quantize(size, GRAFT_BFLOAT16, GRAFT_FLOAT8_E5M2, 0, false, false, normals(size));
}

// The largest is the last of all elements: of the last block, or the only one that counts.
TEST(CudaQuantize, largestAnywhere_zeros_andWhatIsNotFinite) {
  const shape size = {50, 61};
  const auto last = static_cast<size_t>(size.rows * size.channels - 1);
  for (double value : {0.0, 1e-40, 1e30, -3e38, std::numeric_limits<double>::infinity(),
                       std::numeric_limits<double>::quiet_NaN()})
    for (int to : {GRAFT_FLOAT8_E4M3, GRAFT_FLOAT8_E5M2}) {
      std::vector<double> values(last + 1, 0.0);
      values[last] = value;
      values[1] = value / 16;
      quantize(size, GRAFT_FLOAT32, to, 0, true, true, values);
    }
}
