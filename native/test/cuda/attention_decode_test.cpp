// Decode attention and the KV cache on the CUDA backend. Oracle: softmax attention of one query by
// its definition, in double, on the cache as stored, and the CPU backend, by the architecture's
// rule; the cache against its definition, bit by bit.
#include <algorithm>

#include "../../cuda/emulation/runtime.h"
#include "cuda_support.h"

using namespace graft_test;
namespace emulation = graft::emulation;

namespace {

constexpr double untouched = 7;

struct problem {
  std::vector<int32_t> lengths;
  int64_t heads = 2, head_dim = 64, capacity = 300;
  int dtype = GRAFT_FLOAT32;
  int extra = 0;
  int64_t pad = 0;
  int64_t shift = 0;  // elements off the alignment
  int live = 0;
};

struct decode_data {
  problem p;
  int64_t batch, stride;
  array q, k, v;

  explicit decode_data(const problem& of)
      : p(of),
        batch(static_cast<int64_t>(p.lengths.size())),
        stride(p.heads * p.head_dim + p.pad),
        q(numbers(17).normals(batch * stride), p.dtype),
        k(numbers(18).normals(batch * p.heads * p.capacity * p.head_dim), p.dtype),
        v(numbers(19).normals(k.count()), p.dtype) {}
  array fresh_out() const {
    return array(std::vector<double>(static_cast<size_t>(batch * stride), untouched), p.dtype);
  }
  graft_attention_decode_args args() const {
    auto a = arguments<graft_attention_decode_args>();
    if (p.pad > 0) a.q_token_stride = a.out_token_stride = stride;
    a.batch = batch;
    a.heads = p.heads;
    a.head_dim = p.head_dim;
    a.cache_capacity = p.capacity;
    a.scale = 1.0f / std::sqrt(static_cast<float>(p.head_dim));
    a.extra = p.extra;
    a.dtype = p.dtype;
    return a;
  }
};

std::vector<double> oracle(const decode_data& d) {
  std::vector<double> out = d.fresh_out().values();
  const problem& p = d.p;
  const double scale = 1.0f / std::sqrt(static_cast<float>(p.head_dim));
  for (int64_t b = 0; b < (p.live == 0 ? d.batch : p.live); ++b)
    for (int64_t h = 0; h < p.heads; ++h) {
      const int64_t keys =
          std::min<int64_t>(p.lengths[static_cast<size_t>(b)] + p.extra, p.capacity);
      const int64_t query = b * d.stride + h * p.head_dim;
      const auto at = [&](int64_t j, int64_t c) {
        return ((b * p.heads + h) * p.capacity + j) * p.head_dim + c;
      };
      std::vector<double> x;
      double highest = -INFINITY, total = 0;
      for (int64_t j = 0; j < keys; ++j) {
        double dot = 0;
        for (int64_t c = 0; c < p.head_dim; ++c) dot += d.q[query + c] * d.k[at(j, c)];
        x.push_back(dot * scale);
        if (x.back() > highest) highest = x.back();
      }
      const double shift = highest == -INFINITY ? 0 : highest;
      for (double& xj : x) total += xj = std::exp(xj - shift);
      for (int64_t c = 0; c < p.head_dim; ++c) {
        double sum = 0;
        for (int64_t j = 0; j < keys; ++j) sum += x[static_cast<size_t>(j)] * d.v[at(j, c)];
        out[static_cast<size_t>(query + c)] = total == 0 ? 0 : sum / total;
      }
    }
  return out;
}

array on_cuda(cuda_context& c, const decode_data& d) {
  array out = d.fresh_out();
  const int64_t element = d.p.dtype == GRAFT_BFLOAT16 ? 2 : 4, shift = d.p.shift * element;
  device_array q(c, d.q, shift), k(c, d.k, shift), v(c, d.v, shift), result(c, out, shift);
  device_array lengths(c, d.p.lengths, 4);
  auto a = d.args();
  a.q = q.data();
  a.k_cache = k.data();
  a.v_cache = v.data();
  a.out = result.data();
  a.lengths = lengths.data<int32_t>();
  EXPECT_EQ(GRAFT_OK, graft_attention_decode_workspace(c, &a, &a.workspace_bytes))
      << graft_last_error();
  device_array space(c, std::vector<uint8_t>(static_cast<size_t>(a.workspace_bytes), 0xFF));
  a.workspace = space.data();
  c.step(1, 1, 0, 1, d.p.live);
  EXPECT_EQ(GRAFT_OK, graft_attention_decode(c, &a)) << graft_last_error();
  c.synchronize();
  result.download(out);
  return out;
}

array on_cpu(const decode_data& d) {
  array out = d.fresh_out();
  context c;
  auto inputs = arguments<graft_step_inputs>();
  inputs.sequences = d.p.live;
  EXPECT_EQ(GRAFT_OK, graft_step_begin(c, &inputs));
  auto a = d.args();
  a.q = d.q.data();
  a.k_cache = d.k.data();
  a.v_cache = d.v.data();
  a.out = out.data();
  a.lengths = d.p.lengths.data();
  EXPECT_EQ(GRAFT_OK, graft_attention_decode_workspace(c, &a, &a.workspace_bytes));
  workspace space(a.workspace_bytes);
  a.workspace = space.data();
  EXPECT_EQ(GRAFT_OK, graft_attention_decode(c, &a)) << graft_last_error();
  return out;
}

array check(cuda_context& c, const problem& p,
            const std::function<void(decode_data&)>& edit = nullptr) {
  SCOPED_TRACE(testing::Message() << "D " << p.head_dim << ", dtype " << p.dtype << ", length "
                                  << p.lengths[0] << ", capacity " << p.capacity << ", shift "
                                  << p.shift);
  decode_data d(p);
  if (edit) edit(d);
  array out = on_cuda(c, d);
  const auto exact = oracle(d);
  expect_within_rule(exact, on_cpu(d), out, "out");
  expect_close(exact, out, 2e-6, p.dtype == GRAFT_BFLOAT16 ? 0.51 : 2, "out");
  return out;
}

}  // namespace

