// CUDA attention backward beside its oracle and the CPU backend (attention_gradient_support.h).
#include "attention_gradient_support.h"

#include "../../cuda/attention_backward_tiles.h"

using namespace graft_test;
using namespace graft_test::attention_gradients;

namespace {

template <int which>
graft::cuda::gradient_tile tile_of(int dtype, int head_dim) {
  using namespace graft::cuda;
  if (dtype == GRAFT_BFLOAT16)
    return which == DQ ? dq_tile<graft::cuda::bf16>(head_dim)
                       : dkdv_tile<graft::cuda::bf16>(head_dim);
  return which == DQ ? dq_tile<float>(head_dim) : dkdv_tile<float>(head_dim);
}

}  // namespace

// Around the tiles, and around 128 keys, to which rows are normalised anew.
TEST(CudaAttentionBackward, lengthsAcrossTiles_vsDouble) {
  std::vector<int> lengths = {0, 1, 2, 9, 16, 17, 33, 64, 65, 127, 128, 129, 200};
  if (full_grid()) {
    lengths.clear();
    for (int n = 0; n <= 270; ++n) lengths.push_back(n);
  }
  for (int dtype : float_dtypes())
    for (bool causal : {false, true})
      for (int n : lengths)
        if (n > 0 || causal)
          run({.q_lens = {n}, .head_dim = 32, .dtype = dtype, .causal = causal});
}

TEST(CudaAttentionBackward, everyClassAroundItsTiles_vsDouble) {
  for (int dtype : float_dtypes())
    for (int head_dim : {32, 64, 96, 128, 256}) {
      const auto dq = tile_of<DQ>(dtype, head_dim), dkdv = tile_of<DK>(dtype, head_dim);
      for (int off : {-1, 0, 1}) {
        if (!full_grid() && off != head_dim / 32 % 3 - 1) continue;
        for (bool causal : {false, true})
          for (int dropout : {0, 26}) {
            if (!full_grid() && causal != (dropout == 0)) continue;
            run({.q_lens = {std::max(dq.rows(), 2 * dkdv.stream_rows) + off},
                 .k_lens = {std::max(dkdv.rows(), 2 * dq.stream_rows) + off + 16},
                 .head_dim = head_dim,
                 .dtype = dtype,
                 .causal = causal,
                 .dropout = dropout});
          }
      }
    }
}

// More keys than a row is normalised anew for, in each class.
TEST(CudaAttentionBackward, longRows_vsDouble) {
  for (int dtype : float_dtypes())
    for (int head_dim : {32, 64, 96, 128, 256})
      for (bool causal : {false, true}) {
        if (!full_grid() && causal != (head_dim % 64 == 0)) continue;
        run({.q_lens = {37}, .k_lens = {150}, .head_dim = head_dim, .dtype = dtype,
             .causal = causal, .dropout = causal ? 0 : 26});
      }
}

TEST(CudaAttentionBackward, headDims_vsDouble) {
  std::vector<int64_t> dims = {1, 2, 7, 8, 17, 24, 31, 33, 50, 65, 80, 97, 100, 129, 160, 255};
  if (full_grid()) {
    dims.clear();
    for (int64_t d = 1; d <= 256; ++d) dims.push_back(d);
  }
  for (int dtype : float_dtypes())
    for (int64_t D : dims)
      run({.q_lens = {21}, .k_lens = {37}, .heads = 2, .head_dim = D, .dtype = dtype,
           .causal = true, .dropout = D % 2 == 0 ? 26 : 0});
}

TEST(CudaAttentionBackward, queriesAndKeysOfOtherNumber_vsDouble) {
  for (int dtype : float_dtypes())
    for (bool causal : {false, true})
      for (const auto& [q, k] : std::vector<std::pair<int, int>>{
               {5, 9}, {9, 5}, {70, 130}, {130, 70}, {64, 1}, {1, 64}, {1, 200}, {200, 1}, {0, 5},
               {5, 0}, {129, 128}, {128, 129}})
        // Maxima over a few dozen numbers are luck: single rows get more heads.
        run({.q_lens = {q}, .k_lens = {k}, .heads = q == 1 || k == 1 ? 12 : 2, .head_dim = 16,
             .dtype = dtype, .causal = causal, .dropout = causal ? 13 : 0});
}

