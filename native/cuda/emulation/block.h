// One block of threads at a time: each thread a fiber, each warp's lanes and the warps themselves
// in an order that a seed decides. Wrong use is a fault: the launch ends and a sentence says what,
// who and where.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <source_location>
#include <string>
#include <vector>

#include "fiber.h"
#include "types.h"

namespace graft::emulation {

using location = std::source_location;

struct async_copy {
  void* shared;
  const void* global;
  int bytes;
  int source_bytes;
};

struct device_thread {
  fiber context;
  uint3 index;                     // threadIdx
  void* argument;                  // of the meeting it waits in
  std::vector<async_copy> copies;  // issued, not landed
  std::vector<size_t> groups;      // committed groups: how many copies each holds
  size_t grouped;                  // copies that belong to a group
  const char* waits_for;           // nullptr: it can run
  location waits_at;
  bool in_barrier;
};

struct launch_geometry {
  dim3 grid;
  dim3 block;
  size_t shared_bytes;
};

// Of the running thread. Blocks run one after another, under a lock.
extern device_thread* current_thread;
extern uint3 current_block_index;
extern launch_geometry current_geometry;
extern unsigned char* current_shared;

// Runs `body` for each thread of the grid; "" or the fault.
std::string run_grid(const launch_geometry& geometry, const std::function<void()>& body,
                     uint64_t seed);

// Ends the launch.
[[noreturn]] void fault(const location& at, const char* format, ...)
    __attribute__((format(printf, 2, 3)));

// All lanes of `mask` meet; the last one runs `combine`, which sees each lane's argument.
using combination = void (*)(void* const* arguments, uint32_t mask, const location& at);
void meet_warp(const char* what, uint32_t mask, void* argument, combination combine,
               const location& at);
// Barrier 0 wants the whole block at one place; 1..15 count threads. True if any thread voted so.
bool meet_block(bool vote, const location& at);
bool meet_barrier(int id, int threads, bool wait, bool vote, const location& at);

void issue_copy(const async_copy& copy, const location& at);
void commit_copies();
void wait_copies(size_t newest);
void wait_all_copies();

// `bytes` at `address` lie in the block's shared memory, aligned.
void check_shared(const char* what, const void* address, size_t bytes, const location& at);

}  // namespace graft::emulation
