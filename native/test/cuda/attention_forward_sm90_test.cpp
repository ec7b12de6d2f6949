// CUDA attention forward by the Hopper kernel (engine 2). Oracle and rule are those of
// attention_forward_test.cpp.
#include "../../cuda/attention_loads.h"
#include "attention_forward_support.h"
#include "attention_sm90_support.h"

using namespace graft_test;
using namespace graft_test::cuda_attention;
namespace emulation = graft::emulation;

namespace {

using CudaAttentionSm90 = sm90_test;

void run_sm90(problem p, const change& edit = nullptr) {
  p.engine = GRAFT_ATTENTION_SM90;
  run_case(p, edit);
}

}  // namespace

TEST_F(CudaAttentionSm90, lengthsAcrossTiles_vsDouble) {
  std::vector<int> lengths = {1, 17, 63, 64, 65, 127, 128, 129, 192, 255, 256, 257, 385, 640};
  if (full_grid()) {
    lengths.clear();
    for (int n = 1; n <= 400; ++n) lengths.push_back(n);
  }
  for (bool causal : {false, true})
    for (int n : lengths) run_sm90({.q_lens = {n}, .causal = causal});
}

TEST_F(CudaAttentionSm90, headDims_vsDouble) {
  for (int64_t D = 8; D <= 128; D += full_grid() || D >= 96 || D < 16 ? 8 : 16)
    for (int dropout : {0, 26})
      run_sm90({.q_lens = {150}, .k_lens = {300}, .heads = 2, .head_dim = D, .causal = D % 16 == 0,
                .dropout = dropout});
}

TEST_F(CudaAttentionSm90, queriesAndKeysOfOtherNumber_vsDouble) {
  for (bool causal : {false, true})
    for (const auto& [q, k] : std::vector<std::pair<int, int>>{
             {5, 9}, {9, 5}, {70, 130}, {130, 70}, {64, 1}, {1, 64}, {1, 300}, {300, 1}, {0, 5},
             {5, 0}, {300, 0}, {200, 65}, {129, 128}, {128, 129}, {128, 640}, {257, 260}, {260, 257},
             {192, 320}})
      run_sm90({.q_lens = {q}, .k_lens = {k}, .heads = q == 1 ? 24 : 2, .head_dim = 16,
                .causal = causal, .dropout = causal ? 13 : 0});
}

// More tiles than blocks, of many lengths: blocks go from tile to tile, with queries for one warpgroup or
// both, with keys or without.
TEST_F(CudaAttentionSm90, packedSequences_vsDouble_otherRowsUntouched) {
  for (int64_t D : {64, 128})
    for (int live : {0, 5})
      for (int64_t pad : {0, 8})
        run_sm90({.q_lens = {17, 0, 330, 4, 0, 66, 1, 128}, .k_lens = {17, 3, 300, 0, 0, 70, 1, 128},
                  .heads = 3, .head_dim = D, .causal = live == 0, .dropout = 20, .pad = pad,
                  .live = live});
}

TEST_F(CudaAttentionSm90, packedQkv_vsDouble) {
  for (int64_t D : {40, 64, 128})
    run_sm90({.q_lens = {140, 0, 277}, .heads = 3, .head_dim = D, .causal = true, .packed_qkv = true});
}

// Only the operands that tensor copies read have to be aligned.
TEST_F(CudaAttentionSm90, outputAlignedToElements_vsDouble) {
  for (int64_t shift : {2, 4, 16})
    run_sm90({.q_lens = {77}, .heads = 2, .causal = true, .shift = {16, 32, 48, shift}});
}

TEST_F(CudaAttentionSm90, dropoutMask_isTheContractsBitForBit) {
  for (int64_t D : {64, 128})
    for (int dropout : {1, 128, 255}) {
      const int keys = 300;
      for (int64_t first = 0; first < keys; first += D) {
        if (!full_grid() && (first / D + dropout) % 2 == 0) continue;
        SCOPED_TRACE(std::to_string(D) + " " + std::to_string(dropout) + " " + std::to_string(first));
        expect_mask({.q_lens = {3, 137}, .k_lens = {2, keys}, .heads = 2, .head_dim = D,
                     .dropout = dropout, .engine = GRAFT_ATTENTION_SM90},
                    first, false);
      }
    }
}

TEST_F(CudaAttentionSm90, scaleOfAnySign_vsDouble) {
  for (float scale : {-0.5f, 0.0f, 1.0f})
    run_sm90({.q_lens = {170}, .k_lens = {166}, .head_dim = 16, .causal = true, .scale = scale});
}

// Logits of hundreds: the maximum is subtracted before any exponential.
TEST_F(CudaAttentionSm90, largeLogits_vsDouble) {
  run_sm90({.q_lens = {300}, .head_dim = 32, .causal = true, .scale = 1.0f}, [](case_data& d) {
    for (int64_t i = 0; i < d.q.count(); ++i) d.q.set(i, d.q[i] * 30);
  });
}