TEST(CudaAttentionBackward, packedSequences_vsDouble_otherRowsUntouched) {
  for (int dtype : float_dtypes())
    for (int live : {0, 5})
      for (int64_t pad : {0, 5, 8})
        run({.q_lens = {17, 0, 130, 4, 0, 66, 1}, .k_lens = {17, 3, 100, 0, 0, 70, 1}, .heads = 2,
             .head_dim = 24, .dtype = dtype, .causal = live == 0, .dropout = 20, .pad = pad,
             .live = live});
}

// Each pointer alone off its alignment, and all of them.
TEST(CudaAttentionBackward, unalignedPointers_vsDouble) {
  for (int dtype : float_dtypes())
    for (int64_t D : {8, 64}) {
      const int64_t element = dtype == GRAFT_BFLOAT16 ? 2 : 4;
      for (int64_t bytes = element; bytes < 16; bytes += full_grid() ? element : 3 * element)
        for (size_t which = 0; which <= operands; ++which) {
          problem p{.q_lens = {19, 3}, .k_lens = {D == 8 ? 140 : 35, 4}, .head_dim = D,
                    .dtype = dtype, .causal = true};
          for (size_t n = 0; n < operands; ++n)
            if (which == operands || which == n) p.shift[n] = bytes;
          run(p);
        }
    }
}

TEST(CudaAttentionBackward, dropoutMask_isTheContractsBitForBit) {
  for (int dtype : float_dtypes())
    for (int64_t D : {32, 64, 96, 128, 256})
      for (int dropout : {1, 26, 128, 255}) {
        if (!full_grid() && (dropout != 128) != (D == 64)) continue;
        SCOPED_TRACE(std::to_string(D) + " " + std::to_string(dropout));
        const int queries = static_cast<int>(std::min<int64_t>(D, 70));
        expect_mask({.q_lens = {3, queries}, .k_lens = {2, 50}, .heads = 2, .head_dim = D,
                     .dtype = dtype, .dropout = dropout});
      }
}

TEST(CudaAttentionBackward, loneKeys_haveNoGradient) {
  for (int dtype : float_dtypes()) expect_loneKeys_haveNoGradient(dtype, GRAFT_ATTENTION_AUTO);
}

TEST(CudaAttentionBackward, scaleOfAnySign_vsDouble) {
  for (int dtype : float_dtypes())
    for (float scale : {-0.5f, 0.0f, 1.0f})
      for (int keys : {66, 140})
        run({.q_lens = {70}, .k_lens = {keys}, .head_dim = 16, .dtype = dtype, .causal = true,
             .scale = scale});
}

// Logits of hundreds: their log-sum-exp is rounded at its own magnitude.
TEST(CudaAttentionBackward, largeLogits_vsDouble) {
  for (int dtype : float_dtypes())
    for (int n : {60, 140})
      run({.q_lens = {n}, .head_dim = 32, .dtype = dtype, .causal = true, .scale = 1.0f},
          [](case_data& d) {
            for (int64_t i = 0; i < d.x[Q].count(); ++i) d.x[Q].set(i, d.x[Q][i] * 30);
          });
}

// Infinities and NaN reach the rows that they reach on the CPU, and no others.
TEST(CudaAttentionBackward, badNumbers_stayInTheirRows) {
  for (int dtype : float_dtypes())
    for (int64_t D : {20, 64, 200})
      for (int n : {40, 140}) {
        if (!full_grid() && D != 20 && (n == 140) != (D == 64)) continue;
        for (int64_t bad : {13, 37}) {
          const problem p{.q_lens = {n}, .head_dim = D, .dtype = dtype, .causal = true};
          const int64_t at = bad * D + 3;
          SCOPED_TRACE("token " + std::to_string(bad));
          for (int which : {Q, K, V, DOUT}) {
            SCOPED_TRACE(names[which]);
            run(p, [&](case_data& d) { d.x[static_cast<size_t>(which)].set(at, nan_value); });
          }
          run(p, [&](case_data& d) { d.x[V].set(at, infinity); });
          // Logits of -inf for the queries whose number in that column is positive, of +inf else.
          run(p, [&](case_data& d) { d.x[K].set(at, -infinity); });
        }
      }
}

