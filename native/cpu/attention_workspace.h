// Workspace of the attention passes: tiles of each thread, and what the backward pass sums across them.
#pragma once

#include "attention_dot.h"

namespace graft::GRAFT_ISA {

// Keys of one backward chunk of a sequence, by its length alone: the same sums are taken in the same
// order whether one thread or several do the chunks.
static inline int64_t chunk_size(int64_t k_count) {
  return round_up(at_least(chunk_keys, ceil_div(k_count, most_chunks)), k_tile);
}

// How the backward pass shares out its work: a (sequence, head) a task, or, where those are fewer
// than two a thread, a chunk of its keys a task. dQ gets terms from every key and each chunk sums its
// own; in a split pass all of them are kept and then added up, else the thread adds them as it goes.
struct backward_plan {
  int64_t chunks;         // of the longest sequence
  bool split;
  int64_t dq_row;         // floats
  int64_t tile_floats;    // of a thread
  int64_t thread_floats;  // tiles, and the dQ of a (sequence, head) unless split
  int64_t shared_floats;  // split: dQ of every [chunk, head, query]
};
static inline backward_plan plan_backward(const cpu_context& context,
                                          const graft_attention_args& a) {
  backward_plan plan;
  plan.chunks = at_most(most_chunks, ceil_div(longest_keys(a), chunk_keys));
  plan.split = plan.chunks > 1 && context.threads > 1 && a.heads <= most_split_heads &&
               a.batch * a.heads < 2 * int64_t{context.threads};
  plan.dq_row = round_up(a.head_dim, NR);
  const int64_t queries = longest_queries(a);
  plan.tile_floats = on_dots<bf16> && a.dtype == GRAFT_BFLOAT16
                         ? backward_dot_tiles(nullptr, a.head_dim, queries).floats
                         : backward_tiles(nullptr, a.head_dim, queries).floats;
  plan.thread_floats = plan.tile_floats;
  if (!plan.split)
    plan.thread_floats += (plan.chunks > 1 ? 2 : 1) * round_up(queries * plan.dq_row, 16);
  plan.shared_floats =
      plan.split ? round_up(plan.chunks * a.heads * a.tokens_q * plan.dq_row, 16) : 0;
  return plan;
}

// threads * each + shared floats, in bytes.
static inline int workspace_size(const char* op, const cpu_context& context, int64_t each,
                                 int64_t shared, int64_t* bytes) {
  int64_t floats;
  if (!__builtin_mul_overflow(int64_t{context.threads}, each, &floats) &&
      !__builtin_add_overflow(floats, shared, &floats) &&
      !__builtin_mul_overflow(floats, int64_t{sizeof(float)}, bytes))
    return GRAFT_OK;
  return fail(GRAFT_INVALID_SHAPE, "%s: workspace: expected a size within 2^63 bytes", op);
}
static inline int64_t forward_floats(const graft_attention_args& a) {
  return on_dots<bf16> && a.dtype == GRAFT_BFLOAT16 ? forward_dot_tiles(nullptr, a.head_dim).floats
                                                    : forward_tiles(nullptr, a.head_dim).floats;
}
static inline int forward_workspace(const char* op, const cpu_context& context,
                                    const graft_attention_args& a, int64_t* bytes) {
  return workspace_size(op, context, forward_floats(a), 0, bytes);
}
static inline int backward_workspace(const char* op, const cpu_context& context,
                                     const graft_attention_args& a, int64_t* bytes) {
  const backward_plan plan = plan_backward(context, a);
  return workspace_size(op, context, plan.thread_floats, plan.shared_floats, bytes);
}

}  // namespace graft::GRAFT_ISA
