// y = act(x + bias) and its derivative (GELU: Hendrycks & Gimpel, arXiv:1606.08415, section 2).
//
//   tanh form   y = u / (1 + e),  e = exp(-2 z),  z = sqrt(2/pi) (u + 0.044715 u^3)
//               (0.5 u (1 + tanh z) without its cancellation at negative u)
//               y' = s (1 + u (1 - s) 2 z'),  s = 1 / (1 + e),  1 - s = e s
//   erf form    y = 0.5 u (1 + erf(u / sqrt 2)),  y' = y / u + u exp(-u^2 / 2) / sqrt(2 pi)
//   tanh        y' = 1 - y^2
//
// Blocks go down strips of columns, so that a thread's bias and sums stay in registers. Without either
// the array is one long row.
//
//   name   dtype  shape   stride  aligned to  in/out
//   x      T      [R, C]  packed  element     in
//   bias   T      [C]             element     in, optional
//   y      T      [R, C]  packed  element     out (forward), may be x
//   dy     T      [R, C]  packed  element     in (backward)
//   dx     T      [R, C]  packed  element     out (backward), may be dy
//   dbias  f32    [C]             element     in/out (backward), optional: += column sums of dx
#include "../common/check.h"
#include "column_sums.h"
#include "functions.h"

namespace graft::cuda {
namespace {

// Beyond this every activation here is 0, +-1 or u to the last bit, and u^3 cannot overflow.
constexpr float saturation = 30.0f;

constexpr float two_sqrt_2_pi = 1.5957691216f;  // 2 sqrt(2 / pi)
constexpr float cubic = 0.044715f;

template <int activation>
GRAFT_DEVICE float value_at(float u) {
  if constexpr (activation == GRAFT_GELU_TANH) {
    constexpr float linear = -two_sqrt_2_pi * log2_e;
    return u * rcp_approx(1.0f + exp2_approx(u * fma_rn(u * u, linear * cubic, linear)));
  } else if constexpr (activation == GRAFT_GELU_ERF) {
    const float half = 0.5f * u;
    return fma_rn(half, erf_of(u * 0.70710678f), half);
  } else if constexpr (activation == GRAFT_TANH) {
    return tanh_of(u);
  } else {
    return u < 0.0f ? 0.0f : u;  // keeps NaN
  }
}

template <int activation>
GRAFT_DEVICE float slope_at(float u) {
  if constexpr (activation == GRAFT_GELU_TANH) {
    constexpr float linear = -two_sqrt_2_pi * log2_e;
    const float v = clamp(u, saturation);
    // 2^126 at most, so that e s is 1 and not inf * 0.
    const float e = exp2_approx(at_most(126.0f, v * fma_rn(v * v, linear * cubic, linear)));
    const float s = rcp_approx(1.0f + e);
    const float two_dz = fma_rn(v * v, 3.0f * cubic * two_sqrt_2_pi, two_sqrt_2_pi);
    return fma_rn(v * two_dz, e * s * s, s);
  } else if constexpr (activation == GRAFT_GELU_ERF) {
    const float v = clamp(u, saturation);
    const float density = exp2_approx(v * v * (-0.5f * log2_e));
    const float cdf = fma_rn(erf_of(v * 0.70710678f), 0.5f, 0.5f);
    return fma_rn(v * 0.39894228f, density, cdf);
  } else if constexpr (activation == GRAFT_TANH) {
    const float y = tanh_of(u);
    return fma_rn(-y, y, 1.0f);
  } else {
    return u > 0.0f ? 1.0f : 0.0f;
  }
}

template <typename T>
struct arrays {
  const T* x;
  const T* bias;
  T* y;
  const T* dy;
  T* dx;
};

// Rows whose loads are in flight together: 32 KiB or more a multiprocessor. The backward pass would
// spill at 4 blocks of them, 64 registers.
constexpr int rows_at_once = 2;
constexpr int forward_blocks_an_sm = 4;
constexpr int backward_blocks_an_sm = 3;
// ptxas fills more registers on sm_120 and would spill 8 to 24 bytes.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1200
constexpr int blocks_less = 1;
#else
constexpr int blocks_less = 0;
#endif

struct strip_shape {
  int64_t elements, rows, channels, rows_each;
};

// This thread's eight columns of a strip, and its block's rows.
struct strip_place {
  int64_t row, end, last;
  int left, tail;  // of the eight, those inside a row, and inside the array's last row

