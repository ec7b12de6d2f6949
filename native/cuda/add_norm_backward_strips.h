// add_norm's derivative for rows of any length and addresses of any alignment: one launch for the means
// of each row, one down strips of columns for the rest. It reads dout and sum twice.
#pragma once

#include "column_sums.h"
#include "hidden_dropout.h"
#include "reduce.h"

namespace graft::cuda {

template <typename T>
struct backward_arrays {
  const T* dout;
  const T* dsum;
  const T* sum;
  const T* gamma;
  T* dresidual;
  T* dx;
  float* partial;  // [blocks, 3, C]: dgamma, dbeta, dbias; NULL if none is wanted
  float2* means;   // [R]: of g and of g xhat
};

// ds of eight columns, from dsum in `ds`; adds to the sums of dgamma and dbeta.
GRAFT_DEVICE void add_norm_derivative(const float (&d)[8], const float (&xhat)[8],
                                      const float (&g)[8], float g_mean, float g_xhat_mean,
                                      float rstd, float (&ds)[8], float (&dgamma)[8],
                                      float (&dbeta)[8]) {
  GRAFT_UNROLL
  for (int i = 0; i < 8; ++i) {
    ds[i] = fma_rn(g[i] - fma_rn(xhat[i], g_xhat_mean, g_mean), rstd, ds[i]);
    dgamma[i] = fma_rn(d[i], xhat[i], dgamma[i]);
    dbeta[i] += d[i];
  }
}

// d, xhat and g of eight columns; 0 beyond the row's end.
template <typename T>
GRAFT_DEVICE void read_operands(const backward_arrays<T>& a, const hidden_dropout& out_rule,
                                int64_t row, int64_t channels, int64_t column, float mean,
                                float rstd, float (&d)[8], float (&xhat)[8], float (&g)[8]) {
  const int64_t at = row * channels + column;
  const int64_t left = channels - column;
  float gamma[8];
  load8<false>(a.dout + at, left, d);
  load8<false>(a.sum + at, left, xhat);
  load8<false>(a.gamma + column, left, gamma);
  if (out_rule.k > 0) drop(out_rule, keep_bytes_of(out_rule, row, column), d);
  GRAFT_UNROLL
  for (int i = 0; i < 8; ++i) {
    xhat[i] = i < left ? (xhat[i] - mean) * rstd : 0.0f;
    g[i] = d[i] * gamma[i];
  }
}

constexpr int means_threads = 256;
constexpr int means_blocks_an_sm = 4;

template <typename T>
__global__ void __launch_bounds__(means_threads, means_blocks_an_sm)
    backward_means(backward_arrays<T> a, graft_add_norm_backward_args args, const step_state* step) {
  auto* scratch = shared_memory<float>();
  const hidden_dropout out_rule = dropout_of(step, args.out_dropout, args.out_op_id);
  const auto count = static_cast<float>(args.channels);
  for (int64_t row = blockIdx.x; row < args.rows; row += gridDim.x) {
    const float mean = args.mean[row], rstd = args.rstd[row];
    float g_sum = 0.0f, g_xhat_sum = 0.0f;
    for (int64_t c = int64_t{threadIdx.x} * vector_columns; c < args.channels;
         c += means_threads * vector_columns) {
      float d[8], xhat[8], g[8];
      read_operands(a, out_rule, row, args.channels, c, mean, rstd, d, xhat, g);
      float part = 0.0f, xhat_part = 0.0f;
      GRAFT_UNROLL
      for (int i = 0; i < 8; ++i) {
        part += g[i];
        xhat_part = fma_rn(g[i], xhat[i], xhat_part);
      }
      g_sum += part;
      g_xhat_sum += xhat_part;
    }
    g_sum = block_sum<means_threads>(g_sum, scratch);
    g_xhat_sum = block_sum<means_threads>(g_xhat_sum, scratch);
    if (threadIdx.x == 0) a.means[row] = make_float2(g_sum / count, g_xhat_sum / count);
  }
}

constexpr int strip_blocks_an_sm = 2;

template <typename T>
__global__ void __launch_bounds__(strip_threads, strip_blocks_an_sm)
    backward_strip(backward_arrays<T> a, graft_add_norm_backward_args args, const step_state* step,
                   int64_t rows_each) {
  const int64_t channels = args.channels;
  const int64_t first = int64_t{blockIdx.x} * strip_columns;
  const int64_t column = first + lane_id() * vector_columns;
  const int64_t left = channels - column;
  const int64_t begin = blockIdx.y * rows_each;
  const int64_t end = begin + rows_each < args.rows ? begin + rows_each : args.rows;
  const hidden_dropout rule = dropout_of(step, args.dropout, args.op_id);
  const hidden_dropout out_rule = dropout_of(step, args.out_dropout, args.out_op_id);
  float dgamma[8] = {}, dbeta[8] = {}, dbias[8] = {};
  for (int64_t row = begin + warp_id(); row < end; row += strip_warps) {
    const float rstd = args.rstd[row];
    const float2 means = load(a.means + row);
    const int64_t at = row * channels + column;
    float d[8], xhat[8], g[8], ds[8] = {};
    read_operands(a, out_rule, row, channels, column, args.mean[row], rstd, d, xhat, g);
    if (a.dsum != nullptr) load8<false>(a.dsum + at, left, ds);
    add_norm_derivative(d, xhat, g, means.x, means.y, rstd, ds, dgamma, dbeta);
    if (a.dresidual != nullptr) store8<false>(a.dresidual + at, left, ds);
    if (rule.k > 0) drop(rule, keep_bytes_of(rule, row, column), ds);
    if (a.dx != nullptr) store8<false>(a.dx + at, left, ds);
    GRAFT_UNROLL
    for (int i = 0; i < 8; ++i) dbias[i] += ds[i];
  }
  if (a.partial == nullptr) return;
  auto* shared = shared_memory<float>();
  float* const partial = a.partial + int64_t{blockIdx.y} * 3 * channels + first;
  add_warps<strip_warps>(dgamma, shared, partial, channels - first);
  add_warps<strip_warps>(dbeta, shared, partial + channels, channels - first);
  add_warps<strip_warps>(dbias, shared, partial + 2 * channels, channels - first);
}

}  // namespace graft::cuda
