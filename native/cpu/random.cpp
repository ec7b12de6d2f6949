// Normal and uniform draws by Philox counters (graft.h, "random numbers"); the normal of a pair of
// words is Box & Muller's (Ann. Math. Statist. 29, 1958), in double.
//
//   name  dtype  shape    aligned to  in/out
//   out   T      [count]  element     out
#include <math.h>

#include "parallel.h"
#include "philox.h"
#include "simd.h"

namespace graft::GRAFT_ISA {
namespace {

constexpr double two_to_minus_24 = 0x1p-24;

// The four values of one counter.
void draw(uint64_t key, uint64_t counter, const graft_random_args& args, float* values) {
  const philox_words words = philox(key, static_cast<uint32_t>(counter),
                                    static_cast<uint32_t>(counter >> 32), 0, 0);
  const double a = args.a;
  const double b = args.b;
  if (args.kind == 1) {
    for (int i = 0; i < 4; ++i) {
      const double u = (words.w[i] >> 8) * two_to_minus_24;
      float x = static_cast<float>(a + (b - a) * u);
      // Rounding may reach the open end; the interval stays half open in float32.
      if (x >= args.b && args.b > args.a) x = ::nextafterf(args.b, args.a);
      values[i] = x;
    }
    return;
  }
  for (int i = 0; i < 4; i += 2) {
    const double r = ::sqrt(-2.0 * ::log(((words.w[i] >> 8) + 1.0) * two_to_minus_24));
    const double phi = 2.0 * M_PI * ((words.w[i + 1] >> 8) * two_to_minus_24);
    values[i] = static_cast<float>(a + b * (r * ::cos(phi)));
    values[i + 1] = static_cast<float>(a + b * (r * ::sin(phi)));
  }
}

template <typename T>
void fill(const cpu_context& context, const graft_random_args& args) {
  auto* out = static_cast<T*>(args.out);
  const uint64_t key = stream_key(args.seed, 0, args.stream);
  // A draw costs tens of nanoseconds, so small blocks pay already.
  parallel_ranges(context, args.count, 4096, args.count * 16, [&](int64_t begin, int64_t end) {
    float values[4];
    for (int64_t e = begin; e < end; e += 4) {
      draw(key, static_cast<uint64_t>(e) / 4, args, values);
      for (int64_t i = 0; i < 4 && e + i < end; ++i) assign(out + e + i, values[i]);
    }
  });
}

}  // namespace

int random(cpu_context& context, const graft_random_args& args) {
  if (args.dtype == GRAFT_BFLOAT16)
    fill<bf16>(context, args);
  else
    fill<float>(context, args);
  return GRAFT_OK;
}

}  // namespace graft::GRAFT_ISA