TEST(CudaAttentionDecode, lengths_withinTwiceTheCpusError) {
  cuda_context c;
  for (const int dtype : float_dtypes())
    for (const int n : {0, 1, 2, 7, 9, 31, 33, 63, 64, 65, 255, 256, 257, 300, 511, 513, 600})
      for (const int extra : {0, 1})
        check(c, {.lengths = {n, 600 - n}, .head_dim = 32, .capacity = 520, .dtype = dtype,
                  .extra = extra});
}

TEST(CudaAttentionDecode, everyHeadDim_withinTwiceTheCpusError) {
  cuda_context c;
  std::vector<int64_t> dims = {1, 3, 8, 12, 31, 32, 40, 64, 72, 96, 100, 128, 136, 250, 256};
  if (full_grid())
    for (int64_t d = 2; d < 256; ++d) dims.push_back(d);
  for (const int dtype : float_dtypes())
    for (const int64_t d : dims)
      for (const int64_t shift : {0, 1, 4})
        check(c, {.lengths = {70, 290}, .heads = 1 + d % 3, .head_dim = d, .dtype = dtype,
                  .pad = d % 2 == 0 ? 0 : 5, .shift = shift});
}

// One part only needs no workspace.
TEST(CudaAttentionDecode, capacityOfOnePart) {
  cuda_context c;
  check(c, {.lengths = {0, 5, 256, 999}, .capacity = 256, .dtype = GRAFT_BFLOAT16});
  auto a = decode_data({.lengths = {1}, .capacity = 256}).args();
  int64_t bytes = -1;
  ASSERT_EQ(GRAFT_OK, graft_attention_decode_workspace(c, &a, &bytes));
  EXPECT_EQ(0, bytes);
  a.cache_capacity = 257;
  ASSERT_EQ(GRAFT_OK, graft_attention_decode_workspace(c, &a, &bytes));
  EXPECT_EQ(2 * 2 * (16 + 64) * 4, bytes);
  a.heads = 0;
  expect_error(GRAFT_INVALID_SHAPE, graft_attention_decode_workspace(c, &a, &bytes),
               {"attention_decode_workspace", "heads"});
}

TEST(CudaAttentionDecode, onlyLiveSequencesAreWritten) {
  cuda_context c;
  check(c, {.lengths = {300, 20, 40}, .dtype = GRAFT_BFLOAT16, .pad = 8, .live = 2});
}

// Logits of -inf only: output 0. A part of them beside another: its share is 0.
TEST(CudaAttentionDecode, minusInfinityAndNaN) {
  cuda_context c;
  const problem p = {.lengths = {20, 300}, .heads = 1, .head_dim = 16};
  const auto set_keys = [](decode_data& d, int64_t first, int64_t count, double x) {
    for (int64_t e = first * 16; e < (first + count) * 16; ++e) d.k.set(e, x);
  };
  const auto positive = [](decode_data& d) {
    for (int64_t e = 0; e < d.q.count(); ++e) d.q.set(e, 1);
  };
  const array out = check(c, p, [&](decode_data& d) {
    positive(d);
    set_keys(d, 0, 20, -INFINITY);
    set_keys(d, 300, 256, -INFINITY);  // the second sequence's first part
  });
  for (int64_t i = 0; i < 16; ++i) EXPECT_EQ(0, out[i]);
  decode_data d(p);
  d.k.set((300 + 299) * 16 + 3, NAN);
  const array bad = on_cuda(c, d);
  for (int64_t i = 0; i < 32; ++i) EXPECT_EQ(i >= 16, std::isnan(bad[i])) << i;
}

