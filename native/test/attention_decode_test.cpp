// Oracle: softmax attention of one query by its definition, in double, on the cache as stored; the
// cache is filled by the test where kv_append is not the subject.
// Tolerance: a product of D terms and a softmax in float, about three times the largest error seen;
// bf16: rounded once.
#include <algorithm>

#include "support.h"

using namespace graft_test;

namespace {

constexpr double untouched = 7;

struct problem {
  std::vector<int32_t> lengths;
  int64_t heads = 2, head_dim = 64, capacity = 300;
  int dtype = GRAFT_FLOAT32;
  int extra = 0;
  int64_t pad = 0;
  bool misaligned = false;
  int threads = 1;
  int live = 0;
};

void begin_step(context& c, int live) {
  graft_step_inputs inputs{};
  inputs.struct_size = sizeof inputs;
  inputs.sequences = live;
  ASSERT_EQ(GRAFT_OK, graft_step_begin(c, &inputs));
}

struct case_data {
  problem p;
  int64_t batch, stride;
  array q, k, v, out;

  explicit case_data(const problem& p)
      : p(p),
        batch(static_cast<int64_t>(p.lengths.size())),
        stride(p.heads * p.head_dim + p.pad),
        q(batch * stride, p.dtype, p.misaligned),
        k(batch * p.heads * p.capacity * p.head_dim, p.dtype, p.misaligned),
        v(k.count(), p.dtype, p.misaligned),
        out(std::vector<double>(static_cast<size_t>(batch * stride), untouched), p.dtype,
            p.misaligned) {
    numbers random(17);
    for (array* x : {&q, &k, &v})
      for (int64_t i = 0; i < x->count(); ++i) x->set(i, random.normal());
  }
  graft_attention_decode_args args() {
    auto a = arguments<graft_attention_decode_args>();
    a.q = q.data();
    a.k_cache = k.data();
    a.v_cache = v.data();
    a.out = out.data();
    a.lengths = p.lengths.data();
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

int call(context& c, graft_attention_decode_args a) {
  int64_t bytes = 0;
  const int status = graft_attention_decode_workspace(c, &a, &bytes);
  if (status != GRAFT_OK) return status;
  workspace space(bytes);
  std::memset(space.data(), 0xFF, static_cast<size_t>(bytes));
  a.workspace = space.data();
  a.workspace_bytes = bytes;
  return graft_attention_decode(c, &a);
}

std::vector<double> oracle(const case_data& d) {
  std::vector<double> out = d.out.values();
  const problem& p = d.p;
  const double scale = static_cast<double>(1.0f / std::sqrt(static_cast<float>(p.head_dim)));
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
      for (double xj : x) total += std::exp(xj - highest);
      for (int64_t c = 0; c < p.head_dim; ++c) {
        double sum = 0;
        for (int64_t j = 0; j < keys; ++j)
          sum += std::exp(x[static_cast<size_t>(j)] - highest) / total * d.v[at(j, c)];
        out[static_cast<size_t>(query + c)] = sum;
      }
    }
  return out;
}

std::vector<uint8_t> run(const problem& p, const std::function<void(case_data&)>& edit = nullptr) {
  case_data d(p);
  if (edit) edit(d);
  SCOPED_TRACE("D " + std::to_string(p.head_dim) + " dtype " + std::to_string(p.dtype) +
               " length " + std::to_string(p.lengths[0]) + " threads " + std::to_string(p.threads));
  context c(p.threads);
  begin_step(c, p.live);
  EXPECT_EQ(GRAFT_OK, call(c, d.args())) << graft_last_error();
  expect_close(oracle(d), d.out, 2e-6, p.dtype == GRAFT_BFLOAT16 ? 0.51 : 2, "out");
  return d.out.bits();
}

TEST(AttentionDecode, lengths_vsDouble) {
  on_every_isa([] {
    for (int dtype : float_dtypes())
      for (int n : {0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 255, 256, 257, 299, 300, 400, 511, 513, 600})
        for (int extra : {0, 1})
          run({.lengths = {n, 600 - n}, .head_dim = 32, .capacity = 520, .dtype = dtype,
               .extra = extra});
  });
}

TEST(AttentionDecode, headDims_vsDouble) {
  on_every_isa([] {
    for (int dtype : float_dtypes())
      for (int64_t D : {1, 2, 7, 8, 9, 16, 17, 31, 33, 50, 64, 65, 96, 100, 128, 255, 256})
        run({.lengths = {40, 0, 293}, .head_dim = D, .dtype = dtype});
  });
}

TEST(AttentionDecode, strides_liveSequences_vsDouble) {
  on_every_isa([] {
    for (int dtype : float_dtypes())
      run({.lengths = {40, 0, 293, 5}, .heads = 3, .head_dim = 20, .dtype = dtype, .extra = 1,
           .pad = 7, .misaligned = true, .threads = 2, .live = 3});
  });
}

TEST(AttentionDecode, threads_sameBits) {
  on_every_isa([] {
    problem p{.lengths = {3000, 700}, .heads = 2, .capacity = 3000};
    const std::vector<uint8_t> expected = run(p);
    for (int threads : {2, 3, 7}) {
      p.threads = threads;
      EXPECT_EQ(expected, run(p)) << threads;
    }
  });
}

TEST(AttentionDecode, badNumbers_stayInTheirRows) {
  const auto nan = static_cast<double>(NAN), infinity = static_cast<double>(INFINITY);
  on_every_isa([&] {
    const problem p{.lengths = {260, 20}, .capacity = 270};
    for (int64_t key : {0, 100, 258, 265}) {  // the last one is not in use
      run(p, [&](case_data& d) { d.k.set(key * 64 + 3, nan); });
      run(p, [&](case_data& d) { d.v.set(key * 64 + 3, nan); });
      run(p, [&](case_data& d) {
        d.q.set(3, 1);
        d.k.set(key * 64 + 3, -infinity);
      });
    }
  });
}

TEST(AttentionDecode, wrongArguments_areNamed) {
  using args = graft_attention_decode_args;
  const auto refused = [](int status, const std::vector<std::string>& texts,
                          const std::function<void(args&)>& edit, int live = 0) {
    case_data d({.lengths = {5, 6}, .head_dim = 8});
    context c;
    begin_step(c, live);
    args a = d.args();
    int64_t bytes = 0;
    ASSERT_EQ(GRAFT_OK, graft_attention_decode_workspace(c, &a, &bytes));
    workspace space(4 * bytes);
    a.workspace = space.data();
    a.workspace_bytes = bytes;
    edit(a);
    std::vector<std::string> expected = texts;
    expected.push_back("attention_decode");
    expect_error(status, graft_attention_decode(c, &a), expected);
    for (int64_t i = 0; i < d.out.count(); ++i) ASSERT_EQ(untouched, d.out[i]);
  };
  static const int32_t negative[] = {4, -1};
  refused(GRAFT_INVALID_DTYPE, {"dtype"}, [](args& a) { a.dtype = GRAFT_INT32; });
  refused(GRAFT_INVALID_SHAPE, {"head_dim", "257"}, [](args& a) { a.head_dim = 257; });
  refused(GRAFT_INVALID_SHAPE, {"heads", "0"}, [](args& a) { a.heads = 0; });
  refused(GRAFT_INVALID_SHAPE, {"cache_capacity", "0"}, [](args& a) { a.cache_capacity = 0; });
  refused(GRAFT_INVALID_SHAPE, {"2^63"}, [](args& a) {
    a.batch = a.heads = INT32_MAX;
    a.head_dim = 256;
  });
  refused(GRAFT_INVALID_SHAPE, {"q", "16", "15"}, [](args& a) { a.q_token_stride = 15; });
  refused(GRAFT_INVALID_SHAPE, {"out", "16", "15"}, [](args& a) { a.out_token_stride = 15; });
  refused(GRAFT_INVALID_ARGUMENT, {"extra", "2"}, [](args& a) { a.extra = 2; });
  refused(GRAFT_INVALID_SHAPE, {"scale", "inf"}, [](args& a) { a.scale = INFINITY; });
  refused(GRAFT_INVALID_ARGUMENT, {"q", "NULL"}, [](args& a) { a.q = nullptr; });
  refused(GRAFT_INVALID_ARGUMENT, {"k_cache", "NULL"}, [](args& a) { a.k_cache = nullptr; });
  refused(GRAFT_INVALID_ARGUMENT, {"v_cache", "NULL"}, [](args& a) { a.v_cache = nullptr; });
  refused(GRAFT_INVALID_ARGUMENT, {"out", "NULL"}, [](args& a) { a.out = nullptr; });
  refused(GRAFT_INVALID_ARGUMENT, {"lengths", "NULL"}, [](args& a) { a.lengths = nullptr; });
  refused(GRAFT_INVALID_SHAPE, {"lengths[1]", "-1"}, [](args& a) { a.lengths = negative; });
  refused(GRAFT_INVALID_SHAPE, {"workspace_bytes"}, [](args& a) { a.workspace_bytes -= 1; });
  refused(GRAFT_INVALID_ARGUMENT, {"workspace"}, [](args& a) { a.workspace = nullptr; });
  refused(GRAFT_INVALID_ALIGNMENT, {"workspace"}, [](args& a) {
    a.workspace = static_cast<char*>(a.workspace) + 4;
  });
  refused(GRAFT_INVALID_SHAPE, {"sequences", "batch = 2", "3"}, [](args&) {}, 3);
  context c;
  args a = arguments<args>();
  int64_t bytes = 0;
  expect_error(GRAFT_INVALID_SHAPE, graft_attention_decode_workspace(c, &a, &bytes),
               {"attention_decode_workspace", "heads"});
}

// ---- kv_append --------------------------------------------------------------------------------------

struct append_data {
  std::vector<int32_t> lengths, cu;  // cu empty: one token a sequence
  int64_t heads, head_dim, capacity, stride, batch, tokens;
  int dtype;
  array k, v, k_cache, v_cache;

