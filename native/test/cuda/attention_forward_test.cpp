// CUDA attention forward. Oracle: softmax attention by its definition, in double, on the values as
// stored, with the dropout mask of the tests' own Philox; beside it the CPU backend on the same inputs.
// Tolerance, the architecture's rule: max|got - f64| <= 2 max|CPU - f64| + 2 ulp(max|f64|) a tensor;
// where the CPU's result is infinite or NaN, so is the device's.
#include <set>

#include "../../cuda/attention_loads.h"
#include "attention_forward_support.h"

using namespace graft_test;
using namespace graft_test::cuda_attention;

namespace {

// Tiles of a head dim class, for lengths around their multiples.
graft::cuda::attention_tile tile_of(int dtype, int head_dim) {
  return dtype == GRAFT_BFLOAT16 ? graft::cuda::forward_tile<graft::cuda::bf16>(head_dim)
                                 : graft::cuda::forward_tile<float>(head_dim);
}

}  // namespace

TEST(CudaAttention, lengthsAcrossTiles_vsDouble) {
  for (int dtype : float_dtypes()) {
    const int most = 2 * tile_of(dtype, 64).q_rows() + 1;
    std::vector<int> lengths = {0,  1,  2,  7,  8,  9,  15,  16,  17,  31,  32, 33,
                                63, 64, 65, 97, 127, 128, 129, 192, 255, most};
    if (full_grid()) {
      lengths.clear();
      for (int n = 0; n <= most; ++n) lengths.push_back(n);
    }
    for (bool causal : {false, true})
      for (int n : lengths)
        if (n > 0 || causal) run_case({.q_lens = {n}, .dtype = dtype, .causal = causal});
  }
}

TEST(CudaAttention, everyClassAroundItsTiles_vsDouble) {
  for (int dtype : float_dtypes())
    for (int head_dim : {32, 64, 96, 128, 256}) {
      const auto tile = tile_of(dtype, head_dim);
      for (int off : {-1, 0, 1})
        for (bool causal : {false, true}) {
          if (!full_grid() && causal != (off == 0)) continue;
          run_case({.q_lens = {tile.q_rows() + off},
               .k_lens = {2 * tile.k_rows + off},
               .head_dim = head_dim,
               .dtype = dtype,
               .causal = causal,
               .dropout = off == 0 ? 0 : 26});
        }
    }
}

TEST(CudaAttention, headDims_vsDouble) {
  std::vector<int64_t> dims = {1, 2, 7, 8, 16, 17, 24, 31, 33, 50, 63, 65, 80, 97, 100, 127, 129, 160, 255};
  if (full_grid()) {
    dims.clear();
    for (int64_t d = 1; d <= 256; ++d) dims.push_back(d);
  }
  for (int dtype : float_dtypes())
    for (int64_t D : dims)
      run_case({.q_lens = {21}, .k_lens = {37}, .heads = 2, .head_dim = D, .dtype = dtype,
           .causal = true, .dropout = D % 2 == 0 ? 26 : 0});
}

TEST(CudaAttention, queriesAndKeysOfOtherNumber_vsDouble) {
  for (int dtype : float_dtypes())
    for (bool causal : {false, true})
      for (const auto& [q, k] : std::vector<std::pair<int, int>>{
               {5, 9}, {9, 5}, {70, 130}, {130, 70}, {64, 1}, {1, 64}, {1, 300}, {300, 1}, {0, 5},
               {5, 0}, {200, 65}, {129, 128}, {128, 129}})
        // Maxima over a few dozen numbers are luck: single queries get more heads.
        run_case({.q_lens = {q}, .k_lens = {k}, .heads = q == 1 ? 24 : 2, .head_dim = 16, .dtype = dtype,
             .causal = causal, .dropout = causal ? 13 : 0});
}

TEST(CudaAttention, packedSequences_vsDouble_otherRowsUntouched) {
  for (int dtype : float_dtypes())
    for (int live : {0, 5})
      for (int64_t pad : {0, 5, 8})
        run_case({.q_lens = {17, 0, 130, 4, 0, 66, 1}, .k_lens = {17, 3, 100, 0, 0, 70, 1}, .heads = 3,
             .head_dim = 24, .dtype = dtype, .causal = live == 0, .dropout = 20, .pad = pad,
             .live = live});
}

TEST(CudaAttention, packedQkv_vsDouble) {
  for (int dtype : float_dtypes())
    for (int64_t D : {50, 64})
      run_case({.q_lens = {40, 0, 77}, .heads = 3, .head_dim = D, .dtype = dtype, .causal = true,
           .packed_qkv = true});
}