// Queries that see no key, before those that do, add nothing whatever they hold.
TEST(CudaAttentionBackward, rowsWithoutKeys_addNothing) {
  for (int dtype : float_dtypes())
    run({.q_lens = {90}, .k_lens = {40}, .head_dim = 16, .dtype = dtype, .causal = true},
        [](case_data& d) {
          for (int64_t i = 0; i < 50 * 16; ++i) {
            d.x[Q].set(i, nan_value);
            d.x[DOUT].set(i, infinity);
          }
        });
}

// A row all of whose logits are -inf counts as one without keys.
TEST(CudaAttentionBackward, rowsOfMinusInfinity_areEmpty) {
  for (int dtype : float_dtypes())
    for (int empty : {70, 200})
      run({.q_lens = {3}, .k_lens = {200}, .head_dim = 8, .dtype = dtype}, [&](case_data& d) {
        for (int64_t j = 0; j < empty; ++j) d.x[K].set(j * 8 + 2, -infinity);
        for (int64_t i = 0; i < 3; ++i) d.x[Q].set(i * 8 + 2, 1);
      });
}

// Any order of warps and blocks gives the same bits.
TEST(CudaAttentionBackward, orders_sameBits) {
  GRAFT_SKIP_ON_REAL_CARD();
  for (int dtype : float_dtypes())
    for (int64_t D : {64, 256}) {
      const case_data d({.q_lens = {140, 5}, .k_lens = {150, 0}, .head_dim = D, .dtype = dtype,
                         .causal = true, .dropout = 40});
      expect_same_bits_in_any_order(full_grid() ? 40 : 4, [&] { return bits_of(on_device(d)); });
    }
}

// Gradients of a packed [tokens, 3, H, D] product, read and written in place of one another.
TEST(CudaAttentionBackward, packedQkv_asApart) {
  for (int dtype : float_dtypes()) {
    const problem p{.q_lens = {40, 0, 77}, .heads = 2, .head_dim = 64, .dtype = dtype,
                    .causal = true};
    const case_data d(p);
    const gradients apart = on_device(d);
    device_case on(d);
    const int64_t element = dtype == GRAFT_BFLOAT16 ? 2 : 4, tokens = d.tokens_q;
    array qkv(3 * tokens * d.row, dtype);
    for (int64_t i = 0; i < tokens * d.row; ++i)
      for (int64_t part = 0; part < 3; ++part)
        qkv.set(i / d.row * 3 * d.row + part * d.row + i % d.row,
                d.x[static_cast<size_t>(part)][i]);
    device_array in(on.c, qkv), out(on.c, qkv);
    graft_attention_args a = on.a;
    const auto part = [&](const device_array& x, int64_t n) {
      return x.data<char>() + n * d.row * element;
    };
    a.q = part(in, 0);
    a.k = part(in, 1);
    a.v = part(in, 2);
    a.dq = part(out, 0);
    a.dk = part(out, 1);
    a.dv = part(out, 2);
    a.q_token_stride = a.k_token_stride = a.v_token_stride = a.dq_token_stride =
        a.dk_token_stride = a.dv_token_stride = 3 * d.row;
    ASSERT_EQ(GRAFT_OK, graft_attention_forward(on.c, &a)) << graft_last_error();
    ASSERT_EQ(GRAFT_OK, graft_attention_backward(on.c, &a)) << graft_last_error();
    on.c.synchronize();
    array got(qkv.count(), dtype);
    out.download(got);
    for (int64_t i = 0; i < (tokens - 1) * d.row; ++i)
      for (int64_t n = 0; n < 3; ++n)
        ASSERT_EQ(apart[static_cast<size_t>(n)][i],
                  got[i / d.row * 3 * d.row + n * d.row + i % d.row])
            << names[DQ + n] << " " << i;
  }
}

