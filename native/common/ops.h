// The list of ops, once. Entry points, backend tables and CPU tables are all made from it, so an op
// is added by: its struct and prototype in graft.h, a line here, its check in common/checks/, its
// kernels in cpu/<op>.cpp and cuda/<op>.cu.
#pragma once

#include "graft/graft.h"

// X(op, argument struct)
#define GRAFT_OPS(X)                                           \
  X(random, graft_random_args)                                 \
  X(attention_forward, graft_attention_args)                   \
  X(attention_backward, graft_attention_args)                  \
  X(kv_append, graft_kv_append_args)                           \
  X(attention_decode, graft_attention_decode_args)             \
  X(embedding_forward, graft_embedding_args)                   \
  X(embedding_backward, graft_embedding_backward_args)         \
  X(add_norm_forward, graft_add_norm_args)                     \
  X(add_norm_backward, graft_add_norm_backward_args)           \
  X(activation_forward, graft_activation_args)                 \
  X(activation_backward, graft_activation_args)                \
  X(classifier, graft_classifier_args)                         \
  X(segment_classifier, graft_segment_classifier_args)         \
  X(binary_cross_entropy, graft_binary_cross_entropy_args)     \
  X(mean_squared_error, graft_mean_squared_error_args)         \
  X(grad_norm, graft_grad_norm_args)                           \
  X(adamw, graft_adamw_args)                                   \
  X(lamb, graft_lamb_args)                                     \
  X(sample, graft_sample_args)                                 \
  X(cast, graft_cast_args)                                     \
  X(add, graft_add_args)                                       \
  X(dropout, graft_dropout_args)                               \
  X(gather_rows, graft_rows_args)                              \
  X(scatter_rows, graft_rows_args)                             \
  X(column_sum, graft_column_sum_args)                         \
  X(quantize, graft_quantize_args)

// X(query, argument struct): bytes of workspace of an op; the attention query has a `backward` flag
// of its own and stands beside this list.
#define GRAFT_WORKSPACE_QUERIES(X)                             \
  X(attention_decode_workspace, graft_attention_decode_args)   \
  X(add_norm_backward_workspace, graft_add_norm_backward_args) \
  X(activation_workspace, graft_activation_args)               \
  X(classifier_workspace, graft_classifier_args)               \
  X(segment_classifier_workspace, graft_segment_classifier_args) \
  X(binary_cross_entropy_workspace, graft_binary_cross_entropy_args) \
  X(mean_squared_error_workspace, graft_mean_squared_error_args) \
  X(sample_workspace, graft_sample_args)                       \
  X(column_sum_workspace, graft_column_sum_args)               \
  X(quantize_workspace, graft_quantize_args)