// Each pointer alone off its alignment, and all of them.
TEST(CudaAttention, unalignedPointers_vsDouble) {
  for (int dtype : float_dtypes())
    for (int64_t D : {8, 64}) {
      const int64_t element = dtype == GRAFT_BFLOAT16 ? 2 : 4;
      for (int64_t bytes = element; bytes < 16; bytes += full_grid() ? element : 3 * element)
        for (int which = 0; which <= 4; ++which) {
          problem p{.q_lens = {19, 3}, .k_lens = {35, 4}, .heads = 2, .head_dim = D,
                    .dtype = dtype, .causal = true};
          for (int i = 0; i < 4; ++i)
            if (which == 4 || which == i) p.shift[i] = bytes;
          run_case(p);
        }
    }
}

TEST(CudaAttention, dropoutMask_isTheContractsBitForBit) {
  for (int dtype : float_dtypes())
    for (int64_t D : {32, 64, 96, 128, 256})
      for (int dropout : {1, 26, 128, 255}) {
        if (!full_grid() && (dropout != 128) != (D == 64)) continue;
        SCOPED_TRACE(std::to_string(D) + " " + std::to_string(dropout));
        const int keys = 150;
        for (int64_t first = 0; first < keys; first += D) {
          expect_mask({.q_lens = {3, 37}, .k_lens = {2, keys}, .heads = 2, .head_dim = D,
                       .dtype = dtype, .dropout = dropout},
                      first, true);
          if (!full_grid()) break;
        }
      }
}

TEST(CudaAttention, scaleOfAnySign_vsDouble) {
  for (int dtype : float_dtypes())
    for (float scale : {-0.5f, 0.0f, 1.0f})
      run_case({.q_lens = {70}, .k_lens = {66}, .head_dim = 16, .dtype = dtype, .causal = true,
           .scale = scale});
}

// Logits of hundreds: the maximum is subtracted before any exponential.
TEST(CudaAttention, largeLogits_vsDouble) {
  for (int dtype : float_dtypes())
    run_case({.q_lens = {140}, .head_dim = 32, .dtype = dtype, .causal = true, .scale = 1.0f},
        [](case_data& d) {
          for (int64_t i = 0; i < d.q.count(); ++i) d.q.set(i, d.q[i] * 30);
        });
}

// Infinities and NaN reach the rows that they reach on the CPU, and no others: under a causal mask the
// queries before a bad key keep their finite results.
TEST(CudaAttention, badNumbers_stayInTheirRows) {
  for (int dtype : float_dtypes())
    for (int64_t D : {20, 64, 200})
      for (int n : {40, 140}) {
        if (!full_grid() && D == 200 && n == 140) continue;
        for (int64_t bad : {13, 37}) {
          const problem p{.q_lens = {n}, .head_dim = D, .dtype = dtype, .causal = true};
          const int64_t at = bad * D + 3;
          SCOPED_TRACE("token " + std::to_string(bad));
          run_case(p, [&](case_data& d) { d.q.set(at, nan_value); });
          run_case(p, [&](case_data& d) { d.k.set(at, nan_value); });
          run_case(p, [&](case_data& d) { d.v.set(at, nan_value); });
          run_case(p, [&](case_data& d) { d.v.set(at, infinity); });
          // Logits of -inf for the queries whose number in that column is positive, of +inf else.
          run_case(p, [&](case_data& d) { d.k.set(at, -infinity); });
        }
      }
}

// A row all of whose logits are -inf counts as one without keys, and first tiles of nothing else leave
// no trace in the later ones.
TEST(CudaAttention, rowsOfMinusInfinity_areEmpty) {
  for (int dtype : float_dtypes())
    for (int empty : {70, 200})
      run_case({.q_lens = {3}, .k_lens = {200}, .head_dim = 8, .dtype = dtype}, [&](case_data& d) {
        for (int64_t j = 0; j < empty; ++j) d.k.set(j * 8 + 2, -infinity);
        for (int64_t i = 0; i < 3; ++i) d.q.set(i * 8 + 2, 1);
      });
}

// Any order of warps and blocks gives the same bits.
TEST(CudaAttention, orders_sameBits) {
  GRAFT_SKIP_ON_REAL_CARD();
  for (int dtype : float_dtypes())
    for (int64_t D : {64, 256}) {
      const case_data d({.q_lens = {140, 5}, .k_lens = {170, 0}, .heads = 2, .head_dim = D,
                         .dtype = dtype, .causal = true, .dropout = 40});
      expect_same_bits_in_any_order(full_grid() ? 40 : 5, [&] { return bits_of(on_device(d)); });
    }
}

TEST(CudaAttention, offsetsBeyond32Bits) {
  for (const std::vector<int32_t>& ends : {std::vector<int32_t>{0, 2, 4}, {0, 4, 4}, {0, 66, 66}})
    expect_offsets_beyond_32_bits(ends, GRAFT_ATTENTION_AUTO);
}

