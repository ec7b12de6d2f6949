// y = act(x + bias) and its derivative (GELU: Hendrycks & Gimpel, arXiv:1606.08415, section 2).
//
//   tanh form   y = u / (1 + e),  e = exp(-2 z),  z = sqrt(2/pi) (u + 0.044715 u^3)
//               (0.5 u (1 + tanh z) without its cancellation at negative u)
//               y' = s (1 + u (1 - s) 2 z'),  s = 1 / (1 + e),  1 - s = e s
//   erf form    y = 0.5 u (1 + erf(u / sqrt 2)),  y' = y / u + u exp(-u^2 / 2) / sqrt(2 pi)
//   tanh        y' = 1 - y^2
//
//   name   dtype  shape   stride  aligned to  in/out
//   x      T      [R, C]  packed  element     in
//   bias   T      [C]             element     in, optional
//   y      T      [R, C]  packed  element     out (forward), may be x
//   dy     T      [R, C]  packed  element     in (backward)
//   dx     T      [R, C]  packed  element     out (backward), may be dy
//   dbias  f32    [C]             element     in/out (backward), optional: += column sums of dx
#include "../common/check.h"
#include "functions.h"
#include "lanes.h"
#include "parallel.h"

namespace graft::GRAFT_ISA {
namespace {

// bfloat16 results need fewer terms of 2^t.
template <typename T>
constexpr int exp2_degree = sizeof(T) == 2 ? 4 : 5;

// Beyond this every activation here is 0, +-1 or u to the last bit, and u^3 cannot overflow.
constexpr float saturation = 30.0f;

constexpr float two_sqrt_2_pi = 1.5957691216f;  // 2 sqrt(2 / pi)
constexpr float cubic = 0.044715f;

struct gelu_tanh {
  static vf exponent(vf u) {
    constexpr float linear = -two_sqrt_2_pi * log2_e;
    return u * fma(u * u, splat(linear * cubic), splat(linear));
  }
  template <typename T>
  static vf value(vf u) {
    return u / (splat(1.0f) + exp2<exp2_degree<T>>(exponent(u)));
  }
  template <typename T>
  static vf slope(vf u) {
    const vf v = clamp(u, saturation);
    // 2^126 at most, so that e s is 1 and not inf * 0.
    const vf e = exp2_low<exp2_degree<T>>(min(splat(126.0f), exponent(v)));
    const vf s = splat(1.0f) / (splat(1.0f) + e);
    const vf two_dz = fma(v * v, splat(3.0f * cubic * two_sqrt_2_pi), splat(two_sqrt_2_pi));
    return fma(v * two_dz, e * s * s, s);
  }
};

struct gelu_erf {
  static vf erf_of(vf u) { return erf(u * splat(0.70710678f)); }
  template <typename T>
  static vf value(vf u) {
    const vf half = u * splat(0.5f);
    return fma(half, erf_of(u), half);
  }
  template <typename T>
  static vf slope(vf u) {
    const vf v = clamp(u, saturation);
    const vf density = exp2_low<exp2_degree<T>>(v * v * splat(-0.5f * log2_e));
    const vf cdf = fma(erf_of(v), splat(0.5f), splat(0.5f));
    return fma(v * splat(0.39894228f), density, cdf);
  }
};

struct hyperbolic_tangent {
  template <typename T>
  static vf value(vf u) {
    return tanh(u);
  }
  template <typename T>
  static vf slope(vf u) {
    const vf y = tanh(u);
    return fma(-y, y, splat(1.0f));
  }
};

struct rectifier {
  template <typename T>
  static vf value(vf u) {
    return u < zero() ? zero() : u;  // keeps NaN
  }
  template <typename T>
  static vf slope(vf u) {
    return u > zero() ? splat(1.0f) : zero();
  }
};

template <typename T>
struct arrays {
  const T* x;
  const T* bias;
  T* y;
  const T* dy;
  T* dx;
};

template <typename Act, bool streaming, typename T>
void forward_row(const T* x, const T* bias, T* y, int64_t begin, int64_t end) {
  for_lanes(begin, end, [&](int64_t c, auto lanes) GRAFT_INLINE {
    vf u = load(x + c, lanes);
    if (bias != nullptr) u += load(bias + c, lanes);
    put<streaming>(y + c, Act::template value<T>(u), lanes);
  });
}

template <typename Act, bool streaming, typename T>
void backward_row(const T* x, const T* bias, const T* dy, T* dx, float* dbias, int64_t begin,
                  int64_t end) {
  for_lanes(begin, end, [&](int64_t c, auto lanes) GRAFT_INLINE {
    vf u = load(x + c, lanes);
    if (bias != nullptr) u += load(bias + c, lanes);
    const vf d = load(dy + c, lanes) * Act::template slope<T>(u);
    put<streaming>(dx + c, d, lanes);
    if (dbias != nullptr) store(dbias + c, load(dbias + c, lanes) + d, lanes);
  });
}

template <typename Act, bool streaming, typename T>
void forward(const cpu_context& context, const arrays<T>& a, int64_t rows, int64_t channels) {
  const int64_t elements = rows * channels;
  if (a.bias == nullptr) {
    parallel_ranges(context, elements, block_elements, elements, [&](int64_t begin, int64_t end) {
      forward_row<Act, streaming>(a.x, a.bias, a.y, begin, end);
      if constexpr (streaming) stream_fence();
    });
    return;
  }
  parallel_ranges(context, rows, rows_per_block(channels), elements,
                  [&](int64_t begin, int64_t end) {
                    for (int64_t row = begin; row < end; ++row)
                      forward_row<Act, streaming>(a.x + row * channels, a.bias,
                                                  a.y + row * channels, 0, channels);
                    if constexpr (streaming) stream_fence();
                  });
}

template <typename Act, bool streaming, typename T>
void backward(const cpu_context& context, const arrays<T>& a, int64_t rows, int64_t channels,
              float* dbias, float* partial) {
  const int64_t elements = rows * channels;
  if (a.bias == nullptr && dbias == nullptr) {
    parallel_ranges(context, elements, block_elements, elements, [&](int64_t begin, int64_t end) {
      backward_row<Act, streaming>(a.x, a.bias, a.dy, a.dx, nullptr, begin, end);
      if constexpr (streaming) stream_fence();
    });
    return;
  }
  const sum_blocks blocks = sum_blocks_of(rows);
  parallel_ranges(context, rows, blocks.rows_each, elements, [&](int64_t begin, int64_t end) {
    float* sums = nullptr;
    if (dbias != nullptr) {
      sums = partial + begin / blocks.rows_each * channels;
      std::memset(sums, 0, static_cast<size_t>(channels) * sizeof(float));
    }
    for (int64_t row = begin; row < end; ++row)
      backward_row<Act, streaming>(a.x + row * channels, a.bias, a.dy + row * channels,
                                   a.dx + row * channels, sums, 0, channels);
    if constexpr (streaming) stream_fence();
  });
  if (dbias != nullptr)
    add_partial_sums(context, partial, channels, blocks.count, channels, dbias);
}

// run.operator()<Act, T>() for the activation and dtype of the arguments.
template <typename T, typename Run>
void choose_activation(int32_t activation, const Run& run) {
  switch (activation) {
    case GRAFT_GELU_TANH: return run.template operator()<gelu_tanh, T>();
    case GRAFT_GELU_ERF: return run.template operator()<gelu_erf, T>();
    case GRAFT_TANH: return run.template operator()<hyperbolic_tangent, T>();
    default: return run.template operator()<rectifier, T>();
  }
}
template <typename Run>
void choose(const graft_activation_args& args, const Run& run) {
  if (args.dtype == GRAFT_BFLOAT16)
    choose_activation<bf16>(args.activation, run);
  else
    choose_activation<float>(args.activation, run);
}

template <typename T>
arrays<T> arrays_of(const graft_activation_args& args) {
  return {static_cast<const T*>(args.x), static_cast<const T*>(args.bias), static_cast<T*>(args.y),
          static_cast<const T*>(args.dy), static_cast<T*>(args.dx)};
}

}  // namespace

int activation_workspace(const cpu_context&, const graft_activation_args& args, int64_t* bytes) {
  const char* op = "activation_workspace";
  GRAFT_TRY(check_range(op, "rows", args.rows, 0));
  GRAFT_TRY(check_range(op, "channels", args.channels, 0));
  GRAFT_TRY(check_product(op, "rows x channels", args.rows, args.channels, 4));
  *bytes = args.dbias == nullptr
               ? 0
               : sum_blocks_of(args.rows).count * args.channels * int64_t{sizeof(float)};
  return GRAFT_OK;
}

int activation_forward(cpu_context& context, const graft_activation_args& args) {
  choose(args, [&]<typename Act, typename T>() {
    const arrays<T> a = arrays_of<T>(args);
    const int64_t row = args.bias == nullptr ? W : args.channels;
    if (a.x != a.y && is_streamed(a.y, args.rows * args.channels, row))
      forward<Act, true>(context, a, args.rows, args.channels);
    else
      forward<Act, false>(context, a, args.rows, args.channels);
  });
  return GRAFT_OK;
}

int activation_backward(cpu_context& context, const graft_activation_args& args) {
  int64_t bytes = 0;
  GRAFT_TRY(activation_workspace(context, args, &bytes));
  GRAFT_TRY(check_workspace("activation_backward", args.workspace, args.workspace_bytes, bytes));
  float* partial = static_cast<float*>(args.workspace);
  choose(args, [&]<typename Act, typename T>() {
    const arrays<T> a = arrays_of<T>(args);
    const int64_t row = args.bias == nullptr && args.dbias == nullptr ? W : args.channels;
    if (a.dy != a.dx && is_streamed(a.dx, args.rows * args.channels, row))
      backward<Act, true>(context, a, args.rows, args.channels, args.dbias, partial);
    else
      backward<Act, false>(context, a, args.rows, args.channels, args.dbias, partial);
  });
  return GRAFT_OK;
}

}  // namespace graft::GRAFT_ISA
