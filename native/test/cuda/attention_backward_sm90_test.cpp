// CUDA attention backward by the Hopper kernels (engine 2, both passes) beside its oracle and the CPU backend
// (attention_gradient_support.h).
#include "../../cuda/attention_loads.h"
#include "attention_gradient_support.h"
#include "attention_sm90_support.h"

using namespace graft_test;
using namespace graft_test::attention_gradients;

namespace {

using CudaAttentionBackwardSm90 = sm90_test;

void run_sm90(problem p, const change& edit = nullptr) {
  p.engine = GRAFT_ATTENTION_SM90;
  run(p, edit);
}

}  // namespace

// Around the tiles, and around 128 keys, to which rows are normalised anew.
TEST_F(CudaAttentionBackwardSm90, lengthsAcrossTiles_vsDouble) {
  std::vector<int> lengths = {1, 17, 63, 64, 65, 127, 128, 129, 192, 257, 400};
  if (full_grid()) {
    lengths.clear();
    for (int n = 1; n <= 300; ++n) lengths.push_back(n);
  }
  for (bool causal : {false, true})
    for (int n : lengths) run_sm90({.q_lens = {n}, .causal = causal});
}

TEST_F(CudaAttentionBackwardSm90, headDims_vsDouble) {
  for (int64_t D = 8; D <= 64; D += 8)
    for (int dropout : {0, 26})
      run_sm90({.q_lens = {90}, .k_lens = {190}, .heads = 2, .head_dim = D, .causal = D % 16 == 0,
                .dropout = dropout});
}

TEST_F(CudaAttentionBackwardSm90, queriesAndKeysOfOtherNumber_vsDouble) {
  for (bool causal : {false, true})
    for (const auto& [q, k] : std::vector<std::pair<int, int>>{
             {5, 9}, {9, 5}, {70, 130}, {130, 70}, {64, 1}, {1, 64}, {1, 200}, {200, 1}, {0, 5},
             {5, 0}, {129, 128}, {128, 129}, {260, 257}, {190, 320}})
      // Maxima over a few dozen numbers are luck: single rows get more heads.
      run_sm90({.q_lens = {q}, .k_lens = {k}, .heads = q == 1 || k == 1 ? 12 : 2, .head_dim = 16,
                .causal = causal, .dropout = causal ? 13 : 0});
}

// More tiles than blocks, of many lengths.
TEST_F(CudaAttentionBackwardSm90, packedSequences_vsDouble_otherRowsUntouched) {
  for (int live : {0, 5})
    for (int64_t pad : {0, 8})
      run_sm90({.q_lens = {17, 0, 230, 4, 0, 66, 1, 128}, .k_lens = {17, 3, 200, 0, 0, 70, 1, 128},
                .heads = 3, .head_dim = 24, .causal = live == 0, .dropout = 20, .pad = pad,
                .live = live});
}

// Only the operands that tensor copies read have to be aligned.
TEST_F(CudaAttentionBackwardSm90, othersAlignedToElements_vsDouble) {
  problem p{.q_lens = {77}, .k_lens = {140}, .heads = 2, .causal = true};
  for (size_t n = 0; n < operands; ++n) p.shift[n] = is_input(static_cast<int>(n)) ? 16 : 2;
  run_sm90(p);
}

TEST_F(CudaAttentionBackwardSm90, dropoutMask_isTheContractsBitForBit) {
  for (int dropout : {1, 128, 255})
    expect_mask({.q_lens = {3, 64}, .k_lens = {2, 150}, .heads = 2, .dropout = dropout,
                 .engine = GRAFT_ATTENTION_SM90});
}

TEST_F(CudaAttentionBackwardSm90, loneKeys_haveNoGradient) {
  expect_loneKeys_haveNoGradient(GRAFT_BFLOAT16, GRAFT_ATTENTION_SM90);
}

TEST_F(CudaAttentionBackwardSm90, scaleOfAnySign_vsDouble) {
  for (float scale : {-0.5f, 0.0f, 1.0f})
    for (int keys : {66, 140})
      run_sm90({.q_lens = {70}, .k_lens = {keys}, .head_dim = 16, .causal = true, .scale = scale});
}

// Logits of hundreds: their log-sum-exp is rounded at its own magnitude.
TEST_F(CudaAttentionBackwardSm90, largeLogits_vsDouble) {
  for (int n : {60, 140})
    run_sm90({.q_lens = {n}, .head_dim = 32, .causal = true, .scale = 1.0f}, [](case_data& d) {
      for (int64_t i = 0; i < d.x[Q].count(); ++i) d.x[Q].set(i, d.x[Q][i] * 30);
    });
}

