// What attention refuses, by name, before it writes anything; and the size of its workspace.
#include "attention_oracle.h"

using namespace graft_test;

namespace {

using edit_args = std::function<void(graft_attention_args&)>;

void expect_refused(int status, const std::vector<std::string>& texts, const edit_args& edit,
                    int live = 0) {
  on_every_isa([&] {
    for (bool backward : {false, true}) {
      case_data d({.q_lens = {5, 6}, .k_lens = {7, 8}, .heads = 2, .head_dim = 8});
      context c(2);
      begin_step(c, live);
      graft_attention_args a = d.args();
      int64_t forward_bytes = 0, backward_bytes = 0;
      ASSERT_EQ(GRAFT_OK, graft_attention_workspace(c, &a, 0, &forward_bytes));
      ASSERT_EQ(GRAFT_OK, graft_attention_workspace(c, &a, 1, &backward_bytes));
      workspace space(4 * std::max(forward_bytes, backward_bytes));
      a.workspace = space.data();
      a.workspace_bytes = space.bytes();
      edit(a);
      std::vector<std::string> expected = texts;
      expected.push_back(backward ? "attention_backward" : "attention_forward");
      expect_error(status, backward ? graft_attention_backward(c, &a)
                                    : graft_attention_forward(c, &a), expected);
      for (const array* x : {&d.out, &d.lse, &d.dq, &d.dk, &d.dv})
        for (int64_t i = 0; i < x->count(); ++i) ASSERT_EQ(untouched, (*x)[i]);
    }
  });
}

TEST(Attention, wrongArguments_areNamed) {
  using args = graft_attention_args;
  expect_refused(GRAFT_INVALID_DTYPE, {"dtype", "2"}, [](args& a) { a.dtype = GRAFT_INT32; });
  expect_refused(GRAFT_INVALID_SHAPE, {"head_dim", "1..256", "257"},
                 [](args& a) { a.head_dim = 257; });
  expect_refused(GRAFT_INVALID_SHAPE, {"head_dim", "0"}, [](args& a) { a.head_dim = 0; });
  expect_refused(GRAFT_INVALID_SHAPE, {"heads", "0"}, [](args& a) { a.heads = 0; });
  expect_refused(GRAFT_INVALID_SHAPE, {"batch", "-1"}, [](args& a) { a.batch = -1; });
  expect_refused(GRAFT_INVALID_SHAPE, {"tokens_q", "-1"}, [](args& a) { a.tokens_q = -1; });
  expect_refused(GRAFT_INVALID_SHAPE, {"q", "16", "15"}, [](args& a) { a.q_token_stride = 15; });
  expect_refused(GRAFT_INVALID_SHAPE, {"v", "16", "-1"}, [](args& a) { a.v_token_stride = -1; });
  expect_refused(GRAFT_INVALID_SHAPE, {"out", "16", "3"}, [](args& a) { a.out_token_stride = 3; });
  expect_refused(GRAFT_INVALID_SHAPE, {"k", "2^63"},
                 [](args& a) { a.k_token_stride = INT64_MAX / 2; });
  expect_refused(GRAFT_INVALID_ARGUMENT, {"causal", "2"}, [](args& a) { a.causal = 2; });
  expect_refused(GRAFT_INVALID_SHAPE, {"dropout", "256"}, [](args& a) { a.dropout = 256; });
  expect_refused(GRAFT_INVALID_SHAPE, {"dropout", "-1"}, [](args& a) { a.dropout = -1; });
  expect_refused(GRAFT_INVALID_SHAPE, {"scale", "nan"}, [](args& a) { a.scale = NAN; });
  expect_refused(GRAFT_INVALID_ARGUMENT, {"q", "NULL"}, [](args& a) { a.q = nullptr; });
  expect_refused(GRAFT_INVALID_ARGUMENT, {"k", "NULL"}, [](args& a) { a.k = nullptr; });
  expect_refused(GRAFT_INVALID_ARGUMENT, {"v", "NULL"}, [](args& a) { a.v = nullptr; });
  expect_refused(GRAFT_INVALID_ARGUMENT, {"out", "NULL"}, [](args& a) { a.out = nullptr; });
  expect_refused(GRAFT_INVALID_ARGUMENT, {"lse", "NULL"}, [](args& a) { a.lse = nullptr; });
  expect_refused(GRAFT_INVALID_ARGUMENT, {"cu_seqlens_q", "NULL"},
                 [](args& a) { a.cu_seqlens_q = nullptr; });
  expect_refused(GRAFT_INVALID_ALIGNMENT, {"v", "4 bytes"}, [](args& a) {
    a.v = static_cast<const char*>(a.v) + 1;
  });
  expect_refused(GRAFT_INVALID_ARGUMENT, {"struct_size"}, [](args& a) { a.struct_size = 8; });
}

TEST(Attention, wrongWorkspace_isNamed) {
  using args = graft_attention_args;
  expect_refused(GRAFT_INVALID_SHAPE, {"workspace_bytes"}, [](args& a) { a.workspace_bytes = 64; });
  expect_refused(GRAFT_INVALID_ARGUMENT, {"workspace", "NULL"},
                 [](args& a) { a.workspace = nullptr; });
  expect_refused(GRAFT_INVALID_ALIGNMENT, {"workspace", "64 bytes"}, [](args& a) {
    a.workspace = static_cast<char*>(a.workspace) + 4;
  });
}

TEST(Attention, wrongSequences_areNamed) {
  using args = graft_attention_args;
  static const int32_t from_one[] = {1, 5, 11}, falling[] = {0, 6, 5}, longer[] = {0, 5, 14};
  expect_refused(GRAFT_INVALID_SHAPE, {"cu_seqlens_q[0]", "0", "1"},
                 [](args& a) { a.cu_seqlens_q = from_one; });
  expect_refused(GRAFT_INVALID_SHAPE, {"cu_seqlens_k", "sequence 1", "-1"},
                 [](args& a) { a.cu_seqlens_k = falling; });
  expect_refused(GRAFT_INVALID_SHAPE, {"cu_seqlens_q", "0..6", "sequence 1", "9"},
                 [](args& a) { a.cu_seqlens_q = longer; });
  expect_refused(GRAFT_INVALID_SHAPE, {"cu_seqlens_q[2]", "at most 12 tokens", "14"}, [](args& a) {
    a.cu_seqlens_q = longer;
    a.max_seqlen_q = 100;
  });
  expect_refused(GRAFT_INVALID_SHAPE, {"sequences", "batch = 2", "3"}, [](args&) {}, 3);
}

TEST(Attention, backwardChecksItsOwnPointers) {
  case_data d({.q_lens = {5}, .k_lens = {5}, .head_dim = 8});
  context c;
  for (void* graft_attention_args::*member : {&graft_attention_args::dq, &graft_attention_args::dk,
                                              &graft_attention_args::dv}) {
    graft_attention_args a = d.args();
    a.*member = nullptr;
    expect_error(GRAFT_INVALID_ARGUMENT, call(c, a, true), {"attention_backward", "d", "NULL"});
  }
  graft_attention_args a = d.args();
  a.dout = nullptr;
  expect_error(GRAFT_INVALID_ARGUMENT, call(c, a, true), {"attention_backward", "dout", "NULL"});
  a = d.args();
  a.dk_token_stride = 7;
  expect_error(GRAFT_INVALID_SHAPE, call(c, a, true), {"attention_backward", "dk", "7"});
}

// Workspace grows with the length of one sequence at most, not with its square.
TEST(Attention, workspaceOfLongSequences_isLinear) {
  for (int threads : {1, 2, 16}) {
    context c(threads);
    case_data d({.q_lens = {1}, .k_lens = {1}, .heads = 4});
    graft_attention_args a = d.args();
    for (int backward : {0, 1}) {
      a.tokens_q = a.tokens_k = a.max_seqlen_q = a.max_seqlen_k = 1 << 16;
      int64_t once = 0, twice = 0;
      ASSERT_EQ(GRAFT_OK, graft_attention_workspace(c, &a, backward, &once)) << graft_last_error();
      a.tokens_q = a.tokens_k = a.max_seqlen_q = a.max_seqlen_k = 1 << 17;
      ASSERT_EQ(GRAFT_OK, graft_attention_workspace(c, &a, backward, &twice));
      EXPECT_LE(twice, 2 * once);
      if (backward == 0) {
        EXPECT_EQ(once, twice);
      }
    }
  }
}

}  // namespace