TEST(CudaAttentionDecode, sameBitsInAnyOrderOfBlocksAndWarps) {
  const decode_data d({.lengths = {1100, 700, 3}, .capacity = 1100, .dtype = GRAFT_BFLOAT16});
  std::vector<uint8_t> first;
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    emulation::set_seed(1000 * seed);
    cuda_context c;
    const auto bits = on_cuda(c, d).bits();
    if (seed == 1) first = bits;
    EXPECT_EQ(first, bits) << "seed " << seed;
  }
}

TEST(CudaAttentionDecode, aSmallWorkspaceIsRefused) {
  cuda_context c;
  device_array memory(c, 256);
  auto a = decode_data({.lengths = {1}}).args();
  a.q = a.k_cache = a.v_cache = a.out = a.workspace = memory.data();
  a.lengths = memory.data<int32_t>();
  a.workspace_bytes = 1279;
  expect_error(GRAFT_INVALID_SHAPE, graft_attention_decode(c, &a),
               {"attention_decode", "workspace_bytes", "1280", "1279"});
}

// ---- kv_append

namespace {

struct append_data {
  std::vector<int32_t> lengths, cu;
  int64_t heads, head_dim, capacity, stride, batch, tokens;
  int dtype;
  array k, v;

  append_data(const std::vector<int32_t>& of_lengths, const std::vector<int32_t>& of_cu, int type,
              int64_t dim, int64_t pad)
      : lengths(of_lengths),
        cu(of_cu),
        heads(3),
        head_dim(dim),
        capacity(8),
        stride(heads * head_dim + pad),
        batch(static_cast<int64_t>(lengths.size())),
        tokens(cu.empty() ? batch : cu.back()),
        dtype(type),
        k(numbers(1).normals(tokens * stride), dtype),
        v(numbers(2).normals(tokens * stride), dtype) {}
};

}  // namespace

TEST(CudaKvAppend, ring_vsDefinition) {
  cuda_context c;
  int i = 0;
  for (const int dtype : float_dtypes())
    for (const int64_t dim : {1, 2, 5, 12, 32, 64})
      for (const int64_t pad : {0, 1, 8})
        for (const int64_t shift : {0, 1, 2, 4})
          for (const std::vector<int32_t>& cu :
               {std::vector<int32_t>{}, std::vector<int32_t>{0, 3, 3, 23, 25}}) {
            const int live = ++i % 3 == 0 ? 2 : 0;
            SCOPED_TRACE(testing::Message() << "dtype " << dtype << ", D " << dim << " + " << pad
                                            << ", shift " << shift << ", live " << live);
            append_data d({0, 5, 7, 100}, cu, dtype, dim, pad);
            const std::vector<double> before(
                static_cast<size_t>(d.batch * d.heads * d.capacity * dim), untouched);
            std::vector<double> k = before, v = before;
            for (int64_t b = 0; b < (live == 0 ? 4 : live); ++b) {
              const auto s = static_cast<size_t>(b);
              const int64_t first = cu.empty() ? b : cu[s], end = cu.empty() ? b + 1 : cu[s + 1];
              for (int64_t t = first; t < end; ++t)
                for (int64_t h = 0; h < d.heads; ++h)
                  for (int64_t e = 0; e < dim; ++e) {
                    const int64_t position = (d.lengths[s] + t - first) % d.capacity;
                    const auto to = static_cast<size_t>(
                        ((b * d.heads + h) * d.capacity + position) * dim + e);
                    k[to] = d.k[t * d.stride + h * dim + e];
                    v[to] = d.v[t * d.stride + h * dim + e];
                  }
            }
            const int64_t bytes = shift * (dtype == GRAFT_BFLOAT16 ? 2 : 4);
            array k_got(before, dtype), v_got(before, dtype);
            device_array d_k(c, d.k, bytes), d_v(c, d.v, 0), k_cache(c, k_got, 0),
                v_cache(c, v_got, bytes), lengths(c, d.lengths, 4);
            device_array d_cu(c, cu.empty() ? std::vector<int32_t>{0} : cu, 8);
            auto a = arguments<graft_kv_append_args>();
            a.k = d_k.data();
            a.v = d_v.data();
            a.k_cache = k_cache.data();
            a.v_cache = v_cache.data();
            a.cu_seqlens = cu.empty() ? nullptr : d_cu.data<int32_t>();
            a.lengths = lengths.data<int32_t>();
            if (pad != 0) a.k_token_stride = a.v_token_stride = d.stride;
            a.batch = d.batch;
            a.heads = d.heads;
            a.head_dim = dim;
            a.cache_capacity = d.capacity;
            a.dtype = dtype;
            c.step(1, 1, 0, 1, live);
            ASSERT_EQ(GRAFT_OK, graft_kv_append(c, &a)) << graft_last_error();
            c.synchronize();
            k_cache.download(k_got);
            v_cache.download(v_got);
            ASSERT_EQ(k, k_got.values());
            ASSERT_EQ(v, v_got.values());
          }
}
