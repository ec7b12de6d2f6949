// What the parts of the emulation that let threads wait need from the scheduler (block.cpp).
#pragma once

#include "block.h"

namespace graft::emulation {

uint32_t random_word();
int thread_number(const device_thread&);

// "file.cpp:12". Not a string: a faulted thread never comes back to free one.
struct place_text {
  char text[96];
  const char* c_str() const { return text; }
};
place_text place(const location& at);
bool same_place(const location& a, const location& b);

// The running thread waits until another wakes it.
void wait_for(const char* what, const location& at);
void wake(device_thread& thread);
// Behind what lets others go on: half of the time they do before the running thread does.
void let_others_run();

// Offset of an address in the block's shared memory, of which `bytes` bytes lie there; else a fault.
size_t shared_offset(const char* what, const void* address, size_t bytes, const location& at);

// What the async proxy sees of shared memory: tensor copies write both, threads only their own side until
// a fence.
extern unsigned char* async_view;
void fence_async_view();

}  // namespace graft::emulation
