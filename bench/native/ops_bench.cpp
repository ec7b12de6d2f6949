// GB/s of the memory-bound kernels beside a copy on the same machine, threads and array sizes.
//   ops_bench [threads] [name part]
// Bytes are what an op must move (each input read once, each output written once). The copy is
// memcpy in equal parts a thread, counted the same way (one read, one write).
#include <omp.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "graft/graft.h"

namespace {

graft_context* context;
double copy_rate = 0;
std::string wanted;

void check(int status) {
  if (status == GRAFT_OK) return;
  std::fprintf(stderr, "%s\n", graft_last_error());
  std::exit(1);
}

void* allocate(int64_t bytes) {
  void* address = nullptr;
  check(graft_malloc(context, bytes, &address));
  return address;
}

// Floats or bfloat16s in about N(0, 1).
void* filled(int64_t count, int dtype) {
  void* array = allocate(count * (dtype == GRAFT_BFLOAT16 ? 2 : 4));
  graft_random_args args{};
  args.struct_size = sizeof args;
  args.out = array;
  args.count = count;
  args.seed = 1;
  args.b = 1;
  args.dtype = dtype;
  check(graft_random(context, &args));
  return array;
}

// Best of runs that last 0.4 s together, 5 at least.
double seconds(const std::function<void()>& body) {
  using clock = std::chrono::steady_clock;
  body();
  double best = 1e30, total = 0;
  for (int i = 0; i < 5 || total < 0.4; ++i) {
    const auto start = clock::now();
    body();
    const double took = std::chrono::duration<double>(clock::now() - start).count();
    best = std::min(best, took);
    total += took;
  }
  return best;
}

void report(const char* name, int dtype, double bytes, const std::function<void()>& body) {
  const std::string title = std::string(name) + (dtype == GRAFT_BFLOAT16 ? " bf16" : " fp32");
  if (title.find(wanted) == std::string::npos) return;
  const double rate = bytes / seconds(body) * 1e-9;
  std::printf("%-36s %7.1f GB/s  %4.0f %% of copy\n", title.c_str(), rate, 100 * rate / copy_rate);
}

template <typename Args>
Args arguments() {
  Args args{};
  args.struct_size = sizeof args;
  return args;
}

template <typename Args, typename Query>
void give_workspace(Args& args, Query query) {
  int64_t bytes = 0;
  check(query(context, &args, &bytes));
  args.workspace = bytes ? allocate(bytes) : nullptr;
  args.workspace_bytes = bytes;
}

void copy(int threads) {
  const int64_t bytes = int64_t{128} << 20;
  auto* from = static_cast<char*>(allocate(bytes));
  auto* to = static_cast<char*>(allocate(bytes));
  std::memset(from, 1, static_cast<size_t>(bytes));
  const auto part = static_cast<size_t>(bytes / threads);
  copy_rate = 2.0 * static_cast<double>(bytes) * 1e-9 / seconds([&] {
#pragma omp parallel num_threads(threads)
    {
      const size_t at = part * static_cast<size_t>(omp_get_thread_num());
      std::memcpy(to + at, from + at, part);
    }
  });
  std::printf("%-36s %7.1f GB/s\n", "copy", copy_rate);
  graft_free(context, from);
  graft_free(context, to);
}

void add_norm(int dtype, int dropout) {
  const int64_t R = 16384, C = 768, n = R * C;
  const double size = static_cast<double>(n) * (dtype == GRAFT_BFLOAT16 ? 2 : 4);
  auto f = arguments<graft_add_norm_args>();
  void* s = allocate(n * 4);
  f.x = filled(n, dtype);
  f.residual = filled(n, dtype);
  f.sum = s;
  f.out = allocate(n * 4);
  f.gamma = filled(C, dtype);
  f.beta = filled(C, dtype);
  f.mean = static_cast<float*>(allocate(R * 4));
  f.rstd = static_cast<float*>(allocate(R * 4));
  f.rows = R;
  f.channels = C;
  f.eps = 1e-5f;
  f.dropout = dropout;
  f.dtype = dtype;
  report(dropout ? "add_norm forward dropout" : "add_norm forward", dtype, 4 * size,
         [&] { check(graft_add_norm_forward(context, &f)); });
  f.sum = const_cast<void*>(f.residual);
  report(dropout ? "add_norm forward in place dropout" : "add_norm forward in place", dtype,
         4 * size, [&] { check(graft_add_norm_forward(context, &f)); });
  auto b = arguments<graft_add_norm_backward_args>();
  b.dout = f.x;
  b.dsum = filled(n, dtype);
  b.sum = s;
  b.gamma = f.gamma;
  b.mean = f.mean;
  b.rstd = f.rstd;
  b.dresidual = f.out;
  b.dx = dropout ? allocate(n * 4) : nullptr;
  b.dgamma = static_cast<float*>(filled(C, GRAFT_FLOAT32));
  b.dbeta = static_cast<float*>(filled(C, GRAFT_FLOAT32));
  b.dbias = static_cast<float*>(filled(C, GRAFT_FLOAT32));
  b.rows = R;
  b.channels = C;
  b.dropout = dropout;
  b.dtype = dtype;
  give_workspace(b, graft_add_norm_backward_workspace);
  report(dropout ? "add_norm backward dropout" : "add_norm backward", dtype,
         (dropout ? 5 : 4) * size, [&] { check(graft_add_norm_backward(context, &b)); });
  b.dresidual = const_cast<void*>(b.dsum);
  b.dx = dropout ? const_cast<void*>(b.dout) : nullptr;
  report(dropout ? "add_norm backward in place dropout" : "add_norm backward in place", dtype,
         (dropout ? 5 : 4) * size, [&] { check(graft_add_norm_backward(context, &b)); });
}

void activation(int dtype, int kind, const char* name) {
  const int64_t R = 8192, C = 3072, n = R * C;
  const double size = static_cast<double>(n) * (dtype == GRAFT_BFLOAT16 ? 2 : 4);
  auto a = arguments<graft_activation_args>();
  a.x = filled(n, dtype);
  a.bias = filled(C, dtype);
  a.y = allocate(n * 4);
  a.dy = filled(n, dtype);
  a.dx = a.y;
  a.dbias = static_cast<float*>(filled(C, GRAFT_FLOAT32));
  a.rows = R;
  a.channels = C;
  a.activation = kind;
  a.dtype = dtype;
  give_workspace(a, graft_activation_workspace);
  report((std::string(name) + " forward").c_str(), dtype, 2 * size,
         [&] { check(graft_activation_forward(context, &a)); });
  report((std::string(name) + " backward").c_str(), dtype, 3 * size,
         [&] { check(graft_activation_backward(context, &a)); });
  a.dx = const_cast<void*>(a.dy);
  report((std::string(name) + " backward in place").c_str(), dtype, 3 * size,
         [&] { check(graft_activation_backward(context, &a)); });
  graft_free(context, const_cast<void*>(a.x));
  graft_free(context, const_cast<void*>(a.dy));
  graft_free(context, a.y);
}

void classifier(int dtype) {
  const int64_t R = 512, V = 50304;
  auto a = arguments<graft_classifier_args>();
  a.logits = filled(R * V, dtype);
  std::vector<int32_t> targets(R, 17);
  a.targets = targets.data();
  a.rows = R;
  a.vocabulary = 50257;
  a.row_stride = V;
  a.ignore_index = -100;
  a.dtype = dtype;
  give_workspace(a, graft_classifier_workspace);
  const double size = static_cast<double>(R * V) * (dtype == GRAFT_BFLOAT16 ? 2 : 4);
  report("classifier", dtype, 2 * size, [&] { check(graft_classifier(context, &a)); });
  graft_free(context, a.logits);
}

void optimizer() {
  const int64_t n = 25000000;
  std::vector<graft_parameter> list;
  for (bool copy : {false, true}) {
    graft_parameter p{};
    p.grad = static_cast<float*>(filled(n, GRAFT_FLOAT32));
    p.weight = static_cast<float*>(filled(n, GRAFT_FLOAT32));
    p.weight16 = copy ? allocate(n * 2) : nullptr;
    p.m = static_cast<float*>(filled(n, GRAFT_FLOAT32));
    p.v = static_cast<float*>(allocate(n * 4));
    std::memset(p.v, 0, static_cast<size_t>(n) * 4);
    p.count = n;
    p.weight_decay = 0.1f;
    p.lr_scale = 1;
    graft_parameter_set* set = nullptr;
    check(graft_parameter_set_create(context, &p, 1, &set));
    auto norm = arguments<graft_grad_norm_args>();
    norm.parameters = set;
    norm.max_norm = 1;
    auto step = arguments<graft_adamw_args>();
    step.parameters = set;
    step.beta1 = 0.9f;
    step.beta2 = 0.999f;
    step.eps = 1e-8f;
    const auto bytes = static_cast<double>(n);
    if (!copy)
      report("grad_norm", GRAFT_FLOAT32, 4 * bytes,
             [&] { check(graft_grad_norm(context, &norm)); });
    report(copy ? "adamw with bf16 copy" : "adamw", GRAFT_FLOAT32, (copy ? 30 : 28) * bytes,
           [&] { check(graft_adamw(context, &step)); });
    check(graft_parameter_set_destroy(context, set));
    for (void* array : {static_cast<void*>(p.grad), static_cast<void*>(p.weight), p.weight16,
                        static_cast<void*>(p.m), static_cast<void*>(p.v)})
      graft_free(context, array);
  }
}

void plain(int dtype) {
  const int64_t R = 16384, C = 768, n = R * C;
  const double size = static_cast<double>(n) * (dtype == GRAFT_BFLOAT16 ? 2 : 4);
  void* x = filled(n, dtype);
  void* y = filled(n, dtype);
  void* z = allocate(n * 4);
  auto add = arguments<graft_add_args>();
  add.a = x;
  add.b = y;
  add.out = z;
  add.count = n;
  add.dtype = dtype;
  report("add", dtype, 3 * size, [&] { check(graft_add(context, &add)); });
  auto cast = arguments<graft_cast_args>();
  cast.from = x;
  cast.to = z;
  cast.count = n;
  cast.from_dtype = dtype;
  cast.to_dtype = dtype == GRAFT_BFLOAT16 ? GRAFT_FLOAT32 : GRAFT_BFLOAT16;
  report("cast", dtype, 6 * static_cast<double>(n), [&] { check(graft_cast(context, &cast)); });
  auto dropout = arguments<graft_dropout_args>();
  dropout.x = x;
  dropout.y = z;
  dropout.rows = R;
  dropout.channels = C;
  dropout.dropout = 26;
  dropout.dtype = dtype;
  report("dropout", dtype, 2 * size, [&] { check(graft_dropout(context, &dropout)); });
  auto sum = arguments<graft_column_sum_args>();
  sum.x = x;
  sum.out = static_cast<float*>(z);
  sum.rows = R;
  sum.channels = C;
  sum.dtype = dtype;
  give_workspace(sum, graft_column_sum_workspace);
  report("column_sum", dtype, size, [&] { check(graft_column_sum(context, &sum)); });
  std::vector<int32_t> index(static_cast<size_t>(R));
  for (int64_t i = 0; i < R; ++i) index[static_cast<size_t>(i)] = static_cast<int32_t>(i * 7919 % R);
  auto rows = arguments<graft_rows_args>();
  rows.in = x;
  rows.out = z;
  rows.index = index.data();
  rows.count = rows.source_rows = R;
  rows.channels = C;
  rows.dtype = dtype;
  report("gather_rows", dtype, 2 * size, [&] { check(graft_gather_rows(context, &rows)); });
  auto embed = arguments<graft_embedding_args>();
  embed.ids = index.data();
  embed.token_table = x;
  embed.positions = index.data();
  embed.position_table = y;
  embed.out = z;
  embed.tokens = embed.token_rows = embed.position_rows = R;
  embed.channels = C;
  embed.dtype = dtype;
  report("embedding forward", dtype, 3 * size, [&] { check(graft_embedding_forward(context, &embed)); });
  std::vector<int32_t> ids(static_cast<size_t>(R)), order;
  for (int64_t i = 0; i < R; ++i) ids[static_cast<size_t>(i)] = static_cast<int32_t>(i * i % 1000);
  for (int32_t id = 0; id < 1000; ++id)
    for (int64_t i = 0; i < R; ++i)
      if (ids[static_cast<size_t>(i)] == id) order.push_back(static_cast<int32_t>(i));
  auto back = arguments<graft_embedding_backward_args>();
  back.ids = ids.data();
  back.order = order.data();
  back.dout = x;
  back.dtable = static_cast<float*>(z);
  back.tokens = R;
  back.channels = C;
  back.rows = 1000;
  back.dtype = dtype;
  report("embedding backward", dtype, size, [&] { check(graft_embedding_backward(context, &back)); });
}

void sample() {
  const int64_t B = 8, V = 50257;
  auto a = arguments<graft_sample_args>();
  a.logits = filled(B * V, GRAFT_FLOAT32);
  std::vector<int32_t> next(B);
  a.next = next.data();
  a.batch = B;
  a.vocabulary = V;
  a.repetition_penalty = 1;
  a.temperature = 1;
  for (int kind = 0; kind < 3; ++kind) {
    a.top_k = kind == 1 ? 50 : 0;
    a.top_p = kind == 2 ? 0.9f : 1;
    give_workspace(a, graft_sample_workspace);
    const double took = seconds([&] { check(graft_sample(context, &a)); });
    std::printf("sample 50257, %-22s %7.0f us a row\n",
                kind == 0 ? "all" : kind == 1 ? "top-k 50" : "top-p 0.9 (flat logits)",
                took / B * 1e6);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : omp_get_max_threads();
  if (argc > 2) wanted = argv[2];
  auto options = arguments<graft_context_options>();
  options.threads = threads;
  check(graft_context_create(&options, &context));
  std::printf("isa %d, %d threads\n", graft_cpu_isa(), threads);
  copy(threads);
  for (int dtype : {GRAFT_FLOAT32, GRAFT_BFLOAT16}) {
    add_norm(dtype, 0);
    add_norm(dtype, 26);
    activation(dtype, GRAFT_GELU_TANH, "gelu tanh");
    activation(dtype, GRAFT_GELU_ERF, "gelu erf");
    classifier(dtype);
    plain(dtype);
  }
  optimizer();
  if (wanted.empty()) sample();
  return graft_context_destroy(context);
}
