// Barriers in shared memory (PTX ISA 9.0, 9.7.13.15): arrivals and bytes of a phase, and who waits.
#pragma once

#include <string>

#include "block.h"

namespace graft::emulation {

void init_mbarrier(void* address, int arrivals, const location& at);
void fence_mbarrier_init();
// Announces `bytes` first.
void arrive_at_mbarrier(void* address, int bytes, const location& at);
void wait_for_mbarrier(void* address, int parity, const location& at);

// A tensor copy's own side: it may name the barrier; its bytes have landed.
void check_mbarrier_of_copy(void* address, const location& at);
void complete_bytes(void* address, int bytes, const location& at);

void start_block_of_mbarriers();
// Of a deadlock: what each barrier that someone waits for lacks. Of a block's end: "" or what is open.
std::string describe_mbarriers();
std::string open_mbarriers();

}  // namespace graft::emulation
