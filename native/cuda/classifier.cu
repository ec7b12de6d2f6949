// Softmax cross-entropy with the logits' gradient in their place.
//
//   loss_r = (1 - e) w_t (lse - x_t) + e / V sum_v w_v (lse - x_v),      lse = ln sum_v e^x_v
//   dlogits_v = loss_scale (p_v ((1 - e) w_t + e / V W) - (1 - e) w_t [v = t] - e / V w_v)
//
// with p = softmax(x), target t, class weights w (1 without), W their sum and smoothing e (Szegedy
// et al., arXiv:1512.00567, section 7). Powers of two: 2^(L x - M) with L = log2 e and M = L max x
// rounded once, as on the CPU; maximum and sum in one reading (Milakov & Gimelshein 2018,
// arXiv:1805.02867), each thread with a maximum of its own.
//
// A block takes rows r, r + grid, ... . The row lies in shared memory: it is read once and written
// once. Each thread owns the same slots of every row, so it asks for its part of the next row as
// soon as it has written that slot's gradient, and one barrier a row is enough. Rows that do not
// fit are read twice; rows of up to warp_row_elements have a warp each.
// A row of -inf only, a +inf, a NaN or a target outside of the vocabulary gives NaN.
//
//   name     dtype  shape   stride      aligned to  in/out
//   logits   T      [R, V]  row_stride  element     in/out (in only with forward_only)
//   targets  i32    [R]                 element     in
//   weights  f32    [V]                 element     in, optional
//   losses   f32    [R]                 element     out, optional
//   workspace: f64 [R]
#include <cmath>

#include "loss.h"
#include "row_chunks.h"

namespace graft::cuda {
namespace {

constexpr int block_threads = 512;
constexpr int blocks_per_multiprocessor = 2;
constexpr int warp_rows = 8;  // rows at a time of a block whose warps have a row each
constexpr int64_t warp_row_elements = 1024;
constexpr int groups = 4;  // asynchronous copies of a row are waited for in this many steps

constexpr float log2_e = 1.44269504f;
constexpr double ln_2 = 0.69314718055994530942;

template <typename T>
struct classifier_params {
  T* logits;
  const int32_t* targets;
  const float* weights;
  float* losses;
  double* row_losses;
  step_state* step;
  int64_t rows, row_stride;
  int vocabulary;
  int group_chunks;  // a multiple of block_threads
  int ignore_index;
  int slot;
  bool backward;
  double smoothing;
};

// sum of 2^(L x - shift); a shift of -inf: of nothing but -inf so far.
struct power_sum {
  float shift, sum;
};

struct alignas(16) shared_state {
  power_sum warps[2][block_threads / warp_size];  // in turns, so that one barrier a row is enough
  loss_scratch scratch;
};

GRAFT_DEVICE bool is_minus_infinity(float x) { return bits_from_float(x) == 0xFF800000u; }

GRAFT_DEVICE float rescale(float from, float to) {
  return from == to ? 1.0f : exp2_approx(from - to);
}

template <int n>
GRAFT_DEVICE void add(power_sum& total, const float (&x)[n]) {
  float top = x[0];
  GRAFT_UNROLL
  for (int i = 1; i < n; ++i) top = maximum(top, x[i]);
  const float shift = mul_rn(top, log2_e);
  if (shift > total.shift) {
    total.sum *= exp2_approx(total.shift - shift);
    total.shift = shift;
  }
  const float less = is_minus_infinity(total.shift) ? 0.0f : -total.shift;
  float sum = 0.0f;
  GRAFT_UNROLL
  for (int i = 0; i < n; ++i) sum += exp2_approx(fma_rn(x[i], log2_e, less));
  total.sum += sum;
}

// The sum over the threads of a row, the same bits in each.
template <int row_threads>
GRAFT_DEVICE power_sum join(const power_sum& own, power_sum* warps) {
  power_sum total = own;
  GRAFT_UNROLL
  for (int step = warp_size / 2; step > 0; step /= 2)
    total.shift = maximum(total.shift, shuffle_xor(total.shift, step));
  total.sum = warp_sum(total.sum * rescale(own.shift, total.shift));
  if constexpr (row_threads > warp_size) {
    if (lane_id() == 0) warps[warp_id()] = total;
    sync_threads();
    total = warps[0];
    GRAFT_UNROLL
    for (int w = 1; w < row_threads / warp_size; ++w)
      total.shift = maximum(total.shift, warps[w].shift);
    total.sum = 0.0f;
    GRAFT_UNROLL
    for (int w = 0; w < row_threads / warp_size; ++w)
      total.sum = fma_rn(warps[w].sum, rescale(warps[w].shift, total.shift), total.sum);
  }
  return total;
}

template <int row_threads>
GRAFT_DEVICE double sum_over_row(double x, loss_scratch* scratch) {
  if constexpr (row_threads == warp_size)
    return warp_sum(x);
  else
    return block_sum<row_threads>(x, scratch->warps);
}

// What a thread needs of a row before it is written over, asked for while the row before is
// written.
struct row_start {
  int target;
  float edge;          // this thread's edge element
  float target_logit;  // in the last thread, which has the fewest chunks and so makes the loss
};

template <typename T, int row_threads, bool resident, bool smoothed>
struct row_worker {
  static constexpr int n = chunk_elements<T>;