// Offsets of 2^31 elements and more. The memory between the rows is never touched, so it costs address
// space only.
TEST(CudaAttentionBackward, offsetsBeyond32Bits) {
  constexpr int64_t D = 16;
  for (const std::vector<int32_t>& ends : {std::vector<int32_t>{0, 2, 4}, {0, 4, 4}, {0, 66, 66}}) {
    const int32_t tokens = ends[2];
    const int64_t stride = int64_t{1} << (tokens == 4 ? 30 : 25);
    const case_data d({.q_lens = {ends[1], tokens - ends[1]}, .head_dim = D, .causal = true});
    device_case on(d);
    const gradients near = on_device(d);
    void* memory = nullptr;
    ASSERT_EQ(GRAFT_OK, graft_malloc(on.c, ((tokens - 1) * stride + operands * D) * 2, &memory))
        << graft_last_error();
    auto* base = static_cast<uint16_t*>(memory);
    for (int64_t t = 0; t < tokens; ++t) {
      std::vector<uint16_t> row;
      for (const array& x : d.x)
        for (int64_t i = 0; i < D; ++i)
          row.push_back(float_to_bf16(static_cast<float>(x[t * D + i])));
      ASSERT_EQ(GRAFT_OK, graft_memcpy(on.c, base + t * stride, row.data(), operands * D * 2,
                                       GRAFT_HOST_TO_DEVICE));
      on.c.synchronize();
    }
    std::array<void*, operands> to{};
    for (int64_t n = 0; n < operands; ++n) to[static_cast<size_t>(n)] = base + n * D;
    graft_attention_args a =
        d.args(to, on.lse.data<float>(), on.cu_q.data<int32_t>(), on.cu_k.data<int32_t>());
    a.q_token_stride = a.k_token_stride = a.v_token_stride = a.out_token_stride =
        a.dout_token_stride = a.dq_token_stride = a.dk_token_stride = a.dv_token_stride = stride;
    a.workspace = on.a.workspace;
    a.workspace_bytes = on.a.workspace_bytes;
    ASSERT_EQ(GRAFT_OK, graft_attention_forward(on.c, &a)) << graft_last_error();
    ASSERT_EQ(GRAFT_OK, graft_attention_backward(on.c, &a)) << graft_last_error();
    on.c.synchronize();
    for (int64_t t = 0; t < tokens; ++t) {
      std::vector<uint16_t> row(3 * D);
      ASSERT_EQ(GRAFT_OK, graft_memcpy(on.c, row.data(), base + t * stride + DQ * D, 3 * D * 2,
                                       GRAFT_DEVICE_TO_HOST));
      on.c.synchronize();
      for (int64_t i = 0; i < 3 * D; ++i)
        EXPECT_EQ(near[static_cast<size_t>(i / D)][t * D + i % D],
                  static_cast<double>(bf16_to_float(row[static_cast<size_t>(i)])));
    }
    ASSERT_EQ(GRAFT_OK, graft_free(on.c, memory));
  }
}

// A captured call reads the step of each replay: live sequences and the mask.
TEST(CudaAttentionBackward, capturedCall_readsTheStepOfItsReplay) {
  const case_data d({.q_lens = {20, 30}, .heads = 2, .head_dim = 32, .dropout = 64});
  device_case on(d);
  ASSERT_EQ(GRAFT_OK, graft_attention_forward(on.c, &on.a)) << graft_last_error();
  ASSERT_EQ(GRAFT_OK, graft_capture_begin(on.c)) << graft_last_error();
  ASSERT_EQ(GRAFT_OK, graft_attention_backward(on.c, &on.a)) << graft_last_error();
  graft_graph* graph = nullptr;
  ASSERT_EQ(GRAFT_OK, graft_capture_end(on.c, &graph)) << graft_last_error();
  std::vector<std::vector<uint8_t>> all;
  for (int live : {2, 1})
    for (uint64_t s : {3u, 4u}) {
      on.c.step(seed, s, 0, 1, live);
      for (size_t n : {DQ, DK, DV}) on.x[n]->upload(d.x[n].data());
      ASSERT_EQ(GRAFT_OK, graft_graph_launch(on.c, graph)) << graft_last_error();
      const gradients replayed = on.results(d);
      for (size_t n : {DQ, DK, DV}) on.x[n]->upload(d.x[n].data());
      ASSERT_EQ(GRAFT_OK, graft_attention_backward(on.c, &on.a)) << graft_last_error();
      EXPECT_EQ(bits_of(on.results(d)), bits_of(replayed));
      for (const array& x : replayed)
        for (int64_t i = 0; i < x.count(); ++i)
          ASSERT_EQ(i / d.stride >= (live == 2 ? 50 : 20), x[i] == untouched) << i;
      all.push_back(bits_of(replayed));
    }
  EXPECT_NE(all[0], all[1]) << "another step draws another mask";
  ASSERT_EQ(GRAFT_OK, graft_graph_destroy(on.c, graph));
}

