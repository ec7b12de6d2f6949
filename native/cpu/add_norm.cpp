// Residual + dropout + LayerNorm (Ba et al. 2016, arXiv:1607.06450, eq. 4) in one pass.
//
//   s = residual + dropout(x);  xhat = (s - mean) rstd;  out = dropout_out(gamma xhat + beta)
//   ds = dsum + rstd (g - mean_c(g) - xhat mean_c(g xhat)),  g = gamma dropout_out'(dout)
//   dresidual = ds;  dx = dropout'(ds);  dgamma += sum_r dout xhat;  dbeta += sum_r dout;
//   dbias += sum_r dx
//
// The variance is the mean of squared differences from the mean, both corrected by the differences'
// own mean (Chan, Golub & LeVeque 1983, eq. 1.7): exact enough at mean / deviation = 10^4 in float32.
// A row is read from memory once; its later readings come from the cache.
//
//   name            dtype  shape   stride  aligned to  in/out
//   x, residual     T      [R, C]  packed  element     in
//   sum             T      [R, C]  packed  element     out (forward; may be residual or x), in
//   out, dout, dsum T      [R, C]  packed  element     out (forward), in (backward)
//   gamma, beta     T      [C]             element     in
//   mean, rstd      f32    [R]             element     out (forward), in (backward)
//   dresidual, dx   T      [R, C]  packed  element     out (backward; may be dsum or dout, dout)
//   dgamma, dbeta, dbias  f32  [C]         element     in/out (backward)
#include "../common/check.h"
#include "keep_mask.h"
#include "lanes.h"
#include "parallel.h"