  const classifier_params<T>& p;
  shared_state* shared;
  uint4* slots;  // [chunks], each thread's own
  int self;
  float loss_scale;
  double all_weights;

  __device__ __forceinline__ T* row(int64_t r) const { return p.logits + r * p.row_stride; }
  __device__ __forceinline__ bool counts(int target) const { return target != p.ignore_index; }
  __device__ __forceinline__ bool is_class(int target) const {
    return static_cast<unsigned>(target) < static_cast<unsigned>(p.vocabulary);
  }
  // NaN for what is no class: it reaches the loss and the whole row's gradient.
  __device__ __forceinline__ float weight_of(int target) const {
    if (!is_class(target)) return float_from_bits(0x7FC00000u);
    return p.weights == nullptr ? 1.0f : load_readonly(p.weights + target);
  }

  __device__ __forceinline__ row_start start(int64_t r) const {
    row_start s = {p.ignore_index, 0.0f, 0.0f};
    if (r >= p.rows) return s;
    s.target = load_readonly(p.targets + r);
    if (!counts(s.target)) return s;
    const T* x = row(r);
    const int place = edge_of(chunks_of(x, p.vocabulary), self, p.vocabulary);
    if (place >= 0) s.edge = value_of(x[place]);
    if (self == row_threads - 1 && is_class(s.target)) s.target_logit = value_of(x[s.target]);
    return s;
  }

  __device__ __forceinline__ void copy_group(int64_t r, int target, int group) const {
    if constexpr (!resident) return;
    if (r < p.rows && counts(target)) {
      const T* x = row(r);
      const row_chunks c = chunks_of(x, p.vocabulary);
      const auto* from = reinterpret_cast<const uint4*>(x + c.head);
      const int end = group_end(c, group);
      for (int i = group * p.group_chunks + self; i < end; i += row_threads)
        copy_async<16>(slots + i, from + i);
    }
    copy_async_commit();
  }
  __device__ __forceinline__ int group_end(const row_chunks& c, int group) const {
    const int end = (group + 1) * p.group_chunks;
    return end < c.chunks ? end : c.chunks;
  }

  // use(i, chunk) of this thread's chunks in [begin, end). Straight from memory two loads are under
  // way at a time; from shared memory one after the other is fast enough.
  template <typename Use>
  __device__ __forceinline__ void for_chunks(const T* first, int begin, int end,
                                             const Use& use) const {
    if constexpr (resident) {
      for (int i = begin + self; i < end; i += row_threads) use(i, slots[i]);
    } else {
      const auto* from = reinterpret_cast<const uint4*>(first);
      int i = begin + self;
      for (; i + row_threads < end; i += 2 * row_threads) {
        const uint4 one = load(from + i), two = load(from + i + row_threads);
        use(i, one);
        use(i + row_threads, two);
      }
      if (i < end) use(i, load(from + i));
    }
  }