  append_data(std::vector<int32_t> lengths, std::vector<int32_t> cu, int dtype, int64_t pad)
      : lengths(std::move(lengths)),
        cu(std::move(cu)),
        heads(3),
        head_dim(5),
        capacity(8),
        stride(heads * head_dim + pad),
        batch(static_cast<int64_t>(this->lengths.size())),
        tokens(this->cu.empty() ? batch : this->cu.back()),
        dtype(dtype),
        k(numbers(1).normals(tokens * stride), dtype, pad != 0),
        v(numbers(2).normals(tokens * stride), dtype, pad != 0),
        k_cache(std::vector<double>(static_cast<size_t>(batch * heads * capacity * head_dim),
                                    untouched),
                dtype, pad != 0),
        v_cache(k_cache.values(), dtype, pad != 0) {}
  graft_kv_append_args args() {
    auto a = arguments<graft_kv_append_args>();
    a.k = k.data();
    a.v = v.data();
    a.k_cache = k_cache.data();
    a.v_cache = v_cache.data();
    a.cu_seqlens = cu.empty() ? nullptr : cu.data();
    a.lengths = lengths.data();
    if (stride != heads * head_dim) a.k_token_stride = a.v_token_stride = stride;
    a.batch = batch;
    a.heads = heads;
    a.head_dim = head_dim;
    a.cache_capacity = capacity;
    a.dtype = dtype;
    return a;
  }
};

TEST(KvAppend, ring_vsDefinition) {
  on_every_isa([] {
    for (int dtype : float_dtypes())
      for (int64_t pad : {0, 3})
        for (int live : {0, 2})
          for (int threads : {1, 3})
            for (const std::vector<int32_t>& cu :
                 {std::vector<int32_t>{}, std::vector<int32_t>{0, 3, 3, 23, 25}}) {
              append_data d({0, 5, 7, 100}, cu, dtype, pad);
              std::vector<double> k = d.k_cache.values(), v = k;
              for (int64_t b = 0; b < (live == 0 ? 4 : live); ++b) {
                const auto s = static_cast<size_t>(b);
                const int64_t first = cu.empty() ? b : cu[s], end = cu.empty() ? b + 1 : cu[s + 1];
                for (int64_t t = first; t < end; ++t)
                  for (int64_t h = 0; h < d.heads; ++h)
                    for (int64_t c = 0; c < d.head_dim; ++c) {
                      const int64_t position = (d.lengths[s] + t - first) % d.capacity;
                      const auto to = static_cast<size_t>(
                          ((b * d.heads + h) * d.capacity + position) * d.head_dim + c);
                      k[to] = d.k[t * d.stride + h * d.head_dim + c];
                      v[to] = d.v[t * d.stride + h * d.head_dim + c];
                    }
              }
              context c(threads);
              begin_step(c, live);
              const graft_kv_append_args a = d.args();
              ASSERT_EQ(GRAFT_OK, graft_kv_append(c, &a)) << graft_last_error();
              EXPECT_EQ(k, d.k_cache.values());
              EXPECT_EQ(v, d.v_cache.values());
            }
  });
}

// Appending a prompt, then tokens one by one, and decoding is the attention of each last token.
TEST(KvAppend, thenDecode_isTheLastRowOfCausalAttention) {
  on_every_isa([] {
    constexpr int64_t n = 40, prompt = 33, H = 2, D = 16, row = H * D;
    array q(numbers(3).normals(n * row), GRAFT_FLOAT32), k(numbers(4).normals(n * row), GRAFT_FLOAT32),
        v(numbers(5).normals(n * row), GRAFT_FLOAT32), all(n * row, GRAFT_FLOAT32),
        lse(n * H, GRAFT_FLOAT32), out(row, GRAFT_FLOAT32);
    array k_cache(H * n * D, GRAFT_FLOAT32), v_cache(H * n * D, GRAFT_FLOAT32);
    context c;
    begin_step(c, 0);
    const int32_t offsets[] = {0, n};
    auto f = arguments<graft_attention_args>();
    f.q = q.data();
    f.k = k.data();
    f.v = v.data();
    f.out = all.data();
    f.lse = lse.floats();
    f.cu_seqlens_q = f.cu_seqlens_k = offsets;
    f.tokens_q = f.tokens_k = f.max_seqlen_q = f.max_seqlen_k = n;
    f.batch = 1;
    f.heads = H;
    f.head_dim = D;
    f.scale = 0.25f;
    f.causal = 1;
    int64_t bytes = 0;
    ASSERT_EQ(GRAFT_OK, graft_attention_workspace(c, &f, 0, &bytes));
    workspace space(bytes);
    f.workspace = space.data();
    f.workspace_bytes = bytes;
    ASSERT_EQ(GRAFT_OK, graft_attention_forward(c, &f)) << graft_last_error();

    int32_t length = 0;
    for (int64_t t = prompt - 1; t < n; ++t) {
      const int32_t prompt_offsets[] = {0, prompt};
      auto a = arguments<graft_kv_append_args>();
      const int64_t first = length == 0 ? 0 : t;
      a.k = k.floats() + first * row;
      a.v = v.floats() + first * row;
      a.k_cache = k_cache.data();
      a.v_cache = v_cache.data();
      a.cu_seqlens = length == 0 ? prompt_offsets : nullptr;
      a.lengths = &length;
      a.batch = 1;
      a.heads = H;
      a.head_dim = D;
      a.cache_capacity = n;
      ASSERT_EQ(GRAFT_OK, graft_kv_append(c, &a)) << graft_last_error();
      const int extra = length == 0 ? 0 : 1;
      if (length == 0) length = prompt;
      auto g = arguments<graft_attention_decode_args>();
      g.q = q.floats() + t * row;
      g.k_cache = k_cache.data();
      g.v_cache = v_cache.data();
      g.out = out.data();
      g.lengths = &length;
      g.batch = 1;
      g.heads = H;
      g.head_dim = D;
      g.cache_capacity = n;
      g.scale = 0.25f;
      g.extra = extra;
      ASSERT_EQ(GRAFT_OK, call(c, g)) << graft_last_error();
      length += extra;
      for (int64_t e = 0; e < row; ++e)
        ASSERT_NEAR(all[t * row + e], out[e], 1e-6) << "token " << t;
    }
  });
}

TEST(KvAppend, wrongArguments_areNamed) {
  using args = graft_kv_append_args;
  const auto refused = [](int status, const std::vector<std::string>& texts,
                          const std::function<void(args&)>& edit, int live = 0) {
    append_data d({1, 2}, {0, 2, 3}, GRAFT_FLOAT32, 0);
    context c;
    begin_step(c, live);
    args a = d.args();
    edit(a);
    std::vector<std::string> expected = texts;
    expected.push_back("kv_append");
    expect_error(status, graft_kv_append(c, &a), expected);
    for (int64_t i = 0; i < d.k_cache.count(); ++i) ASSERT_EQ(untouched, d.k_cache[i]);
  };
  static const int32_t negative[] = {1, -2}, falling[] = {0, 2, 1}, from_one[] = {1, 2, 3};
  refused(GRAFT_INVALID_DTYPE, {"dtype"}, [](args& a) { a.dtype = 9; });
  refused(GRAFT_INVALID_SHAPE, {"head_dim", "0"}, [](args& a) { a.head_dim = 0; });
  refused(GRAFT_INVALID_SHAPE, {"cache_capacity", "0"}, [](args& a) { a.cache_capacity = 0; });
  refused(GRAFT_INVALID_SHAPE, {"2^63"}, [](args& a) {
    a.batch = a.heads = INT32_MAX;
    a.head_dim = 256;
  });
  refused(GRAFT_INVALID_SHAPE, {"k", "15", "14"}, [](args& a) { a.k_token_stride = 14; });
  refused(GRAFT_INVALID_ARGUMENT, {"k", "NULL"}, [](args& a) { a.k = nullptr; });
  refused(GRAFT_INVALID_ARGUMENT, {"v_cache", "NULL"}, [](args& a) { a.v_cache = nullptr; });
  refused(GRAFT_INVALID_ARGUMENT, {"lengths", "NULL"}, [](args& a) { a.lengths = nullptr; });
  refused(GRAFT_INVALID_SHAPE, {"lengths[1]", "-2"}, [](args& a) { a.lengths = negative; });
  refused(GRAFT_INVALID_SHAPE, {"cu_seqlens", "sequence 1", "-1"},
          [](args& a) { a.cu_seqlens = falling; });
  refused(GRAFT_INVALID_SHAPE, {"cu_seqlens[0]", "1"}, [](args& a) { a.cu_seqlens = from_one; });
  refused(GRAFT_INVALID_SHAPE, {"sequences", "batch = 2", "3"}, [](args&) {}, 3);
}

}  // namespace