// A captured call reads the step of each replay: live sequences and the mask.
TEST(CudaAttention, capturedCall_readsTheStepOfItsReplay) {
  case_data d({.q_lens = {20, 30}, .heads = 2, .head_dim = 32, .dropout = 64});
  cuda_context c;
  device_array q(c, d.q), k(c, d.k), v(c, d.v), out(c, d.out), lse(c, d.lse), cu(c, d.cu_q);
  const graft_attention_args a = d.args(q.data(), k.data(), v.data(), out.data(),
                                        lse.data<float>(), cu.data<int32_t>(), cu.data<int32_t>());
  ASSERT_EQ(GRAFT_OK, graft_capture_begin(c)) << graft_last_error();
  ASSERT_EQ(GRAFT_OK, graft_attention_forward(c, &a)) << graft_last_error();
  graft_graph* graph = nullptr;
  ASSERT_EQ(GRAFT_OK, graft_capture_end(c, &graph)) << graft_last_error();
  for (int live : {2, 1}) {
    for (uint64_t s : {3u, 4u}) {
      out.upload(d.out.data());
      c.step(seed, s, 0, 1, live);
      ASSERT_EQ(GRAFT_OK, graft_graph_launch(c, graph)) << graft_last_error();
      c.synchronize();
      array replayed(d.out.count(), d.p.dtype), direct(d.out.count(), d.p.dtype);
      out.download(replayed);
      out.upload(d.out.data());
      ASSERT_EQ(GRAFT_OK, graft_attention_forward(c, &a)) << graft_last_error();
      c.synchronize();
      out.download(direct);
      EXPECT_EQ(direct.bits(), replayed.bits());
      for (int64_t i = 0; i < d.out.count(); ++i)
        ASSERT_EQ(i / d.out_stride >= (live == 2 ? 50 : 20), replayed[i] == untouched) << i;
      const uint64_t key = stream_key(seed, s, op_id);
      EXPECT_NE(key, stream_key(seed, step, op_id));
    }
  }
  ASSERT_EQ(GRAFT_OK, graft_graph_destroy(c, graph));
}

TEST(CudaAttention, nothingToDo_isDone) { expect_nothingToDo_isDone(GRAFT_ATTENTION_AUTO); }

TEST(CudaAttention, wrongArguments_areNamed) {
  cuda_context c;
  case_data d({.q_lens = {4}, .head_dim = 8});
  device_array q(c, d.q), out(c, d.out), lse(c, d.lse), cu(c, d.cu_q);
  const graft_attention_args good = d.args(q.data(), q.data(), q.data(), out.data(),
                                           lse.data<float>(), cu.data<int32_t>(),
                                           cu.data<int32_t>());
  graft_attention_args a = good;
  a.head_dim = 257;
  expect_error(GRAFT_INVALID_SHAPE, graft_attention_forward(c, &a),
               {"attention_forward", "head_dim", "1..256", "257"});
  a = good;
  a.v = static_cast<const char*>(a.v) + 1;
  expect_error(GRAFT_INVALID_ALIGNMENT, graft_attention_forward(c, &a), {"v", "2 bytes"});
  a = good;
  a.batch = a.heads = INT32_MAX;
  a.head_dim = 1;
  a.q_token_stride = a.k_token_stride = a.v_token_stride = a.out_token_stride = INT32_MAX;
  a.max_seqlen_q = INT32_MAX;
  a.tokens_q = a.tokens_k = 4;
  expect_error(GRAFT_INVALID_SHAPE, graft_attention_forward(c, &a), {"max_seqlen_q", "2^63"});
}

// The four (for 64-byte halves) or eight 16-byte groups of banks that ldmatrix' eight rows, and a
// fragment's store, fall into: all different.
template <typename T, int columns>
void expect_no_conflicts() {
  using layout = graft::cuda::shared_tile<T, columns>;
  std::set<int> places;
  for (int row = 0; row < 16; ++row)
    for (int c = 0; c < layout::chunks; ++c) {
      const int at = layout::at(row, c) * static_cast<int>(sizeof(T));
      EXPECT_EQ(0, at % 16);
      EXPECT_TRUE(places.insert(at).second) << "two chunks at one place";
      EXPECT_EQ(row, at / (columns * static_cast<int>(sizeof(T))));
    }
  for (int first = 0; first < 16; first += 8)
    for (int c = 0; c < layout::chunks; ++c) {
      std::set<int> groups;
      for (int row = first; row < first + 8; ++row)
        groups.insert(layout::at(row, c) * static_cast<int>(sizeof(T)) / 16 % 8);
      EXPECT_EQ(8u, groups.size()) << columns << " columns, chunk " << c;
    }
}

TEST(CudaAttention, sharedTiles_haveNoBankConflicts) {
  using graft::cuda::bf16;
  expect_no_conflicts<bf16, 32>();
  expect_no_conflicts<bf16, 64>();
  expect_no_conflicts<bf16, 96>();
  expect_no_conflicts<bf16, 128>();
  expect_no_conflicts<bf16, 256>();
  expect_no_conflicts<float, 32>();
  expect_no_conflicts<float, 64>();
  expect_no_conflicts<float, 96>();
  expect_no_conflicts<float, 128>();
  expect_no_conflicts<float, 256>();
}