  template <int group>
  __device__ __forceinline__ void sum_group(const T* x, const row_chunks& c, power_sum& own) const {
    if constexpr (resident) copy_async_wait<groups - 1 - group>();
    for_chunks(x + c.head, resident ? group * p.group_chunks : 0,
               resident ? group_end(c, group) : c.chunks, [&](int, const uint4& chunk) {
                 float values[n];
                 unpack(chunk, values);
                 add(own, values);
               });
    if constexpr (resident && group + 1 < groups) sum_group<group + 1>(x, c, own);
  }

  __device__ __forceinline__ power_sum sum(int64_t r, const row_start& s, int turn) const {
    const T* x = row(r);
    const row_chunks c = chunks_of(x, p.vocabulary);
    power_sum own = {float_from_bits(0xFF800000u), 0.0f};
    sum_group<0>(x, c, own);
    const float edge[1] = {s.edge};
    if (edge_of(c, self, p.vocabulary) >= 0) add(own, edge);
    return join<row_threads>(own, shared->warps[turn]);
  }

  // sum_v w_v (x_v - centre): far from zero the sum of x_v itself would lose what tells the logits
  // apart.
  __device__ __forceinline__ double weighted_sum(int64_t r, const row_start& s,
                                                 float centre) const {
    const T* x = row(r);
    const row_chunks c = chunks_of(x, p.vocabulary);
    const auto term = [&](int v, float value) {
      return (p.weights == nullptr ? 1.0f : load_readonly(p.weights + v)) * (value - centre);
    };
    double total = 0.0;
    for_chunks(x + c.head, 0, c.chunks, [&](int i, const uint4& chunk) {
      float values[n];
      unpack(chunk, values);
      float sum = 0.0f;
      GRAFT_UNROLL
      for (int k = 0; k < n; ++k) sum += term(c.head + i * n + k, values[k]);
      total += static_cast<double>(sum);
    });
    const int edge = edge_of(c, self, p.vocabulary);
    if (edge >= 0) total += static_cast<double>(term(edge, s.edge));
    return sum_over_row<row_threads>(total, &shared->scratch);
  }

  // The gradient but for the target's element, which finish() writes; and the next row's copies.
  __device__ __forceinline__ void write(int64_t r, const row_start& s, const power_sum& total,
                                        int64_t next_r, int next_target) const {
    if (p.backward) {
      if (counts(s.target))
        write_gradient(r, s, total, next_r, next_target);
      else
        write_zeros(r, next_r, next_target);
      T* x = row(r);
      for (int64_t v = p.vocabulary + self; v < p.row_stride; v += row_threads)
        assign(x + v, 0.0f);
    } else {
      GRAFT_UNROLL
      for (int group = 0; group < groups; ++group) copy_group(next_r, next_target, group);
    }
  }
  __device__ __forceinline__ void write_gradient(int64_t r, const row_start& s,
                                                 const power_sum& total, int64_t next_r,
                                                 int next_target) const {
    T* x = row(r);
    const row_chunks c = chunks_of(x, p.vocabulary);
    const auto each = static_cast<float>(p.smoothing / p.vocabulary);
    float share = weight_of(s.target);
    if constexpr (smoothed)
      share =
          static_cast<float>(1.0 - p.smoothing) * share + each * static_cast<float>(all_weights);
    const float factor = loss_scale * share / total.sum;
    const auto gradient = [&](int v, float value) {
      float g = exp2_approx(fma_rn(value, log2_e, -total.shift)) * factor;
      if constexpr (smoothed)
        g -= loss_scale * each * (p.weights == nullptr ? 1.0f : load_readonly(p.weights + v));
      return g;
    };
    const auto write_chunk = [&](int i, const uint4& chunk) {
      float values[n];
      unpack(chunk, values);
      const int first = c.head + i * n;
      GRAFT_UNROLL
      for (int k = 0; k < n; ++k) values[k] = gradient(first + k, values[k]);
      if (static_cast<unsigned>(s.target - first) < static_cast<unsigned>(n)) {
        GRAFT_UNROLL
        for (int k = 0; k < n; ++k)
          if (first + k != s.target) assign(x + first + k, values[k]);
      } else {
        store(reinterpret_cast<uint4*>(x + first), pack(values));
      }
    };
    if constexpr (resident) {
      for (int group = 0; group < groups; ++group) {
        for_chunks(x + c.head, group * p.group_chunks, group_end(c, group), write_chunk);
        copy_group(next_r, next_target, group);
      }
    } else {
      for_chunks(x + c.head, 0, c.chunks, write_chunk);
    }
    const int edge = edge_of(c, self, p.vocabulary);
    if (edge >= 0 && edge != s.target) assign(x + edge, gradient(edge, s.edge));
  }
  __device__ __forceinline__ void write_zeros(int64_t r, int64_t next_r, int next_target) const {
    T* x = row(r);
    const row_chunks c = chunks_of(x, p.vocabulary);
    for (int i = self; i < c.chunks; i += row_threads)
      store(reinterpret_cast<uint4*>(x + c.head) + i, make_uint4(0, 0, 0, 0));
    const int edge = edge_of(c, self, p.vocabulary);
    if (edge >= 0) assign(x + edge, 0.0f);
    for (int group = 0; group < groups; ++group) copy_group(next_r, next_target, group);
  }

