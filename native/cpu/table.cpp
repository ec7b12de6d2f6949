// The functions of one instruction set, collected. Compiled once each.
#include "cpu.h"

namespace graft::GRAFT_ISA {

int attention_workspace(const cpu_context&, const graft_attention_args&, int, int64_t*);
#define GRAFT_DECLARE(query, args) int query(const cpu_context&, const args&, int64_t*);
GRAFT_WORKSPACE_QUERIES(GRAFT_DECLARE)
#undef GRAFT_DECLARE
#define GRAFT_DECLARE(op, args) int op(cpu_context&, const args&);
GRAFT_OPS(GRAFT_DECLARE)
#undef GRAFT_DECLARE

extern const cpu_ops table;
const cpu_ops table = {
    attention_workspace,
#define GRAFT_ENTRY(name, args) name,
    GRAFT_WORKSPACE_QUERIES(GRAFT_ENTRY) GRAFT_OPS(GRAFT_ENTRY)
#undef GRAFT_ENTRY
};

}  // namespace graft::GRAFT_ISA
