// The CPU backend's inside. Every native/cpu/<op>.cpp is compiled once an instruction set into a
// namespace of that name (the GRAFT_ISA macro); table.cpp collects the functions, backend.cpp
// chooses a table at run time.
//
// Two rules keep that sound: functions in headers are `static inline` or in namespace GRAFT_ISA, and
// no standard container or algorithm is used in these files, for the linker would keep only one of
// their copies, maybe the one for AVX-512.
#pragma once

#include <cstdint>

#include "../common/error.h"
#include "../common/ops.h"

namespace graft {

struct cpu_context {
  int threads;
  graft_step_inputs inputs;
  graft_step_results results;
};

// One tensor of a parameter set cut in blocks of optimizer_block elements, so that sums have a fixed
// order whatever the number of threads.
constexpr int64_t optimizer_block = 16384;
struct parameter_block {
  int64_t parameter;
  int64_t begin;
  int64_t end;
};

// Functions of one instruction set.
struct cpu_ops {
  int (*attention_workspace)(const cpu_context&, const graft_attention_args&, int, int64_t*);
#define GRAFT_CPU_ENTRY(query, args) int (*query)(const cpu_context&, const args&, int64_t*);
  GRAFT_WORKSPACE_QUERIES(GRAFT_CPU_ENTRY)
#undef GRAFT_CPU_ENTRY
#define GRAFT_CPU_ENTRY(op, args) int (*op)(cpu_context&, const args&);
  GRAFT_OPS(GRAFT_CPU_ENTRY)
#undef GRAFT_CPU_ENTRY
};

#define GRAFT_DECLARE_ISA(isa) \
  namespace isa {              \
  extern const cpu_ops table;  \
  }
GRAFT_DECLARE_ISA(baseline)
GRAFT_DECLARE_ISA(avx2)
GRAFT_DECLARE_ISA(avx512)
GRAFT_DECLARE_ISA(avx512bf16)
#undef GRAFT_DECLARE_ISA

}  // namespace graft

// Opaque in graft.h.
struct graft_parameter_set {
  graft_parameter* parameters;
  int64_t count;
  graft::parameter_block* blocks;
  int64_t block_count;
  double* partial_sums; /* [2, block_count] */
};

namespace graft {

// Counts an optimizer step, applied or skipped; t, the number of those applied.
inline int64_t count_step(graft_step_results& results) {
  if (results.skip != 0)
    ++results.skipped_steps;
  else
    ++results.adam_t;
  return results.adam_t;
}

}  // namespace graft
