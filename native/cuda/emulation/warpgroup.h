// Products of warpgroups (PTX ISA 9.0, 9.7.15): what a thread hands over, and what becomes of it until
// its wait.
#pragma once

#include <string>

#include "block.h"

namespace graft::emulation {

// One thread's part of a product.
struct wgmma_call {
  float* d;           // n / 2 sums
  const uint32_t* a;  // four registers, or nullptr: a_descriptor
  uint64_t a_descriptor;
  uint64_t b_descriptor;
  int n;
  bool b_mn_major;
  bool add;
};

void issue_wgmma(const wgmma_call& call, const location& at);
void fence_wgmma(const location& at);
void commit_wgmma(const location& at);
// The accumulators named must be complete afterwards.
void wait_wgmma(size_t newest, const float* const* named, size_t count, const location& at);

// Registers a thread of the running warpgroup may have from now on.
void set_registers(int count, bool more, const location& at);

// Shared memory as a descriptor counts it: from here on, so that no matrix lies at 0.
constexpr uint32_t shared_window = 1024;

void start_block_of_warpgroups();
void leave_warpgroup(const device_thread& thread, const location& at);
// "" or what some warp did and others of its warpgroup did not.
std::string unlike_warpgroups();

}  // namespace graft::emulation