namespace graft::GRAFT_ISA {
namespace {

template <typename T>
struct forward_arrays {
  const T* x;
  const T* residual;
  T* sum;
  T* out;
  const T* gamma;
  const T* beta;
};


// Writes s as stored in T and returns its sum.
template <bool dropped, typename T>
float add_row(const T* x, const T* residual, T* sum, int64_t channels, const dropout_rule& rule,
              uint32_t row) {
  alignas(64) uint8_t bytes[keep_chunk];
  vf total = zero();
  for (int64_t start = 0; start < channels; start += keep_chunk) {
    const int64_t end = at_most(start + keep_chunk, channels);
    if constexpr (dropped) keep_row(rule.key, start, end, row, 0, 0, bytes);
    for (int64_t span = start; span < end; span += sum_span) {
      vf part = zero();
      for_lanes(span, at_most(span + sum_span, end), [&](int64_t c, auto lanes) GRAFT_INLINE {
        vf s = load(x + c, lanes);
        if constexpr (dropped) s = drop(s, bytes + (c - start), rule.k, rule.scale);
        if (residual != nullptr) s += load(residual + c, lanes);
        s = or_else(rounded_to(s, sum), zero(), lanes);
        if (sum != nullptr) store(sum + c, s, lanes);
        part += s;
      });
      total += part;
    }
  }
  return sum_lanes(total);
}

struct moments {
  float mean;
  float variance;
};

// From a first mean, by the sums of the differences from it and of their squares.
template <typename T>
moments moments_of(const T* s, int64_t channels, float first_mean) {
  const vf m = splat(first_mean);
  vf squares = zero();
  vf differences = zero();
  for (int64_t span = 0; span < channels; span += sum_span) {
    vf span_squares = zero();
    vf span_differences = zero();
    for_lanes(span, at_most(span + sum_span, channels), [&](int64_t c, auto lanes) GRAFT_INLINE {
      const vf d = or_else(load(s + c, lanes) - m, zero(), lanes);
      span_squares = fma(d, d, span_squares);
      span_differences += d;
    });
    squares += span_squares;
    differences += span_differences;
  }
  const auto count = static_cast<float>(channels);
  const float correction = sum_lanes(differences) / count;
  const float variance = sum_lanes(squares) / count - correction * correction;
  // Written so that NaN stays: only what rounding left below 0 becomes 0.
  return {first_mean + correction, variance < 0.0f ? 0.0f : variance};
}

template <bool dropped, bool streaming, typename T>
void scale_row(const T* s, const T* gamma, const T* beta, T* out, int64_t channels, float mean,
               float rstd, const dropout_rule& rule, uint32_t row) {
  alignas(64) uint8_t bytes[keep_chunk];
  const vf m = splat(mean);
  const vf inverse = splat(rstd);
  for (int64_t start = 0; start < channels; start += keep_chunk) {
    const int64_t end = at_most(start + keep_chunk, channels);
    if constexpr (dropped) keep_row(rule.key, start, end, row, 0, 0, bytes);
    for_lanes(start, end, [&](int64_t c, auto lanes) GRAFT_INLINE {
      const vf xhat = (load(s + c, lanes) - m) * inverse;
      vf y = fma(xhat, load(gamma + c, lanes), load(beta + c, lanes));
      if constexpr (dropped) y = drop(y, bytes + (c - start), rule.k, rule.scale);
      put<streaming>(out + c, y, lanes);
    });
  }
}

template <bool dropped, bool out_dropped, bool streaming, typename T>
void forward(const cpu_context& context, const graft_add_norm_args& args,
             const forward_arrays<T>& a) {
  const int64_t channels = args.channels;
  const auto count = static_cast<float>(channels);
  const dropout_rule rule = dropout_of(context, args.dropout, args.op_id);
  const dropout_rule out_rule = dropout_of(context, args.out_dropout, args.out_op_id);
  parallel_ranges(
      context, args.rows, rows_per_block(channels), args.rows * channels,
      [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          const int64_t at = row * channels;
          T* sum = a.sum == nullptr ? nullptr : a.sum + at;
          const T* residual = a.residual == nullptr ? nullptr : a.residual + at;
          const auto counter = static_cast<uint32_t>(row);
          const float total =
              add_row<dropped>(a.x + at, residual, sum, channels, rule, counter);
          const T* s = sum == nullptr ? a.x + at : sum;
          const moments m = moments_of(s, channels, total / count);
          const float rstd = 1.0f / __builtin_sqrtf(m.variance + args.eps);
          args.mean[row] = m.mean;
          args.rstd[row] = rstd;
          scale_row<out_dropped, streaming>(s, a.gamma, a.beta, a.out + at, channels, m.mean, rstd,
                                            out_rule, counter);
        }
        if constexpr (streaming) stream_fence();
      });
}

template <typename T>
struct backward_arrays {
  const T* dout;
  const T* dsum;
  const T* sum;
  const T* gamma;
  T* dresidual;
  T* dx;
};

// What a block of rows keeps in the workspace.
struct backward_scratch {
  float* dgamma;
  float* dbeta;
  float* dbias;
  uint8_t* keep;      // one row's bytes of dropout
  uint8_t* out_keep;  // of out_dropout
};

template <bool dropped, bool out_dropped, bool streaming, typename T>
void backward_row(const backward_arrays<T>& a, int64_t at, int64_t channels, float mean, float rstd,
                  const dropout_rule& rule, const dropout_rule& out_rule,
                  const backward_scratch& scratch) {
  const T* dout = a.dout + at;
  const T* s = a.sum + at;
  const vf m = splat(mean);
  const vf inverse = splat(rstd);
  vf g_sum = zero();
  vf g_xhat_sum = zero();
  for (int64_t span = 0; span < channels; span += sum_span) {
    vf span_g = zero();
    vf span_g_xhat = zero();
    for_lanes(span, at_most(span + sum_span, channels), [&](int64_t c, auto lanes) GRAFT_INLINE {
      vf d = load(dout + c, lanes);
      if constexpr (out_dropped) d = drop(d, scratch.out_keep + c, out_rule.k, out_rule.scale);
      const vf g = d * load(a.gamma + c, lanes);
      span_g += g;
      span_g_xhat = fma(g, (load(s + c, lanes) - m) * inverse, span_g_xhat);
    });
    g_sum += span_g;
    g_xhat_sum += span_g_xhat;
  }
  const auto count = static_cast<float>(channels);
  const vf g_mean = splat(sum_lanes(g_sum) / count);
  const vf g_xhat_mean = splat(sum_lanes(g_xhat_sum) / count);
  for_lanes(0, channels, [&](int64_t c, auto lanes) GRAFT_INLINE {
    vf d = load(dout + c, lanes);
    if constexpr (out_dropped) d = drop(d, scratch.out_keep + c, out_rule.k, out_rule.scale);
    const vf xhat = (load(s + c, lanes) - m) * inverse;
    const vf g = d * load(a.gamma + c, lanes);
    vf ds = (g - fma(xhat, g_xhat_mean, g_mean)) * inverse;
    if (a.dsum != nullptr) ds += load(a.dsum + at + c, lanes);
    vf dx = ds;
    if constexpr (dropped) dx = drop(ds, scratch.keep + c, rule.k, rule.scale);
    if (a.dresidual != nullptr) put<streaming>(a.dresidual + at + c, ds, lanes);
    if (a.dx != nullptr) put<streaming>(a.dx + at + c, dx, lanes);
    store(scratch.dgamma + c, fma(d, xhat, load(scratch.dgamma + c, lanes)), lanes);
    store(scratch.dbeta + c, load(scratch.dbeta + c, lanes) + d, lanes);
    if (scratch.dbias != nullptr)
      store(scratch.dbias + c, load(scratch.dbias + c, lanes) + dx, lanes);
  });
}

// Floats of one of a block's sums, and bytes of all that a block keeps.
int64_t padded_channels(int64_t channels) { return ceil_div(channels, 16) * 16; }
int64_t scratch_bytes(int64_t channels) {
  return 3 * padded_channels(channels) * int64_t{sizeof(float)} + 2 * padded_keep_bytes(channels);
}

template <bool dropped, bool out_dropped, bool streaming, typename T>
void backward(const cpu_context& context, const graft_add_norm_backward_args& args,
              const backward_arrays<T>& a) {
  const int64_t channels = args.channels;
  const int64_t padded = padded_channels(channels);
  const int64_t stride = scratch_bytes(channels);
  const sum_blocks blocks = sum_blocks_of(args.rows);
  const dropout_rule rule = dropout_of(context, args.dropout, args.op_id);
  const dropout_rule out_rule = dropout_of(context, args.out_dropout, args.out_op_id);
  auto* workspace = static_cast<uint8_t*>(args.workspace);
  parallel_ranges(
      context, args.rows, blocks.rows_each, args.rows * channels, [&](int64_t begin, int64_t end) {
        uint8_t* own = workspace + begin / blocks.rows_each * stride;
        auto* sums = reinterpret_cast<float*>(own);
        uint8_t* keep = own + 3 * padded * static_cast<int64_t>(sizeof(float));
        const backward_scratch scratch = {sums, sums + padded,
                                          args.dbias == nullptr ? nullptr : sums + 2 * padded, keep,
                                          keep + padded_keep_bytes(channels)};
        std::memset(sums, 0, static_cast<size_t>(3 * padded) * sizeof(float));
        for (int64_t row = begin; row < end; ++row) {
          const auto counter = static_cast<uint32_t>(row);
          if constexpr (dropped) keep_row(rule.key, 0, channels, counter, 0, 0, scratch.keep);
          if constexpr (out_dropped)
            keep_row(out_rule.key, 0, channels, counter, 0, 0, scratch.out_keep);
          backward_row<dropped, out_dropped, streaming>(a, row * channels, channels,
                                                        args.mean[row], args.rstd[row], rule,
                                                        out_rule, scratch);
        }
        if constexpr (streaming) stream_fence();
      });
  const auto* sums = static_cast<const float*>(args.workspace);
  const int64_t floats = stride / static_cast<int64_t>(sizeof(float));
  float* const outs[3] = {args.dgamma, args.dbeta, args.dbias};
  for (int i = 0; i < 3; ++i)
    if (outs[i] != nullptr)
      add_partial_sums(context, sums + i * padded, floats, blocks.count, channels, outs[i]);
}

template <bool streaming, typename T>
void choose_forward(const cpu_context& context, const graft_add_norm_args& args,
                    const forward_arrays<T>& a) {
  if (args.dropout > 0 && args.out_dropout > 0)
    forward<true, true, streaming>(context, args, a);
  else if (args.dropout > 0)
    forward<true, false, streaming>(context, args, a);
  else if (args.out_dropout > 0)
    forward<false, true, streaming>(context, args, a);
  else
    forward<false, false, streaming>(context, args, a);
}

template <bool streaming, typename T>
void choose_backward(const cpu_context& context, const graft_add_norm_backward_args& args,
                     const backward_arrays<T>& a) {
  if (args.dropout > 0 && args.out_dropout > 0)
    backward<true, true, streaming>(context, args, a);
  else if (args.dropout > 0)
    backward<true, false, streaming>(context, args, a);
  else if (args.out_dropout > 0)
    backward<false, true, streaming>(context, args, a);
  else
    backward<false, false, streaming>(context, args, a);
}

template <typename T>
void launch_forward(const cpu_context& context, const graft_add_norm_args& args) {
  const forward_arrays<T> a = {static_cast<const T*>(args.x),     static_cast<const T*>(args.residual),
                               static_cast<T*>(args.sum),         static_cast<T*>(args.out),
                               static_cast<const T*>(args.gamma), static_cast<const T*>(args.beta)};
  if (is_streamed(a.out, args.rows * args.channels, args.channels))
    choose_forward<true>(context, args, a);
  else
    choose_forward<false>(context, args, a);
}

template <typename T>
void launch_backward(const cpu_context& context, const graft_add_norm_backward_args& args) {
  const backward_arrays<T> a = {static_cast<const T*>(args.dout),  static_cast<const T*>(args.dsum),
                                static_cast<const T*>(args.sum),   static_cast<const T*>(args.gamma),
                                static_cast<T*>(args.dresidual),   static_cast<T*>(args.dx)};
  const int64_t elements = args.rows * args.channels;
  const auto streamed = [&](const T* to) {
    return to == nullptr || (to != a.dsum && to != a.dout && is_streamed(to, elements, args.channels));
  };
  if (streamed(a.dresidual) && streamed(a.dx))
    choose_backward<true>(context, args, a);
  else
    choose_backward<false>(context, args, a);
}

}  // namespace

