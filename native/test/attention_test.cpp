// Attention's passes beside their definition in double (attention_oracle.h), on every instruction set.
#include "attention_oracle.h"

using namespace graft_test;

namespace {

void run_lengths(const std::vector<int>& lengths, int64_t head_dim) {
  on_every_isa([&] {
    for (int dtype : float_dtypes())
      for (bool causal : {false, true})
        for (int n : lengths)
          run({.q_lens = {n}, .k_lens = {n}, .head_dim = head_dim, .dtype = dtype,
               .causal = causal});
  });
}

TEST(Attention, lengthsAcrossTiles_vsDouble) {
  std::vector<int> lengths = {0,  1,  2,  3,  5,  7,  8,  9,   15,  16,  17,  31,  33,  47, 49,
                              63, 64, 65, 95, 96, 97, 127, 128, 129, 191, 193, 255, 257};
  if (std::getenv("GRAFT_FULL") != nullptr) {
    lengths.clear();
    for (int n = 0; n <= 257; ++n) lengths.push_back(n);
  }
  run_lengths(lengths, 32);
}

TEST(Attention, headDims_vsDouble) {
  on_every_isa([] {
    for (int dtype : float_dtypes())
      for (int64_t D : {1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 50, 64, 65, 96, 100, 128, 255, 256})
        run({.q_lens = {70}, .k_lens = {75}, .heads = 2, .head_dim = D, .dtype = dtype,
             .causal = true, .dropout = D % 2 == 0 ? 26 : 0});
  });
}

TEST(Attention, queriesAndKeysOfOtherNumber_vsDouble) {
  on_every_isa([] {
    for (int dtype : float_dtypes())
      for (bool causal : {false, true})
        for (const auto& [q, k] : std::vector<std::pair<int, int>>{
                 {5, 9}, {9, 5}, {70, 130}, {130, 70}, {64, 1}, {1, 64}, {1, 300}, {300, 1}, {0, 5},
                 {5, 0}, {200, 65}, {129, 128}, {128, 129}})
          run({.q_lens = {q}, .k_lens = {k}, .heads = 2, .head_dim = 16, .dtype = dtype,
               .causal = causal, .dropout = 13});
  });
}

TEST(Attention, packedSequences_vsDouble_otherRowsUntouched) {
  on_every_isa([] {
    for (int dtype : float_dtypes())
      for (int live : {0, 5})
        for (int64_t pad : {0, 5})
          run({.q_lens = {17, 0, 130, 4, 0, 66, 1}, .k_lens = {17, 3, 100, 0, 0, 70, 1}, .heads = 3,
               .head_dim = 24, .dtype = dtype, .causal = live == 0, .dropout = 20, .pad = pad,
               .misaligned = pad != 0, .threads = 2, .live = live});
  });
}

TEST(Attention, dropout_vsDouble) {
  on_every_isa([] {
    for (int dtype : float_dtypes())
      for (int dropout : {1, 26, 128, 255})
        for (bool causal : {false, true})
          run({.q_lens = {150, 33}, .k_lens = {150, 33}, .heads = 2, .head_dim = 32,
               .dtype = dtype, .causal = causal, .dropout = dropout});
  });
}

TEST(Attention, scaleOfAnySign_vsDouble) {
  on_every_isa([] {
    for (int dtype : float_dtypes())
      for (float scale : {-0.5f, 0.0f, 1.0f})
        run({.q_lens = {100, 150}, .k_lens = {90, 150}, .head_dim = 16, .dtype = dtype,
             .causal = true, .scale = scale});
  });
}

// Long enough for a head to be cut in chunks of keys, in one thread and in several.
TEST(Attention, chunks_vsDouble) {
  on_every_isa([] {
    for (int dtype : float_dtypes())
      for (int threads : {1, 4}) {
        if (dtype == GRAFT_BFLOAT16 && threads == 1) continue;  // as slow; threads_sameBits has it
        for (bool causal : {false, true})
          run({.q_lens = {700, 20}, .k_lens = {1100, 600}, .head_dim = 16, .dtype = dtype,
               .causal = causal, .dropout = 13, .threads = threads});
      }
  });
}

TEST(Attention, threads_sameBits) {
  on_every_isa([] {
    for (int dtype : float_dtypes())
      for (const problem& base : {problem{.q_lens = {1000, 90}, .k_lens = {1300, 600},
                                          .head_dim = 40, .dtype = dtype, .causal = true},
                                  problem{.q_lens = {2100}, .k_lens = {600}, .head_dim = 8,
                                          .dtype = dtype, .causal = true, .dropout = 40},
                                  problem{.q_lens = {300, 0, 129, 64}, .k_lens = {300, 7, 129, 64},
                                          .heads = 5, .head_dim = 64, .dtype = dtype}}) {
        const std::vector<uint8_t> expected = run(base, nullptr, false);
        for (int threads : {2, 3, 7}) {
          problem p = base;
          p.threads = threads;
          EXPECT_EQ(expected, run(p, nullptr, false)) << describe(p);
        }
      }
  });
}

// Infinities and NaN reach the rows that IEEE arithmetic sends them to, and no others: under a causal
// mask the queries before a bad key keep their finite results.
TEST(Attention, badNumbers_stayInTheirRows) {
  const auto nan = static_cast<double>(NAN), infinity = static_cast<double>(INFINITY);
  on_every_isa([&] {
    for (int dtype : float_dtypes())
      for (int n : {40, 140})
        for (int64_t bad : {0, 13, 36, 37}) {
          const problem p{.q_lens = {n}, .k_lens = {n}, .head_dim = 20, .dtype = dtype,
                          .causal = true};
          const int64_t at = bad * 20 + 3;
          SCOPED_TRACE("token " + std::to_string(bad));
          run(p, [&](array& q, array&, array&, array&) { q.set(at, nan); });
          run(p, [&](array&, array& k, array&, array&) { k.set(at, nan); });
          run(p, [&](array&, array&, array& v, array&) { v.set(at, nan); });
          run(p, [&](array&, array&, array& v, array&) { v.set(at, infinity); });
          run(p, [&](array&, array&, array&, array& dout) { dout.set(at, nan); });
          // Logits of -inf for the queries whose number in that column is positive, of +inf else.
          run(p, [&](array&, array& k, array&, array&) { k.set(at, -infinity); });
        }
  });
}

// A row all of whose logits are -inf counts as one without keys: in the passes over several tiles of
// keys as well, where the first tiles may hold nothing else.
TEST(Attention, rowsOfMinusInfinity_areEmpty) {
  on_every_isa([] {
    for (int dtype : float_dtypes())
      for (int empty : {70, 200})
        run({.q_lens = {3}, .k_lens = {200}, .head_dim = 8, .dtype = dtype},
            [&](array& q, array& k, array&, array&) {
              for (int64_t j = 0; j < empty; ++j) k.set(j * 8 + 2, -static_cast<double>(INFINITY));
              for (int64_t i = 0; i < 3; ++i) q.set(i * 8 + 2, 1);
            });
  });
}

// Large logits: the maximum is subtracted before any exponential.
TEST(Attention, largeLogits_vsDouble) {
  on_every_isa([] {
    for (int dtype : float_dtypes()) {
      case_data d({.q_lens = {65}, .k_lens = {65}, .head_dim = 4, .dtype = dtype, .causal = true,
                   .scale = 1.0f});
      for (int64_t i = 0; i < d.q.count(); ++i) d.q.set(i, d.q[i] * 100);
      const expectation e = oracle(d);
      context c;
      begin_step(c, 0);
      ASSERT_EQ(GRAFT_OK, call(c, d.args(), false)) << graft_last_error();
      // Logits of hundreds are themselves rounded to 3e-5.
      expect_within(e.out, d.out, 3e-4, 4, e.out_slack, "out");
      expect_within(e.lse, d.lse, 1e-4, 4, {}, "lse");
    }
  });
}

// The gradient along a random direction beside the central difference of the kernel's own forward
// pass. The difference of sums of a few hundred, each off by about 1e-5, over 2e-2: 1e-3 and less.
TEST(Attention, gradient_vsFiniteDifferences) {
  on_every_isa([] {
    for (int dropout : {0, 64}) {
      case_data d({.q_lens = {37, 9}, .k_lens = {41, 9}, .heads = 2, .head_dim = 16,
                   .causal = true, .dropout = dropout});
      context c;
      begin_step(c, 0);
      ASSERT_EQ(GRAFT_OK, call(c, d.args(), false));
      ASSERT_EQ(GRAFT_OK, call(c, d.args(), true));
      for (auto [input, gradient] : {std::pair{&d.q, &d.dq}, {&d.k, &d.dk}, {&d.v, &d.dv}}) {
        numbers random(3);
        const std::vector<double> at = input->values();
        std::vector<double> direction;
        double along = 0;
        for (int64_t i = 0; i < input->count(); ++i) direction.push_back(random.normal());
        const int64_t rows = (input == &d.q ? d.tokens_q : d.tokens_k) - 1;
        for (int64_t i = 0; i < rows * d.stride; ++i)
          along += direction[static_cast<size_t>(i)] * (*gradient)[i];
        double loss[2] = {0, 0};
        constexpr double h = 1e-2;
        for (int side : {0, 1}) {
          for (int64_t i = 0; i < input->count(); ++i) {
            const auto n = static_cast<size_t>(i);
            input->set(i, at[n] + (side == 0 ? -h : h) * direction[n]);
          }
          ASSERT_EQ(GRAFT_OK, call(c, d.args(), false));
          for (int64_t i = 0; i < (d.tokens_q - 1) * d.stride; ++i)
            loss[side] += d.out[i] * d.dout[i];
        }
        for (int64_t i = 0; i < input->count(); ++i) input->set(i, at[static_cast<size_t>(i)]);
        EXPECT_NEAR((loss[1] - loss[0]) / (2 * h), along, 5e-3 * (1 + std::fabs(along)));
      }
    }
  });
}

}  // namespace