  // One thread's work, in double: p - 1 cancels where the model is sure.
  __device__ __forceinline__ void finish(int64_t r, const row_start& s, const power_sum& total,
                                         float centre, double weighted) const {
    double loss = 0.0;
    if (counts(s.target)) {
      const double sum = total.sum;
      const double log_sum = natural_log(sum);
      const double exponent = static_cast<double>(s.target_logit) * log2_e - total.shift;
      const double each = p.smoothing / p.vocabulary;
      const double weight = weight_of(s.target);
      const double own = (1.0 - p.smoothing) * weight;
      loss = own * (log_sum - exponent * ln_2);
      if constexpr (smoothed) {
        const double lse = (log_sum / ln_2 + total.shift) / log2_e - centre;
        loss += each * (all_weights * lse - weighted);
      }
      if (p.backward && is_class(s.target)) {
        const double probability = exponential(exponent * ln_2) / sum;
        const double gradient = (own + each * all_weights) * probability - own - each * weight;
        assign(row(r) + s.target, static_cast<float>(loss_scale * gradient));
      }
    }
    p.row_losses[r] = loss;
    if (p.losses != nullptr) p.losses[r] = static_cast<float>(loss);
  }
};

template <typename T, int row_threads, bool resident, bool smoothed>
__global__ void __launch_bounds__(row_threads == warp_size ? warp_rows * warp_size : row_threads,
                                  blocks_per_multiprocessor)
    classifier_kernel(classifier_params<T> p) {
  constexpr bool warp_each = row_threads == warp_size;
  constexpr int threads = warp_each ? warp_rows * warp_size : row_threads;
  auto* shared = shared_memory<shared_state>();
  row_worker<T, row_threads, resident, smoothed> worker = {
      p,
      shared,
      reinterpret_cast<uint4*>(shared + 1),
      static_cast<int>(threadIdx.x) % row_threads,
      p.step->inputs.loss_scale[p.slot],
      static_cast<double>(p.vocabulary)};
  if (smoothed && p.weights != nullptr) {
    double sum = 0.0;
    for (int v = worker.self; v < p.vocabulary; v += row_threads)
      sum += static_cast<double>(load_readonly(p.weights + v));
    worker.all_weights = sum_over_row<row_threads>(sum, &shared->scratch);
  }

  const int64_t step = int64_t{gridDim.x} * (warp_each ? warp_rows : 1);
  int64_t r = warp_each ? int64_t{blockIdx.x} * warp_rows + warp_id() : blockIdx.x;
  row_start next = worker.start(r);
  for (int group = 0; group < groups; ++group) worker.copy_group(r, next.target, group);
  for (int turn = 0; r < p.rows; r += step) {
    const row_start now = next;
    power_sum total = {};
    float centre = 0.0f;
    double weighted = 0.0;
    if (worker.counts(now.target)) {
      total = worker.sum(r, now, turn);
      turn ^= 1;
      if constexpr (smoothed) {
        centre = total.shift / log2_e;
        weighted = worker.weighted_sum(r, now, centre);
      }
    }
    next = worker.start(r + step);
    worker.write(r, now, total, r + step, next.target);
    if (worker.self == row_threads - 1) worker.finish(r, now, total, centre, weighted);
  }
  add_losses<threads>(p.step, p.slot, p.rows, &shared->scratch, [&](int64_t i) -> loss_part {
    const int target = load_readonly(p.targets + i);
    if (!worker.counts(target)) return {0.0, 0.0, 0};
    return {load_l2(p.row_losses + i), static_cast<double>(worker.weight_of(target)), 1};
  });
}

template <typename T, bool smoothed>
cudaError_t launch_classifier(const cuda_context& context, const graft_classifier_args& args) {
  const int64_t chunks = args.vocabulary / chunk_elements<T>;
  classifier_params<T> p = {};
  p.logits = static_cast<T*>(args.logits);
  p.targets = args.targets;
  p.weights = args.weights;
  p.losses = args.losses;
  p.row_losses = static_cast<double*>(args.workspace);
  p.step = context.step;
  p.rows = args.rows;
  p.row_stride = stride_or(args.row_stride, args.vocabulary);
  p.vocabulary = static_cast<int>(args.vocabulary);
  p.group_chunks =
      static_cast<int>((chunks + groups * block_threads - 1) / (groups * block_threads)) *
      block_threads;
  p.ignore_index = args.ignore_index;
  p.slot = args.slot;
  p.backward = args.forward_only == 0;
  p.smoothing = static_cast<double>(args.label_smoothing);

  const auto blocks = [&](int64_t wanted, int64_t each) {
    const int64_t most = context.multiprocessors * each;
    return dim3(static_cast<unsigned>(wanted < most ? wanted : most));
  };
  if (args.vocabulary <= warp_row_elements)
    return launch(classifier_kernel<T, warp_size, false, smoothed>,
                  {blocks((args.rows + warp_rows - 1) / warp_rows, 8), warp_rows * warp_size,
                   sizeof(shared_state), context.stream},
                  p);
  const int64_t row_bytes = static_cast<int64_t>(sizeof(shared_state)) + 16 * chunks;
  if (row_bytes > context.shared_bytes)
    return launch(classifier_kernel<T, block_threads, false, smoothed>,
                  {blocks(args.rows, blocks_per_multiprocessor), block_threads,
                   sizeof(shared_state), context.stream},
                  p);
  // A multiprocessor has 1 KiB more than a block may take, and takes 1 KiB of each for itself.
  constexpr int64_t reserved = 1024;
  const int64_t fit = (context.shared_bytes + reserved) / (row_bytes + reserved);
  return launch(
      classifier_kernel<T, block_threads, true, smoothed>,
      {blocks(args.rows, fit < blocks_per_multiprocessor ? fit : blocks_per_multiprocessor),
       block_threads, static_cast<size_t>(row_bytes), context.stream},
      p);
}

template <typename T>
cudaError_t launch_classifier(const cuda_context& context, const graft_classifier_args& args) {
  return args.label_smoothing != 0.0f ? launch_classifier<T, true>(context, args)
                                      : launch_classifier<T, false>(context, args);
}

}  // namespace

int classifier_workspace(const cuda_context&, const graft_classifier_args& args, int64_t* bytes) {
  return loss_workspace("classifier_workspace", "rows", args.rows, sizeof(double), bytes);
}

int classifier(cuda_context& context, const graft_classifier_args& args) {
  const char* op = "classifier";
  int64_t bytes = 0;
  GRAFT_TRY(classifier_workspace(context, args, &bytes));
  GRAFT_TRY(check_workspace(op, args.workspace, args.workspace_bytes, bytes));
  if (args.rows == 0) return GRAFT_OK;
  return check(context, op,
               args.dtype == GRAFT_BFLOAT16 ? launch_classifier<uint16_t>(context, args)
                                            : launch_classifier<float>(context, args));
}

}  // namespace graft::cuda
