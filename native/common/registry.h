// Which backends there are in this process.
#pragma once

#include "backend.h"

namespace graft {

// The table of a backend, loaded before if it is a plugin; else GRAFT_UNSUPPORTED with how to get it.
int find_backend(const char* op, int backend, const backend_table** table);

}  // namespace graft
