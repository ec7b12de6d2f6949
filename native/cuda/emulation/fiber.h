// A stack of its own for each emulated thread, and the switch between two of them: about ten
// instructions, for a warp collective takes 32.
#pragma once

#include <cstddef>

namespace graft::emulation {

struct fiber {
  void* stack_pointer = nullptr;
  // Only for the address sanitizer, which has to know which stack is in use.
  const void* stack_bottom = nullptr;
  size_t stack_bytes = 0;
  void* fake_stack = nullptr;
};

// The next switch to `f` enters `entry`, which must not return.
void fiber_prepare(fiber& f, char* stack, size_t bytes, void (*entry)());
// Saves the running code in `from` and goes on with `to`.
void fiber_switch(fiber& from, fiber& to);
// First thing in an entry function.
void fiber_entered();

}  // namespace graft::emulation
