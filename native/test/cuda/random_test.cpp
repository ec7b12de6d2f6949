// Draws of the CUDA backend. Oracle: the CPU backend's bits (on hardware one value in some hundred
// million may round the other way, so a real card is held to one ulp).
#include "cuda_support.h"

using namespace graft_test;

namespace {

graft_random_args draws(int kind, int dtype, int64_t count, float a, float b) {
  auto args = arguments<graft_random_args>();
  args.count = count;
  args.seed = 0x123456789ABCDEFu;
  args.stream = 7;
  args.kind = kind;
  args.dtype = dtype;
  args.a = a;
  args.b = b;
  return args;
}

void compare(cuda_context& cuda, graft_random_args args, int64_t shift) {
  SCOPED_TRACE(testing::Message() << "kind " << args.kind << ", dtype " << args.dtype << ", count "
                                  << args.count << ", shift " << shift);
  array expected(args.count, args.dtype), got(args.count, args.dtype);
  context cpu;
  args.out = expected.data();
  ASSERT_EQ(GRAFT_OK, graft_random(cpu, &args)) << graft_last_error();
  device_array out(cuda, got, shift * (args.dtype == GRAFT_BFLOAT16 ? 2 : 4));
  args.out = out.data();
  ASSERT_EQ(GRAFT_OK, graft_random(cuda, &args)) << graft_last_error();
  cuda.synchronize();
  out.download(got);
  if (on_real_card())
    expect_close(expected.values(), got, 0, 1, "draws");
  else
    EXPECT_EQ(expected.bits(), got.bits());
}

}  // namespace

TEST(CudaRandom, theCpusBits) {
  cuda_context cuda;
  for (const int kind : {0, 1})
    for (const int dtype : float_dtypes())
      for (const int64_t shift : {0, 1, 2, 3})
        for (const int64_t count : {0, 1, 2, 3, 4, 5, 7, 1000, 40001})
          compare(cuda, draws(kind, dtype, count, kind == 0 ? 0.5f : -0.5f, 0.75f), shift);
}

TEST(CudaRandom, uniformStaysBelowItsEnd) {
  cuda_context cuda;
  const std::vector<std::pair<float, float>> ends = {
      {1.0f, 1.0f + 0x1p-23f}, {-1.0f - 0x1p-23f, -1.0f}, {-0x1p-149f, 0.0f}, {3.0f, 3.0f}};
  for (const auto& [low, high] : ends) {
    const auto args = draws(1, GRAFT_FLOAT32, 4000, low, high);
    compare(cuda, args, 0);
    device_array out(cuda, 4000 * 4);
    auto own = args;
    own.out = out.data();
    ASSERT_EQ(GRAFT_OK, graft_random(cuda, &own));
    cuda.synchronize();
    array got(4000, GRAFT_FLOAT32);
    out.download(got);
    for (int64_t i = 0; i < got.count(); ++i) {
      ASSERT_GE(got[i], low) << i;
      ASSERT_TRUE(got[i] < high || low == high) << i << ": " << got[i];
    }
  }
}
