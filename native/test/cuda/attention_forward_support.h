// What the tests of CUDA attention forward share: a problem with its operands, the CPU backend's and the
// device's results, and the definition in double.
#pragma once

#include "attention_support.h"

namespace graft_test::cuda_attention {

struct case_data : case_shape {
  int64_t in_stride, out_stride;
  array q, k, v, out, lse;  // packed_qkv: q holds all three

  explicit case_data(const problem& p)
      : case_shape(p),
        in_stride((p.packed_qkv ? 3 : 1) * row + p.pad),
        out_stride(row + p.pad),
        q(tokens_q * in_stride, p.dtype),
        k(p.packed_qkv ? 0 : tokens_k * in_stride, p.dtype),
        v(p.packed_qkv ? 0 : tokens_k * in_stride, p.dtype),
        out(std::vector<double>(static_cast<size_t>(tokens_q * out_stride), untouched), p.dtype),
        lse(std::vector<double>(static_cast<size_t>(p.heads * tokens_q), untouched),
            GRAFT_FLOAT32) {
    numbers random = case_shape::random();
    for (array* x : {&q, &k, &v})
      for (int64_t i = 0; i < x->count(); ++i) x->set(i, random.normal());
    // What lies between rows and behind the last sequence must not matter.
    for (array* x : {&q, &k, &v})
      for (int64_t i = 0; i < x->count(); ++i) {
        const int64_t token = i / in_stride, last = (x == &q ? tokens_q : tokens_k) - 1;
        if (i % in_stride >= in_stride - p.pad || token == last) x->set(i, nan_value);
      }
  }
  int64_t in_at(int64_t token, int64_t h, int64_t c) const {
    return token * in_stride + h * p.head_dim + c;
  }
  int64_t out_at(int64_t token, int64_t h, int64_t c) const {
    return token * out_stride + h * p.head_dim + c;
  }
  double query(int64_t token, int64_t h, int64_t c) const { return q[in_at(token, h, c)]; }
  double key(int64_t token, int64_t h, int64_t c) const {
    return p.packed_qkv ? q[in_at(token, h, c) + row] : k[in_at(token, h, c)];
  }
  double value(int64_t token, int64_t h, int64_t c) const {
    return p.packed_qkv ? q[in_at(token, h, c) + 2 * row] : v[in_at(token, h, c)];
  }