// Infinities and NaN reach the rows that they reach on the CPU, and no others.
TEST_F(CudaAttentionSm90, badNumbers_stayInTheirRows) {
  for (int64_t D : {64, 128})
    for (int n : {40, 300})
      for (int64_t bad : {13, 37, 290}) {
        if (bad >= n) continue;
        const problem p{.q_lens = {n}, .k_lens = {n - 3}, .head_dim = D, .causal = true};
        const int64_t at = bad * D + 3;
        SCOPED_TRACE("token " + std::to_string(bad));
        run_sm90(p, [&](case_data& d) { d.q.set(at, nan_value); });
        run_sm90(p, [&](case_data& d) { d.k.set(at, nan_value); });
        run_sm90(p, [&](case_data& d) { d.v.set(at, nan_value); });
        run_sm90(p, [&](case_data& d) { d.v.set(at, infinity); });
        run_sm90(p, [&](case_data& d) { d.k.set(at, -infinity); });
      }
}

// What lies behind a sequence is another's: its NaN must not come in with a tile that ends inside.
TEST_F(CudaAttentionSm90, badNumbersOfTheNextSequence_stayThere) {
  for (bool causal : {false, true})
    run_sm90({.q_lens = {70, 60, 200}, .causal = causal}, [](case_data& d) {
      for (int64_t token = 70; token < 130; ++token)
        for (array* x : {&d.q, &d.k, &d.v}) x->set(token * 64 + token % 64, nan_value);
    });
}

TEST_F(CudaAttentionSm90, rowsOfMinusInfinity_areEmpty) {
  for (int empty : {70, 200})
    run_sm90({.q_lens = {3}, .k_lens = {200}, .head_dim = 8}, [&](case_data& d) {
      for (int64_t j = 0; j < empty; ++j) d.k.set(j * 8 + 2, -infinity);
      for (int64_t i = 0; i < 3; ++i) d.q.set(i * 8 + 2, 1);
    });
}

// Any order of warps, landing copies and products gives the same bits.
TEST_F(CudaAttentionSm90, orders_sameBits) {
  GRAFT_SKIP_ON_REAL_CARD();
  for (int64_t D : {64, 128}) {
    const case_data d({.q_lens = {340, 5, 60}, .k_lens = {370, 0, 61}, .heads = 2, .head_dim = D,
                       .causal = true, .dropout = 40, .engine = GRAFT_ATTENTION_SM90});
    expect_same_bits_in_any_order(full_grid() ? 60 : 12, [&] { return bits_of(on_device(d)); });
  }
}

TEST_F(CudaAttentionSm90, offsetsBeyond32Bits) {
  expect_offsets_beyond_32_bits({0, 2, 4}, GRAFT_ATTENTION_SM90);
}

TEST_F(CudaAttentionSm90, nothingToDo_isDone) { expect_nothingToDo_isDone(GRAFT_ATTENTION_SM90); }

// What it cannot serve it refuses by name, and takes no other kernel instead.
TEST_F(CudaAttentionSm90, refusesWhatItCannotServe) {
  cuda_context c;
  case_data d({.q_lens = {4}, .head_dim = 16});
  device_array q(c, d.q), out(c, d.out), lse(c, d.lse), cu(c, d.cu_q);
  const graft_attention_args good =
      d.args(q.data(), q.data(), q.data(), out.data(), lse.data<float>(), cu.data<int32_t>(),
             cu.data<int32_t>(), GRAFT_ATTENTION_SM90);
  const auto refuses = [&](const std::function<void(graft_attention_args&)>& edit,
                           const std::vector<std::string>& texts) {
    graft_attention_args a = good;
    edit(a);
    expect_error(GRAFT_UNSUPPORTED, graft_attention_forward(c, &a), texts);
  };
  refuses([](auto& a) { a.dtype = GRAFT_FLOAT32; }, {"sm_90", "dtype", "bfloat16", "float32"});
  refuses([](auto& a) { a.head_dim = 136; }, {"sm_90", "head_dim", "128", "136"});
  refuses([](auto& a) { a.head_dim = 12; }, {"head_dim", "multiple of 8", "12"});
  refuses([](auto& a) { a.k = static_cast<const char*>(a.k) + 8; }, {"k:", "16 bytes"});
  refuses([](auto& a) { a.v_token_stride = 20; }, {"v:", "token stride", "20"});
  refuses([](auto& a) { a.q_token_stride = int64_t{1} << 39; }, {"q:", "token stride"});
  graft_attention_args a = good;
  a.engine = 3;
  expect_error(GRAFT_INVALID_ARGUMENT, graft_attention_forward(c, &a), {"engine", "0..2", "3"});
}

TEST_F(CudaAttentionSm90, otherDevicesRefuseIt) {
  GRAFT_SKIP_ON_REAL_CARD();
  case_data d({.q_lens = {4}, .head_dim = 16});
  graft_attention_args a = d.args(d.q.data(), d.k.data(), d.v.data(), d.out.data(), d.lse.floats(),
                                  d.cu_q.data(), d.cu_k.data(), GRAFT_ATTENTION_SM90);
  context cpu;
  begin_step(cpu, d.p);
  expect_error(GRAFT_UNSUPPORTED, graft_attention_forward(cpu, &a), {"engine", "on the CPU"});
  for (int capability : {80, 89, 100, 120}) {
    emulation::set_machine({.capability = capability});
    cuda_context c;
    expect_error(GRAFT_UNSUPPORTED, graft_attention_forward(c, &a),
                 {"sm_90", "capability 9.0", std::to_string(capability / 10) + "."});
  }
  emulation::set_machine({});
}