TEST(CudaAttentionBackward, nothingToDo_isDone) {
  expect_nothingToDo_isDone(GRAFT_ATTENTION_AUTO);
}

TEST(CudaAttentionBackward, wrongArguments_areNamed) {
  const case_data d({.q_lens = {4}, .head_dim = 8});
  device_case on(d);
  graft_attention_args a = on.a;
  a.dk_token_stride = 7;
  expect_error(GRAFT_INVALID_SHAPE, graft_attention_backward(on.c, &a),
               {"attention_backward", "dk", "7"});
  a = on.a;
  a.dout = nullptr;
  expect_error(GRAFT_INVALID_ARGUMENT, graft_attention_backward(on.c, &a),
               {"attention_backward", "dout", "NULL"});
  a = on.a;
  a.workspace_bytes -= 1;
  expect_error(GRAFT_INVALID_SHAPE, graft_attention_backward(on.c, &a),
               {"attention_backward", "workspace_bytes"});
  a = on.a;
  a.workspace = nullptr;
  expect_error(GRAFT_INVALID_ARGUMENT, graft_attention_backward(on.c, &a),
               {"attention_backward", "workspace", "NULL"});
  a = on.a;
  a.workspace = static_cast<char*>(a.workspace) + 4;
  expect_error(GRAFT_INVALID_ALIGNMENT, graft_attention_backward(on.c, &a),
               {"attention_backward", "workspace", "64 bytes"});
}

// 16 bytes a query and head, whatever the lengths.
TEST(CudaAttentionBackward, workspace_isLinearInTokens) {
  cuda_context c;
  auto a = arguments<graft_attention_args>();
  a.batch = 2;
  a.heads = 12;
  a.head_dim = 64;
  a.scale = 0.125f;
  a.tokens_q = a.tokens_k = a.max_seqlen_q = a.max_seqlen_k = 1 << 20;
  int64_t bytes = -1;
  ASSERT_EQ(GRAFT_OK, graft_attention_workspace(c, &a, 1, &bytes)) << graft_last_error();
  EXPECT_EQ(int64_t{16} * 12 << 20, bytes);
  ASSERT_EQ(GRAFT_OK, graft_attention_workspace(c, &a, 0, &bytes)) << graft_last_error();
  EXPECT_EQ(0, bytes);
}

// What sm_86, sm_89 and sm_120 give a block.
TEST(CudaAttentionBackward, tiles_fitEveryCard) {
  using namespace graft::cuda;
  for (int head_dim : {32, 64, 96, 128, 256}) {
    EXPECT_LE(gradient_shared_bytes<graft::cuda::bf16>(dq_tile<graft::cuda::bf16>(head_dim)),
              99 * 1024);
    EXPECT_LE(gradient_shared_bytes<float>(dq_tile<float>(head_dim)), 99 * 1024);
    EXPECT_LE(dkdv_shared_bytes<graft::cuda::bf16>(dkdv_tile<graft::cuda::bf16>(head_dim)),
              99 * 1024);
    EXPECT_LE(dkdv_shared_bytes<float>(dkdv_tile<float>(head_dim)), 99 * 1024);
  }
}
