// Residual + dropout + LayerNorm (Ba et al. 2016, arXiv:1607.06450, eq. 4) in one pass.
//
//   s = residual + dropout(x);  out = dropout_out(gamma (s - mean) rstd + beta)
//
// A row lives in the registers of a warp (up to 1,024 columns) or of a block (up to 8,192): one read
// and one write of memory. Longer rows, and those whose columns or addresses are not whole 128-bit
// words, are read again, from the caches. The variance is the mean of squared differences from the
// mean, both corrected by the differences' own mean (Chan, Golub & LeVeque 1983, eq. 1.7); both are of
// s as stored.
//
//   name         dtype  shape   stride  aligned to  in/out
//   x, residual  T      [R, C]  packed  element     in
//   sum          T      [R, C]  packed  element     out; may be residual or x
//   out          T      [R, C]  packed  element     out
//   gamma, beta  T      [C]             element     in
//   mean, rstd   f32    [R]             element     out
#include "hidden_dropout.h"
#include "row_teams.h"

namespace graft::cuda {
namespace {

template <typename T>
struct forward_arrays {
  const T* x;
  const T* residual;
  T* sum;
  T* out;
  const T* gamma;
  const T* beta;
  float* mean;
  float* rstd;
};

struct moments {
  float mean;
  float rstd;
};

// From a first mean and the sums of the differences from it and of their squares.
GRAFT_DEVICE moments moments_of(float first_mean, float differences, float squares, float count,
                                float eps) {
  const float correction = differences / count;
  const float variance = squares / count - correction * correction;
  // Written so that NaN stays: only what rounding left below 0 becomes 0.
  return {first_mean + correction, 1.0f / sqrt_exact((variance < 0.0f ? 0.0f : variance) + eps)};
}

// By pairs: eight in a chain would round in one direction where dropout repeats a number.
GRAFT_DEVICE float sum8(const float (&x)[8]) {
  return ((x[0] + x[1]) + (x[2] + x[3])) + ((x[4] + x[5]) + (x[6] + x[7]));
}

// Adds the sums of the first `count` differences from the mean and of their squares.
GRAFT_DEVICE void add_differences(const float (&x)[8], int64_t count, float mean,
                                  float (&sums)[2]) {
  float d[8], square[8];
  GRAFT_UNROLL
  for (int i = 0; i < 8; ++i) {
    d[i] = i < count ? x[i] - mean : 0.0f;
    square[i] = d[i] * d[i];
  }
  sums[0] += sum8(d);
  sums[1] += sum8(square);
}

GRAFT_DEVICE void normalise(const moments& m, const float (&gamma)[8], const float (&beta)[8],
                            float (&x)[8]) {
  GRAFT_UNROLL
  for (int i = 0; i < 8; ++i) x[i] = fma_rn((x[i] - m.mean) * m.rstd, gamma[i], beta[i]);
}

// A multiprocessor's registers leave a thread 64 at 32 warps, 96 at 20; s takes 8 a vector. (24 warps,
// 80 registers, would do for three vectors on sm_80 and sm_90a, but spill on sm_100 and sm_120.)
template <typename Team>
constexpr int forward_blocks_an_sm = (Team::vectors <= 2 ? 32 : 20) / Team::block_warps;

template <typename T, typename Team>
__global__ void __launch_bounds__(Team::block_threads, forward_blocks_an_sm<Team>)
    forward_in_registers(forward_arrays<T> a, graft_add_norm_args args, const step_state* step) {
  constexpr int vectors = Team::vectors;
  auto* scratch = shared_memory<float>();
  const int channels = static_cast<int>(args.channels);
  const auto count = static_cast<float>(channels);
  const hidden_dropout rule = dropout_of(step, args.dropout, args.op_id);
  const hidden_dropout out_rule = dropout_of(step, args.out_dropout, args.out_op_id);
  const auto inside = [channels](int n) { return Team::column(n) < channels; };

  for (int64_t row = Team::first_row(); row < args.rows; row += Team::row_step()) {
    const int64_t at = row * channels;
    float s[vectors][8] = {};
    GRAFT_UNROLL
    for (int n = 0; n < vectors; ++n)
      if (inside(n)) unpack(load_packed<reuse::none>(a.x + at + Team::column(n)), s[n]);
    if (rule.k > 0) drop_row<Team>(rule, row, s);
    float total[1] = {0.0f};
    GRAFT_UNROLL
    for (int n = 0; n < vectors; ++n) {
      if (!inside(n)) continue;
      const int c = Team::column(n);
      if (a.residual != nullptr) {
        float residual[8];
        unpack(load_packed<reuse::none>(a.residual + at + c), residual);
        GRAFT_UNROLL
        for (int i = 0; i < 8; ++i) s[n][i] += residual[i];
      }
      const packed8<T> stored = pack<T>(s[n]);
      if (a.sum != nullptr) store_packed(a.sum + at + c, stored);
      unpack(stored, s[n]);
      total[0] += sum8(s[n]);
    }
    Team::sum(total, scratch);

    const float first_mean = total[0] / count;
    float sums[2] = {0.0f, 0.0f};
    GRAFT_UNROLL
    for (int n = 0; n < vectors; ++n)
      if (inside(n)) add_differences(s[n], 8, first_mean, sums);
    Team::sum(sums, scratch);
    const moments m = moments_of(first_mean, sums[0], sums[1], count, args.eps);
    if (Team::column(0) == 0) {
      a.mean[row] = m.mean;
      a.rstd[row] = m.rstd;
    }

    GRAFT_UNROLL
    for (int n = 0; n < vectors; ++n) {
      if (!inside(n)) continue;
      float gamma[8], beta[8];
      unpack(load_packed<reuse::soon>(a.gamma + Team::column(n)), gamma);
      unpack(load_packed<reuse::soon>(a.beta + Team::column(n)), beta);
      normalise(m, gamma, beta, s[n]);
    }
    if (out_rule.k > 0) drop_row<Team>(out_rule, row, s);
    GRAFT_UNROLL
    for (int n = 0; n < vectors; ++n)
      if (inside(n)) store_packed(a.out + at + Team::column(n), pack<T>(s[n]));
  }
}

constexpr int long_row_threads = 256;
constexpr int long_row_blocks_an_sm = 4;

// Any row, by a block. What is read again is what the same thread wrote.
template <typename T>
__global__ void __launch_bounds__(long_row_threads, long_row_blocks_an_sm)
    forward_by_rereading(forward_arrays<T> a, graft_add_norm_args args, const step_state* step) {
  auto* scratch = shared_memory<float>();
  const int64_t channels = args.channels;
  const auto count = static_cast<float>(channels);
  const hidden_dropout rule = dropout_of(step, args.dropout, args.op_id);
  const hidden_dropout out_rule = dropout_of(step, args.out_dropout, args.out_op_id);
  const int64_t first = int64_t{threadIdx.x} * vector_columns;
  constexpr int64_t column_step = long_row_threads * vector_columns;

  for (int64_t row = blockIdx.x; row < args.rows; row += gridDim.x) {
    const int64_t at = row * channels;
    const T* s_row = a.sum == nullptr ? a.x + at : a.sum + at;
    float total = 0.0f;
    for (int64_t c = first; c < channels; c += column_step) {
      const int64_t left = channels - c;
      float s[8];
      load8<false>(a.x + at + c, left, s);  // 0 beyond the end, and so it stays
      if (rule.k > 0) drop(rule, keep_bytes_of(rule, row, c), s);
      if (a.residual != nullptr) {
        float residual[8];
        load8<false>(a.residual + at + c, left, residual);
        GRAFT_UNROLL
        for (int i = 0; i < 8; ++i) s[i] += residual[i];
      }
      unpack(pack<T>(s), s);
      if (a.sum != nullptr) store8<false>(a.sum + at + c, left, s);
      total += sum8(s);
    }
    const float first_mean = block_sum<long_row_threads>(total, scratch) / count;

    float sums[2] = {0.0f, 0.0f};
    for (int64_t c = first; c < channels; c += column_step) {
      float s[8];
      load8<false>(s_row + c, channels - c, s);
      add_differences(s, channels - c, first_mean, sums);
    }
    const float differences = block_sum<long_row_threads>(sums[0], scratch);
    const float squares = block_sum<long_row_threads>(sums[1], scratch);
    const moments m = moments_of(first_mean, differences, squares, count, args.eps);
    if (threadIdx.x == 0) {
      a.mean[row] = m.mean;
      a.rstd[row] = m.rstd;
    }

    for (int64_t c = first; c < channels; c += column_step) {
      const int64_t left = channels - c;
      float x[8], gamma[8], beta[8];
      load8<false>(s_row + c, left, x);
      load8<false>(a.gamma + c, left, gamma);
      load8<false>(a.beta + c, left, beta);
      normalise(m, gamma, beta, x);
      if (out_rule.k > 0) drop(out_rule, keep_bytes_of(out_rule, row, c), x);
      store8<false>(a.out + at + c, left, x);
    }
  }
}

template <typename T>
cudaError_t launch_forward(const cuda_context& context, const graft_add_norm_args& args) {
  const forward_arrays<T> a = {static_cast<const T*>(args.x),
                               static_cast<const T*>(args.residual),
                               static_cast<T*>(args.sum),
                               static_cast<T*>(args.out),
                               static_cast<const T*>(args.gamma),
                               static_cast<const T*>(args.beta),
                               args.mean,
                               args.rstd};
  cudaError_t status = cudaSuccess;
  const auto in_registers = [&]<int warps, int vectors>() {
    using team = row_team<warps, vectors, warps == 1 ? 4 : warps>;
    const int64_t blocks =
        team_blocks<team>(context.multiprocessors, forward_blocks_an_sm<team>, 1, args.rows);
    status = launch(forward_in_registers<T, team>,
                    {dim3(static_cast<unsigned>(blocks)), team::block_threads,
                     warps * sizeof(float), context.stream},
                    a, args, context.step);
  };
  if (args.channels % vector_columns == 0 &&
      rows_are_wide(args.rows, args.channels, a.x, a.residual, a.sum, a.out, a.gamma, a.beta) &&
      with_team(args.channels, most_team_channels, in_registers))
    return status;
  const int64_t most = int64_t{long_row_blocks_an_sm} * context.multiprocessors;
  return launch(forward_by_rereading<T>,
                {dim3(static_cast<unsigned>(args.rows < most ? args.rows : most)), long_row_threads,
                 long_row_threads / warp_size * sizeof(float), context.stream},
                a, args, context.step);
}

}  // namespace

int add_norm_forward(cuda_context& context, const graft_add_norm_args& args) {
  if (args.rows == 0) return GRAFT_OK;
  return check(context, "add_norm_forward",
               args.dtype == GRAFT_BFLOAT16 ? launch_forward<bf16>(context, args)
                                            : launch_forward<float>(context, args));
}

}  // namespace graft::cuda