  __device__ __forceinline__ int inside(int64_t r) const {
    return r >= end ? 0 : r == last ? tail : left;
  }
};
GRAFT_DEVICE int at_most_eight(int64_t n) { return n > 8 ? 8 : static_cast<int>(n < 0 ? 0 : n); }
GRAFT_DEVICE strip_place place_of(const strip_shape& shape, int64_t column) {
  const int64_t begin = blockIdx.y * shape.rows_each, end = begin + shape.rows_each;
  const int64_t left = shape.channels - column, last = shape.rows - 1;
  const int64_t tail = shape.elements - last * shape.channels - column;
  return {begin + warp_id(), end < shape.rows ? end : shape.rows, last, at_most_eight(left),
          at_most_eight(tail)};
}

template <int activation, typename T, bool wide>
__global__ void __launch_bounds__(strip_threads, forward_blocks_an_sm - blocks_less)
    forward(arrays<T> a, strip_shape shape) {
  const int64_t column = int64_t{blockIdx.x} * strip_columns + lane_id() * vector_columns;
  const strip_place at = place_of(shape, column);
  float bias[8] = {};
  if (a.bias != nullptr) load8<wide>(a.bias + column, at.left, bias);
  for (int64_t row = at.row; row < at.end; row += rows_at_once * strip_warps) {
    float u[rows_at_once][8];
    GRAFT_UNROLL
    for (int j = 0; j < rows_at_once; ++j) {
      const int64_t r = row + j * strip_warps;
      load8<wide, reuse::none>(a.x + r * shape.channels + column, at.inside(r), u[j]);
    }
    GRAFT_UNROLL
    for (int j = 0; j < rows_at_once; ++j) {
      const int64_t r = row + j * strip_warps;
      GRAFT_UNROLL
      for (int i = 0; i < 8; ++i) u[j][i] = value_at<activation>(u[j][i] + bias[i]);
      store8<wide>(a.y + r * shape.channels + column, at.inside(r), u[j]);
    }
  }
}

template <int activation, typename T, bool wide>
__global__ void __launch_bounds__(strip_threads, backward_blocks_an_sm - blocks_less)
    backward(arrays<T> a, float* partial, strip_shape shape) {
  const int64_t column = int64_t{blockIdx.x} * strip_columns + lane_id() * vector_columns;
  const strip_place at = place_of(shape, column);
  float bias[8] = {};
  if (a.bias != nullptr) load8<wide>(a.bias + column, at.left, bias);
  float sums[8] = {};
  constexpr int together = wide ? rows_at_once : 1;  // registers
  for (int64_t row = at.row; row < at.end; row += together * strip_warps) {
    float u[together][8], d[together][8];
    GRAFT_UNROLL
    for (int j = 0; j < together; ++j) {
      const int64_t r = row + j * strip_warps;
      load8<wide, reuse::none>(a.x + r * shape.channels + column, at.inside(r), u[j]);
      load8<wide, reuse::none>(a.dy + r * shape.channels + column, at.inside(r), d[j]);
    }
    GRAFT_UNROLL
    for (int j = 0; j < together; ++j) {
      const int64_t r = row + j * strip_warps;
      GRAFT_UNROLL
      for (int i = 0; i < 8; ++i) {
        d[j][i] *= slope_at<activation>(u[j][i] + bias[i]);
        sums[i] += d[j][i];
      }
      store8<wide>(a.dx + r * shape.channels + column, at.inside(r), d[j]);
    }
  }
  if (partial == nullptr) return;
  const int64_t first = int64_t{blockIdx.x} * strip_columns;
  add_warps<strip_warps>(sums, shared_memory<float>(), partial + blockIdx.y * shape.channels + first,
                         shape.channels - first);
}

// run.operator()<activation, T>() for the activation and dtype of the arguments.
template <typename T, typename Run>
cudaError_t choose_activation(int32_t activation, const Run& run) {
  switch (activation) {
    case GRAFT_GELU_TANH: return run.template operator()<GRAFT_GELU_TANH, T>();
    case GRAFT_GELU_ERF: return run.template operator()<GRAFT_GELU_ERF, T>();
    case GRAFT_TANH: return run.template operator()<GRAFT_TANH, T>();
    default: return run.template operator()<GRAFT_RELU, T>();
  }
}
template <typename Run>
cudaError_t choose(const graft_activation_args& args, const Run& run) {
  return args.dtype == GRAFT_BFLOAT16 ? choose_activation<bf16>(args.activation, run)
                                      : choose_activation<float>(args.activation, run);
}

template <typename T>
arrays<T> arrays_of(const graft_activation_args& args) {
  return {static_cast<const T*>(args.x), static_cast<const T*>(args.bias), static_cast<T*>(args.y),
          static_cast<const T*>(args.dy), static_cast<T*>(args.dx)};
}

// Where columns mean nothing (no bias, no sums) rows are as long as a strip.
strip_shape shape_of(const cuda_context& context, int blocks_an_sm,
                     const graft_activation_args& args, bool by_column) {
  const int64_t elements = args.rows * args.channels;
  const int64_t channels = by_column ? args.channels : strip_columns;
  const int64_t rows = by_column ? args.rows : (elements + strip_columns - 1) / strip_columns;
  return {elements, rows, channels, row_ranges_of(context, blocks_an_sm, rows, channels).rows_each};
}

launch_shape launch_of(const cuda_context& context, const strip_shape& shape) {
  const row_ranges ranges = {shape.rows_each, (shape.rows + shape.rows_each - 1) / shape.rows_each};
  return {strip_grid(shape.channels, ranges), strip_threads, strip_shared_bytes, context.stream};
}

int64_t sum_blocks(const cuda_context& context, const graft_activation_args& args) {
  return row_ranges_of(context, backward_blocks_an_sm, args.rows, args.channels).count;
}

}  // namespace

int activation_workspace(const cuda_context& context, const graft_activation_args& args,
                         int64_t* bytes) {
  const char* op = "activation_workspace";
  GRAFT_TRY(check_range(op, "rows", args.rows, 0));
  GRAFT_TRY(check_range(op, "channels", args.channels, 0));
  GRAFT_TRY(check_product(op, "rows x channels", args.rows, args.channels, 4));
  *bytes = args.dbias == nullptr
               ? 0
               : sum_blocks(context, args) * args.channels * int64_t{sizeof(float)};
  return GRAFT_OK;
}

int activation_forward(cuda_context& context, const graft_activation_args& args) {
  if (args.rows == 0) return GRAFT_OK;
  const strip_shape shape = shape_of(context, forward_blocks_an_sm, args, args.bias != nullptr);
  return check(context, "activation_forward", choose(args, [&]<int activation, typename T>() {
                 const arrays<T> a = arrays_of<T>(args);
                 const bool wide = rows_are_wide(shape.rows, shape.channels, a.x, a.bias, a.y);
                 return launch(wide ? forward<activation, T, true> : forward<activation, T, false>,
                               launch_of(context, shape), a, shape);
               }));
}

int activation_backward(cuda_context& context, const graft_activation_args& args) {
  const char* op = "activation_backward";
  int64_t bytes = 0;
  GRAFT_TRY(activation_workspace(context, args, &bytes));
  GRAFT_TRY(check_workspace(op, args.workspace, args.workspace_bytes, bytes));
  if (args.rows == 0) return GRAFT_OK;
  const bool sums = args.dbias != nullptr;
  const strip_shape shape =
      shape_of(context, backward_blocks_an_sm, args, args.bias != nullptr || sums);
  float* partial = sums ? static_cast<float*>(args.workspace) : nullptr;
  GRAFT_TRY(check(context, op, choose(args, [&]<int activation, typename T>() {
                    const arrays<T> a = arrays_of<T>(args);
                    const bool wide =
                        rows_are_wide(shape.rows, shape.channels, a.x, a.bias, a.dy, a.dx);
                    return launch(
                        wide ? backward<activation, T, true> : backward<activation, T, false>,
                        launch_of(context, shape), a, partial, shape);
                  })));
  if (!sums) return GRAFT_OK;
  return join_column_sums(context, op, partial, sum_blocks(context, args), args.channels, 1,
                          {args.dbias, nullptr, nullptr});
}

}  // namespace graft::cuda
