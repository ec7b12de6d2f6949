// Softmax cross-entropy with the logits' gradient in their place.
//
//   loss_r = ln sum_v e^x_v - x_target;   dlogits_v = loss_scale (e^x_v / sum - [v = target])
//
// Powers of two throughout: 2^(L x - M) with L = log2 e in float32 and M = L max x rounded once. The
// rounding of M is the same in every term and in the loss, so it cancels. Sum and maximum are found in
// one reading (Milakov & Gimelshein 2018, arXiv:1805.02867, algorithm 3, a chunk at a time); the
// second reading, which writes the gradient, finds the row in the second-level cache.
// A row of -inf only, a +inf or a NaN gives NaN for its loss and gradient, as IEEE arithmetic does.
//
//   name     dtype  shape   stride      aligned to  in/out
//   logits   T      [R, V]  row_stride  element     in/out (in only with forward_only)
//   targets  i32    [R]                 element     in
//   losses   f32    [R]                 element     out, optional
#include <math.h>

#include "../common/check.h"
#include "functions.h"
#include "lanes.h"
#include "parallel.h"

namespace graft::GRAFT_ISA {
namespace {

constexpr int64_t chunk = 1024;  // elements read twice from the first-level cache

// sum_v 2^(L x_v - shift).
struct row_sum {
  float shift;
  double sum;
};

template <typename T>
row_sum sum_of_row(const T* x, int64_t vocabulary) {
  float largest = -INFINITY;
  row_sum row = {0.0f, 0.0};
  for (int64_t begin = 0; begin < vocabulary; begin += chunk) {
    const int64_t end = at_most(begin + chunk, vocabulary);
    vf top = splat(-INFINITY);
    for_lanes(begin, end, [&](int64_t v, auto lanes) GRAFT_INLINE {
      top = max(or_else(load(x + v, lanes), splat(-INFINITY), lanes), top);
    });
    const float chunk_top = max_lanes(top);
    if (chunk_top > largest) {
      largest = chunk_top;
      const float shift = largest * log2_e;
      if (row.sum != 0.0) row.sum *= ::exp2(static_cast<double>(row.shift) - shift);
      row.shift = shift;
    }
    const vf shift = splat(row.shift);
    vf sum = zero();
    for_lanes(begin, end, [&](int64_t v, auto lanes) GRAFT_INLINE {
      const vf t = fma(load(x + v, lanes), splat(log2_e), -shift);
      sum += or_else(exp2_low<5>(t), zero(), lanes);
    });
    row.sum += static_cast<double>(sum_lanes(sum));
  }
  return row;
}

template <typename T>
void write_gradient(T* x, int64_t vocabulary, int64_t row_stride, const row_sum& row, float scale) {
  const vf factor = splat(static_cast<float>(scale / row.sum));
  const vf shift = splat(row.shift);
  for_lanes(0, vocabulary, [&](int64_t v, auto lanes) GRAFT_INLINE {
    const vf t = fma(load(x + v, lanes), splat(log2_e), -shift);
    store(x + v, exp2_low<sizeof(T) == 2 ? 4 : 5>(t) * factor, lanes);
  });
  std::memset(static_cast<void*>(x + vocabulary), 0,
              static_cast<size_t>(row_stride - vocabulary) * sizeof(T));
}

template <typename T>
void run(cpu_context& context, const graft_classifier_args& args) {
  auto* logits = static_cast<T*>(args.logits);
  auto* losses = static_cast<double*>(args.workspace);  // [R], summed in row order afterwards
  const int64_t stride = stride_or(args.row_stride, args.vocabulary);
  const float scale = context.inputs.loss_scale[args.slot];
  const bool backward = args.forward_only == 0;
  parallel_for(context, args.rows, args.rows * stride, [&](int64_t r) {
    T* x = logits + r * stride;
    const int32_t target = args.targets[r];
    double loss = 0.0;
    if (target != args.ignore_index) {
      const row_sum row = sum_of_row(x, args.vocabulary);
      const double exponent = static_cast<double>(to_float(x[target])) * log2_e - row.shift;
      loss = (::log2(row.sum) - exponent) * M_LN2;
      if (backward) {
        write_gradient(x, args.vocabulary, stride, row, scale);
        const double probability = ::exp2(exponent) / row.sum;
        assign(x + target, static_cast<float>(scale * (probability - 1.0)));
      }
    } else if (backward) {
      std::memset(static_cast<void*>(x), 0, static_cast<size_t>(stride) * sizeof(T));
    }
    losses[r] = loss;
    if (args.losses != nullptr) args.losses[r] = static_cast<float>(loss);
  });
  double total = 0.0;
  int64_t count = 0;
  for (int64_t r = 0; r < args.rows; ++r) {
    if (args.targets[r] == args.ignore_index) continue;
    total += losses[r];
    ++count;
  }
  context.results.loss_sum[args.slot] += total;
  context.results.loss_count[args.slot] += count;
}

}  // namespace

int classifier_workspace(const cpu_context&, const graft_classifier_args& args, int64_t* bytes) {
  const char* op = "classifier_workspace";
  GRAFT_TRY(check_range(op, "rows", args.rows, 0, INT64_MAX / 8));
  *bytes = args.rows * int64_t{sizeof(double)};
  return GRAFT_OK;
}

int classifier(cpu_context& context, const graft_classifier_args& args) {
  int64_t bytes = 0;
  GRAFT_TRY(classifier_workspace(context, args, &bytes));
  GRAFT_TRY(check_workspace("classifier", args.workspace, args.workspace_bytes, bytes));
  for (int64_t r = 0; r < args.rows; ++r) {
    const int32_t target = args.targets[r];
    if (target == args.ignore_index || (target >= 0 && target < args.vocabulary)) continue;
    return fail(GRAFT_INVALID_SHAPE, "classifier: targets: expected 0..%lld or %d, got %d in row %lld",
                static_cast<long long>(args.vocabulary - 1), args.ignore_index, target,
                static_cast<long long>(r));
  }
  if (args.dtype == GRAFT_BFLOAT16)
    run<bf16>(context, args);
  else
    run<float>(context, args);
  return GRAFT_OK;
}

}  // namespace graft::GRAFT_ISA
