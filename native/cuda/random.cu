// Normal and uniform draws by Philox counters (graft.h, "random numbers"); the normal of a pair of
// words is Box & Muller's (Ann. Math. Statist. 29, 1958), in double. Rounded to float32, a value
// differs from the CPU's only where the two doubles, some units in their last place apart, lie on
// different sides of a tie: once in some hundred million.
//
// A thread makes the four values of a counter and writes them at once where `out` is aligned to
// that.
//
//   name  dtype  shape    aligned to  in/out
//   out   T      [count]  element     out
#include <algorithm>

#include "../common/check.h"
#include "context.h"
#include "philox.h"
#include "row_chunks.h"

namespace graft::cuda {
namespace {

constexpr int threads = 256;
constexpr double two_to_minus_24 = 0x1p-24;
constexpr double two_pi = 6.28318530717958647692;

template <typename T>
struct random_params {
  T* out;
  int64_t count;
  uint64_t seed;
  uint32_t stream;
  bool uniform;
  float a, b;
};

// The largest float32 below b.
GRAFT_DEVICE float before(float b) {
  const uint32_t bits = bits_from_float(b);
  if (b == 0.0f) return float_from_bits(0x80000001u);
  return float_from_bits(b > 0.0f ? bits - 1 : bits + 1);
}

GRAFT_DEVICE void draw_uniform(const philox_words& words, float a, float b, float (&values)[4]) {
  const double low = a, width = static_cast<double>(b) - low;
  GRAFT_UNROLL
  for (int i = 0; i < 4; ++i) {
    const float x = static_cast<float>(fma_rn(width, (words.w[i] >> 8) * two_to_minus_24, low));
    // Rounding may reach the open end; the interval stays half open in float32.
    values[i] = x >= b && b > a ? before(b) : x;
  }
}

GRAFT_DEVICE void draw_normal(const philox_words& words, float a, float b, float (&values)[4]) {
  const double mean = a, deviation = b;
  GRAFT_UNROLL
  for (int i = 0; i < 4; i += 2) {
    const double r =
        sqrt_exact(-2.0 * natural_log(((words.w[i] >> 8) + 1.0) * two_to_minus_24));
    double sine, cosine;
    sine_cosine(two_pi * ((words.w[i + 1] >> 8) * two_to_minus_24), sine, cosine);
    values[i] = static_cast<float>(fma_rn(deviation, r * cosine, mean));
    values[i + 1] = static_cast<float>(fma_rn(deviation, r * sine, mean));
  }
}

GRAFT_DEVICE void store_four(float* to, const float (&x)[4]) {
  store(reinterpret_cast<float4*>(to), make_float4(x[0], x[1], x[2], x[3]));
}
GRAFT_DEVICE void store_four(uint16_t* to, const float (&x)[4]) {
  store(reinterpret_cast<uint2*>(to), make_uint2(bf16x2_of(x[0], x[1]), bf16x2_of(x[2], x[3])));
}

template <typename T>
__global__ void __launch_bounds__(threads) random_kernel(random_params<T> p) {
  const uint64_t key = stream_key(p.seed, 0, p.stream);
  const bool aligned = reinterpret_cast<uintptr_t>(p.out) % (4 * sizeof(T)) == 0;
  for (int64_t counter = int64_t{blockIdx.x} * threads + threadIdx.x; counter * 4 < p.count;
       counter += int64_t{gridDim.x} * threads) {
    const philox_words words = philox(key, static_cast<uint32_t>(counter),
                                      static_cast<uint32_t>(counter >> 32), 0, 0);
    float values[4];
    if (p.uniform)
      draw_uniform(words, p.a, p.b, values);
    else
      draw_normal(words, p.a, p.b, values);
    const int64_t e = counter * 4;
    if (aligned && p.count - e >= 4) {
      store_four(p.out + e, values);
    } else {
      GRAFT_UNROLL
      for (int i = 0; i < 4; ++i)
        if (e + i < p.count) assign(p.out + e + i, values[i]);
    }
  }
}

template <typename T>
cudaError_t launch_random(const cuda_context& context, const graft_random_args& args) {
  const random_params<T> p = {static_cast<T*>(args.out), args.count, args.seed, args.stream,
                              args.kind == 1,            args.a,     args.b};
  const int64_t wanted = (args.count + 4 * threads - 1) / (4 * threads);
  const int64_t most = 8 * context.multiprocessors;
  return launch(random_kernel<T>,
                {dim3(static_cast<unsigned>(std::min(wanted, most))), threads, 0, context.stream},
                p);
}

}  // namespace

int random(cuda_context& context, const graft_random_args& args) {
  if (args.count == 0) return GRAFT_OK;
  return check(context, "random",
               args.dtype == GRAFT_BFLOAT16 ? launch_random<uint16_t>(context, args)
                                            : launch_random<float>(context, args));
}

}  // namespace graft::cuda