// Infinities and NaN reach the rows that they reach on the CPU, and no others.
TEST_F(CudaAttentionBackwardSm90, badNumbers_stayInTheirRows) {
  for (int n : {40, 240})
    for (int64_t bad : {13, 37, 200}) {
      if (bad >= n) continue;
      const problem p{.q_lens = {n}, .causal = true};
      const int64_t at = bad * 64 + 3;
      SCOPED_TRACE("token " + std::to_string(bad));
      for (int which : {Q, K, V, DOUT}) {
        SCOPED_TRACE(names[which]);
        run_sm90(p, [&](case_data& d) { d.x[static_cast<size_t>(which)].set(at, nan_value); });
      }
      run_sm90(p, [&](case_data& d) { d.x[V].set(at, infinity); });
      run_sm90(p, [&](case_data& d) { d.x[K].set(at, -infinity); });
    }
}

// What lies behind a sequence is another's: its NaN must not come in with a tile that ends inside.
TEST_F(CudaAttentionBackwardSm90, badNumbersOfTheNextSequence_stayThere) {
  for (bool causal : {false, true})
    run_sm90({.q_lens = {70, 60, 200}, .causal = causal}, [](case_data& d) {
      for (int64_t token = 70; token < 130; ++token)
        for (int which : {Q, K, V, DOUT})
          d.x[static_cast<size_t>(which)].set(token * 64 + token % 64, nan_value);
    });
}

// Queries that see no key, before those that do, add nothing whatever they hold.
TEST_F(CudaAttentionBackwardSm90, rowsWithoutKeys_addNothing) {
  run_sm90({.q_lens = {90}, .k_lens = {40}, .head_dim = 16, .causal = true}, [](case_data& d) {
    for (int64_t i = 0; i < 50 * 16; ++i) {
      d.x[Q].set(i, nan_value);
      d.x[DOUT].set(i, infinity);
    }
  });
}

// A row all of whose logits are -inf counts as one without keys.
TEST_F(CudaAttentionBackwardSm90, rowsOfMinusInfinity_areEmpty) {
  for (int empty : {70, 200})
    run_sm90({.q_lens = {3}, .k_lens = {200}, .head_dim = 8}, [&](case_data& d) {
      for (int64_t j = 0; j < empty; ++j) d.x[K].set(j * 8 + 2, -infinity);
      for (int64_t i = 0; i < 3; ++i) d.x[Q].set(i * 8 + 2, 1);
    });
}

// Any order of warps, landing copies and products gives the same bits.
TEST_F(CudaAttentionBackwardSm90, orders_sameBits) {
  GRAFT_SKIP_ON_REAL_CARD();
  const case_data d({.q_lens = {240, 5, 60}, .k_lens = {270, 0, 61}, .heads = 2, .causal = true,
                     .dropout = 40, .engine = GRAFT_ATTENTION_SM90});
  expect_same_bits_in_any_order(full_grid() ? 60 : 12, [&] { return bits_of(on_device(d)); });
}

TEST_F(CudaAttentionBackwardSm90, nothingToDo_isDone) {
  expect_nothingToDo_isDone(GRAFT_ATTENTION_SM90);
}

TEST_F(CudaAttentionBackwardSm90, refusesWhatItCannotServe) {
  const case_data d({.q_lens = {4}, .head_dim = 16, .engine = GRAFT_ATTENTION_SM90});
  device_case on(d);
  graft_attention_args a = on.a;
  a.head_dim = 72;
  expect_error(GRAFT_UNSUPPORTED, graft_attention_backward(on.c, &a),
               {"attention_backward", "sm_90", "head_dim", "64", "72"});
  a = on.a;
  a.dout = static_cast<const char*>(a.dout) + 8;
  expect_error(GRAFT_UNSUPPORTED, graft_attention_backward(on.c, &a), {"dout:", "16 bytes"});
  a = on.a;
  a.workspace_bytes -= 1;
  expect_error(GRAFT_INVALID_SHAPE, graft_attention_backward(on.c, &a), {"workspace_bytes"});
  context cpu;
  begin_step(cpu, d.p);
  expect_error(GRAFT_UNSUPPORTED, graft_attention_backward(cpu, &on.a), {"engine", "on the CPU"});
}