  // With pointers of either side.
  graft_attention_args args(const void* q_at, const void* k_at, const void* v_at, void* out_to,
                            float* lse_to, const int32_t* q_ends, const int32_t* k_ends,
                            int engine = GRAFT_ATTENTION_AUTO) const {
    graft_attention_args a = case_shape::args(lse_to, q_ends, k_ends);
    a.engine = engine;
    const int64_t bytes = row * (p.dtype == GRAFT_BFLOAT16 ? 2 : 4);
    a.q = q_at;
    a.k = p.packed_qkv ? static_cast<const char*>(q_at) + bytes : k_at;
    a.v = p.packed_qkv ? static_cast<const char*>(q_at) + 2 * bytes : v_at;
    a.out = out_to;
    if (in_stride != row) a.q_token_stride = a.k_token_stride = a.v_token_stride = in_stride;
    if (out_stride != row) a.out_token_stride = out_stride;
    return a;
  }
};

struct results {
  array out, lse;
};

inline results on_cpu(const case_data& d) {
  results r{array(d.out.values(), d.p.dtype), array(d.lse.values(), GRAFT_FLOAT32)};
  context c;
  begin_step(c, d.p);
  graft_attention_args a = d.args(d.q.data(), d.k.data(), d.v.data(), r.out.data(), r.lse.floats(),
                                  d.cu_q.data(), d.cu_k.data());
  run_on_cpu(c, a, false);
  return r;
}

inline results on_device(const case_data& d) {
  results r{array(d.out.values(), d.p.dtype), array(d.lse.values(), GRAFT_FLOAT32)};
  cuda_context c;
  c.step(seed, step, 0, 1, d.p.live);
  device_array q(c, d.q, d.p.shift[0]), k(c, d.k, d.p.shift[1]), v(c, d.v, d.p.shift[2]);
  device_array out(c, r.out, d.p.shift[3]), lse(c, r.lse, 4);
  device_array cu_q(c, d.cu_q), cu_k(c, d.cu_k);
  const graft_attention_args a =
      d.args(q.data(), k.data(), v.data(), out.data(), lse.data<float>(), cu_q.data<int32_t>(),
             cu_k.data<int32_t>(), d.p.engine);
  int64_t bytes = -1;
  EXPECT_EQ(GRAFT_OK, graft_attention_workspace(c, &a, 0, &bytes)) << graft_last_error();
  EXPECT_EQ(0, bytes);
  EXPECT_EQ(GRAFT_OK, graft_attention_forward(c, &a)) << graft_last_error();
  c.synchronize();
  out.download(r.out);
  lse.download(r.lse);
  return r;
}

struct expectation {
  std::vector<double> out, lse;  // `untouched` where nothing is to be written
};

inline expectation oracle(const case_data& d) {
  expectation e{d.out.values(), d.lse.values()};
  const int64_t D = d.p.head_dim;
  const uint64_t key = stream_key(seed, step, op_id);
  for (int64_t b = 0; b < d.sequences(); ++b) {
    const auto s = static_cast<size_t>(b);
    const int64_t q0 = d.cu_q[s], nq = d.cu_q[s + 1] - q0, k0 = d.cu_k[s], nk = d.cu_k[s + 1] - k0;
    for (int64_t h = 0; h < d.p.heads; ++h)
      for (int64_t i = 0; i < nq; ++i) {
        const int64_t seen = d.p.causal ? std::clamp<int64_t>(i + nk - nq + 1, 0, nk) : nk;
        std::vector<double> x(static_cast<size_t>(seen));
        double highest = -infinity, total = 0;
        for (int64_t j = 0; j < seen; ++j) {
          double dot = 0;
          for (int64_t c = 0; c < D; ++c) dot += d.query(q0 + i, h, c) * d.key(k0 + j, h, c);
          x[static_cast<size_t>(j)] = dot * static_cast<double>(d.scale);
          highest = std::max(highest, x[static_cast<size_t>(j)]);
        }
        // Nothing but -inf: as if it saw no key.
        const bool empty =
            std::all_of(x.begin(), x.end(), [](double xj) { return xj == -infinity; });
        for (double& xj : x) total += xj = std::exp(xj - highest);
        std::vector<double> sums(static_cast<size_t>(D), 0.0);
        for (int64_t j = 0; j < seen && !empty; ++j) {
          const double weight =
              x[static_cast<size_t>(j)] / total * attention_keep(key, d.p.dropout, b, h, i, j);
          for (int64_t c = 0; c < D; ++c)
            sums[static_cast<size_t>(c)] += weight * d.value(k0 + j, h, c);
        }
        e.lse[static_cast<size_t>(h * d.tokens_q + q0 + i)] =
            empty ? -infinity : highest + std::log(total);
        for (int64_t c = 0; c < D; ++c)
          e.out[static_cast<size_t>(d.out_at(q0 + i, h, c))] = sums[static_cast<size_t>(c)];
      }
  }
  return e;
}

using change = std::function<void(case_data&)>;

inline std::vector<uint8_t> bits_of(const results& r) {
  std::vector<uint8_t> bits = r.out.bits();
  const std::vector<uint8_t> lse = r.lse.bits();
  bits.insert(bits.end(), lse.begin(), lse.end());
  return bits;
}

inline void run_case(const problem& p, const change& edit = nullptr) {
  SCOPED_TRACE(describe(p));
  case_data d(p);
  if (edit) edit(d);
  const expectation e = oracle(d);
  const results cpu = on_cpu(d), got = on_device(d);
  compare(e.out, cpu.out, got.out, "out");
  compare(e.lse, cpu.lse, got.lse, "lse");
}

// q = 0 makes all probabilities 1/n, and V the identity (its columns shifted to the keys from `first` on):
// an element of out is 0 where the mask drops and not where it keeps. Of the second of two sequences.
inline void expect_mask(const problem& p, int64_t first, bool also_on_cpu) {
  case_data d(p);
  for (int64_t i = 0; i < d.q.count(); ++i) d.q.set(i, 0);
  for (int64_t j = 0; j < d.tokens_k; ++j)
    for (int64_t h = 0; h < p.heads; ++h)
      for (int64_t c = 0; c < p.head_dim; ++c)
        d.v.set(d.in_at(j, h, c), j - p.k_lens[0] == first + c);
  std::vector<results> all;
  all.push_back(on_device(d));
  if (also_on_cpu) all.push_back(on_cpu(d));
  const uint64_t key = stream_key(seed, step, op_id);
  for (int64_t i = 0; i < p.q_lens[1]; ++i)
    for (int64_t h = 0; h < p.heads; ++h)
      for (int64_t c = 0; c < std::min<int64_t>(p.head_dim, p.k_lens[1] - first); ++c)
        for (const results& got : all)
          ASSERT_EQ(attention_keep(key, p.dropout, 1, h, i, first + c) != 0,
                    got.out[d.out_at(p.q_lens[0] + i, h, c)] != 0)
              << i << " " << first + c;
}

inline void expect_nothingToDo_isDone(int engine) {
  cuda_context c;
  c.step(seed, step);
  case_data d({.q_lens = {4}, .head_dim = 8});
  device_array q(c, d.q), out(c, d.out), lse(c, d.lse), cu(c, d.cu_q);
  graft_attention_args a = d.args(q.data(), q.data(), q.data(), out.data(), lse.data<float>(),
                                  cu.data<int32_t>(), cu.data<int32_t>(), engine);
  a.batch = 0;
  EXPECT_EQ(GRAFT_OK, graft_attention_forward(c, &a)) << graft_last_error();
  a.batch = 1;
  a.max_seqlen_q = 0;
  EXPECT_EQ(GRAFT_OK, graft_attention_forward(c, &a)) << graft_last_error();
  c.synchronize();
  array after(d.out.count(), d.p.dtype);
  out.download(after);
  EXPECT_EQ(d.out.bits(), after.bits());
}

// Offsets of 2^31 elements and more: of a sequence's first token, of a row in its tile, of a tile in its
// sequence. The memory between the rows is never touched, so it costs address space only.
inline void expect_offsets_beyond_32_bits(const std::vector<int32_t>& ends, int engine) {
  constexpr int64_t D = 16;
  const int32_t tokens = ends[2];
  const int64_t stride = int64_t{1} << (tokens == 4 ? 30 : 25);
  case_data d({.q_lens = {ends[1], tokens - ends[1]}, .head_dim = D, .causal = true});
  cuda_context c;
  c.step(seed, step);
  void* memory = nullptr;
  ASSERT_EQ(GRAFT_OK, graft_malloc(c, ((d.tokens_q - 1) * stride + 4 * D) * 2, &memory))
      << graft_last_error();
  auto* base = static_cast<uint16_t*>(memory);
  for (int64_t t = 0; t < d.tokens_q; ++t) {
    std::vector<uint16_t> row;
    for (const array* x : {&d.q, &d.k, &d.v})
      for (int64_t i = 0; i < D; ++i)
        row.push_back(float_to_bf16(static_cast<float>((*x)[t * D + i])));
    ASSERT_EQ(GRAFT_OK,
              graft_memcpy(c, base + t * stride, row.data(), 3 * D * 2, GRAFT_HOST_TO_DEVICE));
    c.synchronize();
  }
  device_array lse(c, d.lse), cu(c, ends);
  graft_attention_args a = d.args(base, base + D, base + 2 * D, base + 3 * D, lse.data<float>(),
                                  cu.data<int32_t>(), cu.data<int32_t>(), engine);
  a.q_token_stride = a.k_token_stride = a.v_token_stride = a.out_token_stride = stride;
  ASSERT_EQ(GRAFT_OK, graft_attention_forward(c, &a)) << graft_last_error();
  c.synchronize();
  const results cpu = on_cpu(d);
  for (int64_t t = 0; t < tokens; ++t) {
    std::vector<uint16_t> row(D);
    ASSERT_EQ(GRAFT_OK, graft_memcpy(c, row.data(), base + t * stride + 3 * D, D * 2,
                                     GRAFT_DEVICE_TO_HOST));
    c.synchronize();
    for (int64_t i = 0; i < D; ++i)
      EXPECT_NEAR(cpu.out[t * D + i], bf16_to_float(row[static_cast<size_t>(i)]), 0.05);
  }
  ASSERT_EQ(GRAFT_OK, graft_free(c, memory));
}

}  // namespace graft_test::cuda_attention
