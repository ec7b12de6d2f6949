// What memory the host has for this process.
#pragma once

#include <cstdint>

namespace graft {

struct memory_amounts {
  int64_t free;   // what new allocations can still have without the process being killed for it
  int64_t total;  // of the machine, or what its control group may have if that is less
};

// INT64_MAX each where the system does not say.
memory_amounts host_memory();

}  // namespace graft
