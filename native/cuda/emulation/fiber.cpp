#include "fiber.h"

#include <cstdint>
#include <cstring>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

// Callee-saved registers go on the stack, the stack pointer to *from, and back for `to`.
extern "C" void graft_fiber_switch(void** from, void* to);

#if defined(__x86_64__)
asm(R"(
  .text
  .p2align 4
  .globl graft_fiber_switch
  .hidden graft_fiber_switch
  .type graft_fiber_switch, @function
graft_fiber_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size graft_fiber_switch, . - graft_fiber_switch
)");
constexpr size_t entry_word = 6;
// A function finds its stack 8 bytes off 16, as a call leaves it.
constexpr size_t frame_words = 8;
#elif defined(__aarch64__)
asm(R"(
  .text
  .p2align 4
  .globl graft_fiber_switch
  .hidden graft_fiber_switch
  .type graft_fiber_switch, %function
graft_fiber_switch:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
  .size graft_fiber_switch, . - graft_fiber_switch
)");
constexpr size_t entry_word = 11;
constexpr size_t frame_words = 20;
#else
#error "emulation: the fiber switch is written for x86-64 and AArch64"
#endif

namespace graft::emulation {
#ifdef __SANITIZE_ADDRESS__
namespace {
fiber* left = nullptr;
}
#endif

void fiber_prepare(fiber& f, char* stack, size_t bytes, void (*entry)()) {
#ifdef __SANITIZE_ADDRESS__
  // The last thread on this stack did not return from its frames.
  __asan_unpoison_memory_region(stack, bytes);
#endif
  const uintptr_t top = (reinterpret_cast<uintptr_t>(stack) + bytes) & ~uintptr_t{15};
  auto* frame = reinterpret_cast<void**>(top) - frame_words;
  std::memset(frame, 0, frame_words * sizeof(void*));
  frame[entry_word] = reinterpret_cast<void*>(entry);
  f.stack_pointer = frame;
  f.stack_bottom = stack;
  f.stack_bytes = bytes;
  f.fake_stack = nullptr;
}

void fiber_switch(fiber& from, fiber& to) {
#ifdef __SANITIZE_ADDRESS__
  left = &from;
  __sanitizer_start_switch_fiber(&from.fake_stack, to.stack_bottom, to.stack_bytes);
  graft_fiber_switch(&from.stack_pointer, to.stack_pointer);
  __sanitizer_finish_switch_fiber(from.fake_stack, &left->stack_bottom, &left->stack_bytes);
#else
  graft_fiber_switch(&from.stack_pointer, to.stack_pointer);
#endif
}

void fiber_entered() {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(nullptr, &left->stack_bottom, &left->stack_bytes);
#endif
}

}  // namespace graft::emulation
