// Softmax cross-entropy with the logits' gradient in their place.
//
//   loss_r = (1 - e) w_t (lse - x_t) + e / V sum_v w_v (lse - x_v),      lse = ln sum_v e^x_v
//   dlogits_v = loss_scale (p_v ((1 - e) w_t + e / V W) - (1 - e) w_t [v = t] - e / V w_v)
//
// with p = softmax(x), target t, class weights w (1 without), W their sum and smoothing e; without
// both loss_scale (p_v - [v = t]).
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
//   weights  f32    [V]                 element     in, optional
//   losses   f32    [R]                 element     out, optional
#include <math.h>

#include "../common/check.h"
#include "functions.h"
#include "lanes.h"
#include "loss.h"
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

// sum_v w_v (x_v - centre): a chunk in the lanes, chunks in double. Far from zero the sum of x_v
// itself would lose what tells the logits apart.
template <typename T>
double weighted_sum_of_row(const T* x, const float* weights, int64_t vocabulary, float centre) {
  double total = 0.0;
  for (int64_t begin = 0; begin < vocabulary; begin += chunk) {
    const int64_t end = at_most(begin + chunk, vocabulary);
    vf sum = zero();
    for_lanes(begin, end, [&](int64_t v, auto lanes) GRAFT_INLINE {
      const vf value = or_else(load(x + v, lanes) - splat(centre), zero(), lanes);
      sum += weights == nullptr ? value : value * or_else(load(weights + v, lanes), zero(), lanes);
    });
    total += static_cast<double>(sum_lanes(sum));
  }
  return total;
}

// factor * 2^(L x - shift) - smoothing * w_v in the row's place, and 0 behind it.
template <typename T>
void write_gradient(T* x, const float* weights, int64_t vocabulary, int64_t row_stride,
                    const row_sum& row, float scale, float smoothing) {
  const vf factor = splat(static_cast<float>(scale / row.sum));
  const vf shift = splat(row.shift);
  const vf less = splat(smoothing);
  for_lanes(0, vocabulary, [&](int64_t v, auto lanes) GRAFT_INLINE {
    const vf t = fma(load(x + v, lanes), splat(log2_e), -shift);
    vf gradient = exp2_low<sizeof(T) == 2 ? 4 : 5>(t) * factor;
    if (smoothing != 0.0f)
      gradient -= weights == nullptr ? less : less * load(weights + v, lanes);
    store(x + v, gradient, lanes);
  });
  std::memset(static_cast<void*>(x + vocabulary), 0,
              static_cast<size_t>(row_stride - vocabulary) * sizeof(T));
}

template <typename T>
void run(cpu_context& context, const graft_classifier_args& args) {
  auto* logits = static_cast<T*>(args.logits);
  auto* losses = static_cast<double*>(args.workspace);  // [R], summed in row order afterwards
  const int64_t V = args.vocabulary;
  const int64_t stride = stride_or(args.row_stride, V);
  const double scale = static_cast<double>(context.inputs.loss_scale[args.slot]);
  const bool backward = args.forward_only == 0;
  const float* weights = args.weights;
  double all_weights = static_cast<double>(V);
  if (weights != nullptr) {
    all_weights = 0.0;
    for (int64_t v = 0; v < V; ++v) all_weights += static_cast<double>(weights[v]);
  }
  const auto weight_of = [&](int64_t v) {
    return weights == nullptr ? 1.0 : static_cast<double>(weights[v]);
  };
  const double smoothing = static_cast<double>(args.label_smoothing);
  const double each = smoothing / static_cast<double>(V);
  parallel_for(context, args.rows, args.rows * stride, [&](int64_t r) {
    T* x = logits + r * stride;
    const int32_t target = args.targets[r];
    double loss = 0.0;
    if (target != args.ignore_index) {
      const row_sum row = sum_of_row(x, V);
      const double exponent = static_cast<double>(to_float(x[target])) * log2_e - row.shift;
      const double own = (1.0 - smoothing) * weight_of(target);
      loss = own * (::log2(row.sum) - exponent) * M_LN2;
      if (smoothing != 0.0) {
        const float centre = row.shift / log2_e;
        const double lse = (::log2(row.sum) + static_cast<double>(row.shift)) / log2_e - centre;
        loss += each * (all_weights * lse - weighted_sum_of_row(x, weights, V, centre));
      }
      if (backward) {
        const double factor = scale * (own + each * all_weights);
        write_gradient(x, weights, V, stride, row, static_cast<float>(factor),
                       static_cast<float>(scale * each));
        const double probability = ::exp2(exponent) / row.sum;
        assign(x + target, static_cast<float>(factor * probability - scale * own -
                                              scale * each * weight_of(target)));
      }
    } else if (backward) {
      std::memset(static_cast<void*>(x), 0, static_cast<size_t>(stride) * sizeof(T));
    }
    losses[r] = loss;
    if (args.losses != nullptr) args.losses[r] = static_cast<float>(loss);
  });
  double total = 0.0;
  double weight = 0.0;
  int64_t count = 0;
  for (int64_t r = 0; r < args.rows; ++r) {
    if (args.targets[r] == args.ignore_index) continue;
    total += losses[r];
    weight += weight_of(args.targets[r]);
    ++count;
  }
  add_loss(context, args.slot, total, weight, count);
}

}  // namespace

int classifier_workspace(const cpu_context&, const graft_classifier_args& args, int64_t* bytes) {
  return loss_workspace("classifier_workspace", "rows", args.rows, bytes);
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
  if (args.weights != nullptr)
    for (int64_t v = 0; v < args.vocabulary; ++v)
      GRAFT_TRY(check_weight("classifier", "weights", args.weights[v], v));
  if (args.dtype == GRAFT_BFLOAT16)
    run<bf16>(context, args);
  else
    run<float>(context, args);
  return GRAFT_OK;
}

}  // namespace graft::GRAFT_ISA
