// Error text. A failing check or kernel calls fail(); the message is kept a thread, so nothing is
// allocated and a failure under memory pressure can still be told.
#pragma once

#include "graft/graft.h"

namespace graft {

// Formats the thread's last error and returns status. Convention of the text:
// "<op>: <argument>: expected <what>, got <what>".
[[gnu::format(printf, 2, 3)]] GRAFT_API int fail(graft_status status, const char* format, ...);

}  // namespace graft

// Returns from the enclosing function if an expression is not GRAFT_OK.
#define GRAFT_TRY(expression)                        \
  do {                                               \
    const int graft_try_status_ = (expression);      \
    if (graft_try_status_ != GRAFT_OK) return graft_try_status_; \
  } while (0)