int add_norm_forward(cpu_context& context, const graft_add_norm_args& args) {
  if (args.dtype == GRAFT_BFLOAT16)
    launch_forward<bf16>(context, args);
  else
    launch_forward<float>(context, args);
  return GRAFT_OK;
}

int add_norm_backward_workspace(const cpu_context&, const graft_add_norm_backward_args& args,
                                int64_t* bytes) {
  const char* op = "add_norm_backward_workspace";
  GRAFT_TRY(check_range(op, "rows", args.rows, 0));
  GRAFT_TRY(check_range(op, "channels", args.channels, 1));
  GRAFT_TRY(check_product(op, "rows x channels", args.rows, args.channels, 4));
  GRAFT_TRY(check_product(op, "channels", args.channels, 20, most_sum_blocks));
  *bytes = sum_blocks_of(args.rows).count * scratch_bytes(args.channels);
  return GRAFT_OK;
}

int add_norm_backward(cpu_context& context, const graft_add_norm_backward_args& args) {
  int64_t bytes = 0;
  GRAFT_TRY(add_norm_backward_workspace(context, args, &bytes));
  GRAFT_TRY(check_workspace("add_norm_backward", args.workspace, args.workspace_bytes, bytes));
  if (args.dtype == GRAFT_BFLOAT16)
    launch_backward<bf16>(context, args);
  else
    launch_backward<float>(context, args);
  return GRAFT_OK;
}

}  // namespace graft::GRAFT_ISA
