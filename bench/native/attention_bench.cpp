// Attention's speed on this processor beside the multiply-add rate it could reach.
//
//   attention_bench [threads] [case ...]     cases are substrings of the lines' names; default all
//
// FLOPs counted: 4 Tq Tk D forward and 10 Tq Tk D backward for each sequence and head, halved under a
// causal mask (exponentials, masks and the like count nothing). Times are the least of repeated
// calls, so another program on the machine disturbs them little. The peak is measured right before
// each case, for clocks change with load.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "graft/graft.h"

namespace {

double seconds() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

[[noreturn]] void stop(const char* what) {
  std::fprintf(stderr, "%s: %s\n", what, graft_last_error());
  std::exit(1);
}
void check(int status, const char* what) {
  if (status != GRAFT_OK) stop(what);
}

// ---- the peak: independent multiply-adds in registers ---------------------------------------------

#if defined(__x86_64__)
__attribute__((target("avx512f"))) double flops_avx512(int64_t rounds) {
  __m512 x[12];
  for (auto& v : x) v = _mm512_set1_ps(1.0f);
  const __m512 a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(1e-3f);
  for (int64_t i = 0; i < rounds; ++i)
#pragma GCC unroll 12
    for (auto& v : x) v = _mm512_fmadd_ps(v, a, b);
  volatile float sink = 0;
  for (auto& v : x) {
    float lanes[16];
    std::memcpy(lanes, &v, sizeof lanes);
    for (float lane : lanes) sink = sink + lane;
  }
  return static_cast<double>(rounds) * 12 * 16 * 2;
}
__attribute__((target("avx2,fma"))) double flops_avx2(int64_t rounds) {
  __m256 x[12];
  for (auto& v : x) v = _mm256_set1_ps(1.0f);
  const __m256 a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(1e-3f);
  for (int64_t i = 0; i < rounds; ++i)
#pragma GCC unroll 12
    for (auto& v : x) v = _mm256_fmadd_ps(v, a, b);
  volatile float sink = 0;
  for (auto& v : x) {
    float lanes[8];
    std::memcpy(lanes, &v, sizeof lanes);
    for (float lane : lanes) sink = sink + lane;
  }
  return static_cast<double>(rounds) * 12 * 8 * 2;
}
#endif

// Without multiply-adds to call by name (baseline, other processors) there is no peak to print.
double peak_of_one_core() {
#if defined(__x86_64__)
  const int isa = graft_cpu_isa();
  if (isa == GRAFT_ISA_BASELINE) return 0;
  double best = 0;
  for (int i = 0; i < 40; ++i) {
    const double start = seconds();
    const double flops = isa >= GRAFT_ISA_AVX512 ? flops_avx512(100000) : flops_avx2(100000);
    best = std::max(best, flops / (seconds() - start));
  }
  return best;
#else
  return 0;
#endif
}

// ---- attention ----------------------------------------------------------------------------------------

struct shape {
  const char* name;
  int64_t batch, heads, tokens, head_dim;
  int causal, dropout, dtype;
};

void* device_memory(graft_context* context, int64_t bytes) {
  void* address = nullptr;
  check(graft_malloc(context, bytes, &address), "malloc");
  std::memset(address, 0, static_cast<size_t>(bytes));
  return address;
}

void fill(void* memory, int64_t count, int dtype, uint32_t seed) {
  for (int64_t i = 0; i < count; ++i) {
    float sum = -6;
    for (int part = 0; part < 12; ++part) {
      seed = seed * 1664525u + 1013904223u;
      sum += static_cast<float>(seed >> 8) * 0x1p-24f;
    }
    if (dtype == GRAFT_FLOAT32) {
      static_cast<float*>(memory)[i] = sum;
    } else {
      uint32_t bits;
      std::memcpy(&bits, &sum, sizeof bits);
      static_cast<uint16_t*>(memory)[i] = static_cast<uint16_t>(bits >> 16);
    }
  }
}

template <typename Call>
double least_seconds(const Call& call) {
  call();
  double best = 1e30;
  const double until = seconds() + 0.6;
  for (int i = 0; i < 3 || (seconds() < until && i < 400); ++i) {
    const double start = seconds();
    call();
    best = std::min(best, seconds() - start);
  }
  return best;
}

void run(const shape& s, int threads) {
  graft_context_options options{};
  options.struct_size = sizeof options;
  options.threads = threads;
  graft_context* context = nullptr;
  check(graft_context_create(&options, &context), "context_create");

  const int64_t tokens = s.batch * s.tokens, row = s.heads * s.head_dim;
  const int64_t element = s.dtype == GRAFT_BFLOAT16 ? 2 : 4;
  auto* qkv = static_cast<char*>(device_memory(context, 3 * tokens * row * element));
  auto* dqkv = static_cast<char*>(device_memory(context, 3 * tokens * row * element));
  fill(qkv, 3 * tokens * row, s.dtype, 1);
  graft_attention_args a{};
  a.struct_size = sizeof a;
  a.q = qkv;
  a.k = qkv + row * element;
  a.v = qkv + 2 * row * element;
  a.out = device_memory(context, tokens * row * element);
  void* dout = device_memory(context, tokens * row * element);
  fill(dout, tokens * row, s.dtype, 2);
  a.dout = dout;
  a.lse = static_cast<float*>(device_memory(context, s.heads * tokens * 4));
  a.dq = dqkv;
  a.dk = dqkv + row * element;
  a.dv = dqkv + 2 * row * element;
  std::vector<int32_t> offsets;
  for (int64_t b = 0; b <= s.batch; ++b) offsets.push_back(static_cast<int32_t>(b * s.tokens));
  a.cu_seqlens_q = a.cu_seqlens_k = offsets.data();
  a.q_token_stride = a.k_token_stride = a.v_token_stride = 3 * row;
  a.dq_token_stride = a.dk_token_stride = a.dv_token_stride = 3 * row;
  a.tokens_q = a.tokens_k = tokens;
  a.batch = s.batch;
  a.heads = s.heads;
  a.head_dim = s.head_dim;
  a.max_seqlen_q = a.max_seqlen_k = s.tokens;
  a.scale = 1.0f / __builtin_sqrtf(static_cast<float>(s.head_dim));
  a.causal = s.causal;
  a.dropout = s.dropout;
  a.dtype = s.dtype;
  int64_t forward_bytes = 0, backward_bytes = 0;
  check(graft_attention_workspace(context, &a, 0, &forward_bytes), "workspace");
  check(graft_attention_workspace(context, &a, 1, &backward_bytes), "workspace");
  a.workspace_bytes = std::max(forward_bytes, backward_bytes);
  a.workspace = device_memory(context, a.workspace_bytes);

  const double peak = peak_of_one_core() * threads;
  const double forward = least_seconds(
      [&] { check(graft_attention_forward(context, &a), "attention_forward"); });
  const double backward = least_seconds(
      [&] { check(graft_attention_backward(context, &a), "attention_backward"); });
  const double products = static_cast<double>(s.batch * s.heads) * static_cast<double>(s.tokens) *
                          static_cast<double>(s.tokens) * static_cast<double>(s.head_dim) /
                          (s.causal ? 2 : 1);
  const double rates[3] = {4 * products / forward, 10 * products / backward,
                           14 * products / (forward + backward)};
  std::printf("%-28s", s.name);
  for (double rate : rates) {
    std::printf("  %7.1f", rate * 1e-9);
    if (peak > 0) std::printf(" (%2.0f%%)", 100 * rate / peak);
  }
  std::printf("  peak %5.0f  %6.2f + %6.2f ms  workspace %lld KiB\n", peak * 1e-9, forward * 1e3,
              backward * 1e3, static_cast<long long>(a.workspace_bytes / 1024));
  std::fflush(stdout);
  for (void* memory : {static_cast<void*>(qkv), static_cast<void*>(dqkv), a.out, dout,
                       static_cast<void*>(a.lse), a.workspace})
    graft_free(context, memory);
  graft_context_destroy(context);
}

const shape shapes[] = {
    {"fp32 full 128 d64", 4, 12, 128, 64, 0, 0, GRAFT_FLOAT32},
    {"fp32 full 512 d64", 4, 12, 512, 64, 0, 0, GRAFT_FLOAT32},
    {"fp32 full 1024 d64", 4, 12, 1024, 64, 0, 0, GRAFT_FLOAT32},
    {"fp32 causal 128 d64", 4, 12, 128, 64, 1, 0, GRAFT_FLOAT32},
    {"fp32 causal 512 d64", 4, 12, 512, 64, 1, 0, GRAFT_FLOAT32},
    {"fp32 causal 1024 d64", 4, 12, 1024, 64, 1, 0, GRAFT_FLOAT32},
    {"fp32 full 512 d64 dropout", 4, 12, 512, 64, 0, 26, GRAFT_FLOAT32},
    {"bf16 full 128 d64", 4, 12, 128, 64, 0, 0, GRAFT_BFLOAT16},
    {"bf16 full 512 d64", 4, 12, 512, 64, 0, 0, GRAFT_BFLOAT16},
    {"bf16 causal 512 d64", 4, 12, 512, 64, 1, 0, GRAFT_BFLOAT16},
    {"bf16 causal 1024 d64", 4, 12, 1024, 64, 1, 0, GRAFT_BFLOAT16},
    {"fp32 full 512 d32", 4, 12, 512, 32, 0, 0, GRAFT_FLOAT32},
    {"fp32 full 512 d96", 4, 12, 512, 96, 0, 0, GRAFT_FLOAT32},
    {"fp32 full 512 d128", 4, 12, 512, 128, 0, 0, GRAFT_FLOAT32},
    {"fp32 causal 4096 d64 one head", 1, 1, 4096, 64, 1, 0, GRAFT_FLOAT32},
};

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 1;
  if (threads < 1) {
    std::fprintf(stderr, "expected a number of threads from 1, got %s\n", argv[1]);
    return 1;
  }
  std::printf("GF/s (of peak), %d threads     forward         backward            both\n", threads);
  for (const shape& s : shapes) {
    bool wanted = argc <= 2;
    for (int i = 2; i < argc; ++i) wanted = wanted || std::strstr(s.name, argv[i]) != nullptr;
    if (wanted) run(s, threads);
  }
  return 0;
}
