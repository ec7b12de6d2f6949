#include "block.h"

#include <sys/mman.h>
#include <unistd.h>

#include <bit>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "mbarrier.h"
#include "runtime.h"
#include "scheduler.h"
#include "tensor_copy.h"
#include "warpgroup.h"

namespace graft::emulation {

device_thread* current_thread = nullptr;
uint3 current_block_index{};
launch_geometry current_geometry;
unsigned char* current_shared = nullptr;
unsigned char* async_view = nullptr;

namespace {

constexpr int most_threads = 1024;
constexpr size_t stack_bytes = 256 * 1024;
constexpr uint32_t all_of_warp = 0xFFFFFFFFu;
constexpr size_t shared_alignment = 1024;
constexpr size_t red_zone = 1024;
constexpr unsigned char red_zone_byte = 0xA5;

struct meeting {
  uint32_t mask;
  uint32_t arrived;
  const char* what;
  location at;
};

struct warp {
  uint32_t ready;  // lanes that can run
  uint32_t done;
  uint32_t lanes;
  std::vector<meeting> meetings;
};

struct barrier {
  int arrived;
  int expected;  // 0: nobody has come
  location at;
  std::vector<device_thread*> waiting;
  bool vote = false;    // of those who have come
  bool result = false;  // of the last meeting: read before the next one can end
};

struct scheduler {
  device_thread threads[most_threads];
  warp warps[most_threads / 32];
  barrier barriers[16];
  int thread_count = 0;
  int done_count = 0;
  fiber host;
  char* stacks = nullptr;
  const std::function<void()>* body = nullptr;
  std::string fault_text;
  uint64_t random = 1;
};
scheduler* s = nullptr;

}  // namespace

uint32_t random_word() {
  uint64_t x = s->random;  // xorshift64*
  x ^= x >> 12;
  x ^= x << 25;
  x ^= x >> 27;
  s->random = x;
  return static_cast<uint32_t>((x * 0x2545F4914F6CDD1Dull) >> 32);
}

int thread_number(const device_thread& thread) { return static_cast<int>(&thread - s->threads); }

namespace {

// A random bit of a word that has one.
int random_bit(uint32_t word) {
  const int rotation = static_cast<int>(random_word() & 31);
  return (std::countr_zero(std::rotr(word, rotation)) + rotation) & 31;
}

int lane_of(const device_thread& thread) { return thread_number(thread) & 31; }
warp& warp_of(const device_thread& thread) { return s->warps[thread_number(thread) / 32]; }

const char* file_name(const location& at) {
  const char* slash = std::strrchr(at.file_name(), '/');
  return slash == nullptr ? at.file_name() : slash + 1;
}

}  // namespace

bool same_place(const location& a, const location& b) {
  return a.line() == b.line() && a.column() == b.column() &&
         (a.file_name() == b.file_name() || std::strcmp(a.file_name(), b.file_name()) == 0);
}

place_text place(const location& at) {
  place_text written;
  std::snprintf(written.text, sizeof written.text, "%s:%u", file_name(at),
                static_cast<unsigned>(at.line()));
  return written;
}

namespace {

void go_to(device_thread& next) {
  device_thread* previous = current_thread;
  if (previous == &next) return;
  current_thread = &next;
  fiber_switch(previous->context, next.context);
}

void go_to_host() {
  device_thread* previous = current_thread;
  current_thread = nullptr;
  fiber_switch(previous->context, s->host);
}

[[noreturn]] void deadlock() {
  char text[512] = "";
  size_t used = 0;
  for (int i = 0; i < s->thread_count && used < sizeof text; ++i) {
    const device_thread& t = s->threads[i];
    if (t.waits_for == nullptr) continue;
    const int written =
        std::snprintf(text + used, sizeof text - used, "; thread %d waits for %s at %s", i,
                      t.waits_for, place(t.waits_at).c_str());
    used += static_cast<size_t>(written);
    i |= 31;  // one of each warp
  }
  fault(location::current(), "deadlock: no thread can run%s%s", text, describe_mbarriers().c_str());
}

// Some thread that can run: of this warp by preference, so that whole warps mostly go together.
device_thread& next_thread(bool stay) {
  // Tensor copies land at any time, and at the latest when nobody can go on without one.
  if (tensor_copies_in_flight() && (random_word() & 31) == 0) land_tensor_copy();
  const int own = thread_number(*current_thread) / 32;
  if (stay && s->warps[own].ready != 0)
    return s->threads[own * 32 + random_bit(s->warps[own].ready)];
  uint32_t warps = 0;
  do {
    for (int i = 0; i < s->thread_count / 32; ++i)
      if (s->warps[i].ready != 0) warps |= 1u << i;
  } while (warps == 0 && land_tensor_copy());
  if (warps == 0) deadlock();
  const int chosen = random_bit(warps);
  return s->threads[chosen * 32 + random_bit(s->warps[chosen].ready)];
}

}  // namespace

void wait_for(const char* what, const location& at) {
  device_thread& self = *current_thread;
  self.waits_for = what;
  self.waits_at = at;
  warp_of(self).ready &= ~(1u << lane_of(self));
  go_to(next_thread(true));
}

void wake(device_thread& thread) {
  thread.waits_for = nullptr;
  thread.in_barrier = false;
  warp_of(thread).ready |= 1u << lane_of(thread);
}

void let_others_run() {
  if ((random_word() & 1) != 0) go_to(next_thread(false));
}

namespace {

// Nobody may still count on a lane that goes elsewhere.
void leave_meetings(const device_thread& thread, const char* where, const location& at) {
  for (const meeting& m : warp_of(thread).meetings)
    if ((m.mask >> lane_of(thread)) & 1)
      fault(at, "divergence: thread %d %s while lanes %08x of its warp wait for it in %s at %s",
            thread_number(thread), where, m.arrived, m.what, place(m.at).c_str());
}

void land(device_thread& thread, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    const async_copy& c = thread.copies[i];
    auto* to = static_cast<unsigned char*>(c.shared);
    if (c.source_bytes > 0) std::memcpy(to, c.global, static_cast<size_t>(c.source_bytes));
    std::memset(to + c.source_bytes, 0, static_cast<size_t>(c.bytes - c.source_bytes));
  }
  thread.copies.erase(thread.copies.begin(), thread.copies.begin() + static_cast<long>(count));
}

void thread_entry() {
  fiber_entered();
  (*s->body)();
  device_thread& self = *current_thread;
  const location here = location::current();
  leave_meetings(self, "has returned", here);
  if (!self.copies.empty())
    fault(here, "thread %d has returned with %zu asynchronous copies not waited for",
          thread_number(self), self.copies.size());
  leave_warpgroup(self, here);
  if (s->barriers[0].arrived > 0)
    fault(s->barriers[0].at, "divergence: thread %d has returned, %d threads wait in sync_threads",
          thread_number(self), s->barriers[0].arrived);
  warp& w = warp_of(self);
  w.ready &= ~(1u << lane_of(self));
  w.done |= 1u << lane_of(self);
  if (++s->done_count == s->thread_count) go_to_host();
  go_to(next_thread(true));
  std::abort();  // a finished thread is never chosen
}

void start_block() {
  start_block_of_mbarriers();
  start_block_of_tensor_copies();
  start_block_of_warpgroups();
  s->done_count = 0;
  for (int i = 0; i < s->thread_count; ++i) {
    device_thread& t = s->threads[i];
    t.index = {static_cast<unsigned>(i), 0, 0};
    t.copies.clear();
    t.groups.clear();
    t.grouped = 0;
    t.waits_for = nullptr;
    t.in_barrier = false;
    // Equal offsets in every stack would all want the same cache lines.
    const size_t shift = static_cast<size_t>(i % 64) * 320;
    char* stack = s->stacks + static_cast<size_t>(i) * stack_bytes;
    fiber_prepare(t.context, stack, stack_bytes - shift, thread_entry);
  }
  for (int i = 0; i < s->thread_count / 32; ++i) {
    s->warps[i].ready = all_of_warp;
    s->warps[i].done = 0;
    s->warps[i].meetings.clear();
  }
  for (barrier& b : s->barriers) {
    b.arrived = b.expected = 0;
    b.vote = false;
    b.waiting.clear();
  }
}

}  // namespace

void fault(const location& at, const char* format, ...) {
  char text[768];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  s->fault_text = place(at).text + std::string(": ") + text + " (block " +
                  std::to_string(current_block_index.x) + ", " +
                  std::to_string(current_block_index.y) + ", " +
                  std::to_string(current_block_index.z) + ")";
  go_to_host();
  std::abort();  // the host never comes back to a faulted block
}

void meet_warp(const char* what, uint32_t mask, void* argument, combination combine,
               const location& at) {
  device_thread& self = *current_thread;
  warp& w = warp_of(self);
  const uint32_t bit = 1u << lane_of(self);
  if ((mask & bit) == 0)
    fault(at, "%s: lane %d calls with mask %08x, which does not name it", what, lane_of(self),
          mask);
  if ((w.done & mask) != 0)
    fault(at, "divergence: %s names lanes %08x, which have returned", what, w.done & mask);
  self.argument = argument;
  meeting* found = nullptr;
  for (meeting& m : w.meetings) {
    if ((m.mask & bit) == 0) continue;  // other lanes may meet before they come here
    if (m.mask != mask || m.what != what || !same_place(m.at, at))
      fault(at,
            "divergence: lane %d is in %s with mask %08x, lanes %08x wait for it in %s with mask "
            "%08x at %s",
            lane_of(self), what, mask, m.arrived, m.what, m.mask, place(m.at).c_str());
    found = &m;
    break;
  }
  if (found == nullptr) {
    for (uint32_t rest = mask & ~bit & ~w.ready; rest != 0; rest &= rest - 1) {
      const device_thread& other = s->threads[(thread_number(self) & ~31) + std::countr_zero(rest)];
      if (other.in_barrier)
        fault(at, "divergence: %s names lane %d, which waits for %s at %s", what, lane_of(other),
              other.waits_for, place(other.waits_at).c_str());
    }
    w.meetings.push_back({mask, 0, what, at});
    found = &w.meetings.back();
  }
  found->arrived |= bit;
  if (found->arrived != mask) {
    wait_for(what, at);
    return;
  }
  w.meetings.erase(w.meetings.begin() + (found - w.meetings.data()));
  if (combine != nullptr) {
    void* arguments[32];
    const int first = thread_number(self) & ~31;
    for (int lane = 0; lane < 32; ++lane) arguments[lane] = s->threads[first + lane].argument;
    combine(arguments, mask, at);
  }
  for (uint32_t rest = mask & ~bit; rest != 0; rest &= rest - 1)
    wake(s->threads[(thread_number(self) & ~31) + std::countr_zero(rest)]);
  // Now and then another warp overtakes.
  if ((random_word() & 7) == 0) go_to(next_thread(false));
}

bool meet_block(bool vote, const location& at) {
  device_thread& self = *current_thread;
  leave_meetings(self, "is in sync_threads", at);
  barrier& b = s->barriers[0];
  if (s->done_count > 0)
    fault(at, "divergence: sync_threads while %d threads have returned", s->done_count);
  if (b.arrived == 0)
    b.at = at;
  else if (!same_place(b.at, at))
    fault(at, "divergence: thread %d is in this sync_threads, others wait in the one at %s",
          thread_number(self), place(b.at).c_str());
  b.vote |= vote;
  if (++b.arrived < s->thread_count) {
    b.waiting.push_back(&self);
    self.in_barrier = true;
    wait_for("sync_threads", at);
    return b.result;
  }
  b.arrived = 0;
  b.result = b.vote;
  b.vote = false;
  for (device_thread* thread : b.waiting) wake(*thread);
  b.waiting.clear();
  go_to(next_thread(false));
  return b.result;
}

bool meet_barrier(int id, int threads, bool wait_for_it, bool vote, const location& at) {
  device_thread& self = *current_thread;
  // Who only arrives goes on to where the other lanes may be already.
  if (wait_for_it) leave_meetings(self, "is in a named barrier", at);
  if (id < 1 || id > 15 || threads < 32 || threads % 32 != 0 || threads > s->thread_count)
    fault(at, "barrier %d of %d threads: expected 1..15 and a multiple of 32 up to %d", id, threads,
          s->thread_count);
  barrier& b = s->barriers[id];
  if (b.arrived == 0)
    b.expected = threads;
  else if (b.expected != threads)
    fault(at, "barrier %d: thread %d expects %d threads, others %d", id, thread_number(self),
          threads, b.expected);
  b.vote |= vote;
  if (++b.arrived < threads) {
    if (!wait_for_it) return false;
    b.waiting.push_back(&self);
    self.in_barrier = true;
    wait_for("a named barrier", at);
    return b.result;
  }
  b.arrived = 0;
  b.result = b.vote;
  b.vote = false;
  for (device_thread* thread : b.waiting) wake(*thread);
  b.waiting.clear();
  const bool result = b.result;
  go_to(next_thread(false));
  return result;
}

size_t shared_offset(const char* what, const void* address, size_t bytes, const location& at) {
  const auto own = reinterpret_cast<uintptr_t>(address) - reinterpret_cast<uintptr_t>(current_shared);
  const size_t all = current_geometry.shared_bytes;
  if (own > all || bytes > all - own)
    fault(at, "%s: address is %lld bytes from the start of shared memory of %zu bytes", what,
          static_cast<long long>(own), all);
  return own;
}

void check_shared(const char* what, const void* address, size_t bytes, const location& at) {
  if (reinterpret_cast<uintptr_t>(address) % bytes != 0)
    fault(at, "%s: shared address is not aligned to %zu bytes", what, bytes);
  shared_offset(what, address, bytes, at);
}

void fence_async_view() { std::memcpy(async_view, current_shared, current_geometry.shared_bytes); }

void issue_copy(const async_copy& copy, const location& at) {
  check_shared("copy_async", copy.shared, static_cast<size_t>(copy.bytes), at);
  if (copy.source_bytes < 0 || copy.source_bytes > copy.bytes)
    fault(at, "copy_async: source_bytes: expected 0..%d, got %d", copy.bytes, copy.source_bytes);
  if (reinterpret_cast<uintptr_t>(copy.global) % static_cast<size_t>(copy.bytes) != 0)
    fault(at, "copy_async: global address is not aligned to %d bytes", copy.bytes);
  if (copy.source_bytes > 0 &&
      !is_device_memory(copy.global, static_cast<size_t>(copy.source_bytes)))
    fault(at, "copy_async: %d bytes at %p are not in device memory", copy.source_bytes,
          copy.global);
  std::memset(copy.shared, 0xFF, static_cast<size_t>(copy.bytes));
  current_thread->copies.push_back(copy);
}

void commit_copies() {
  device_thread& self = *current_thread;
  self.groups.push_back(self.copies.size() - self.grouped);
  self.grouped = self.copies.size();
}

void wait_copies(size_t newest) {
  device_thread& self = *current_thread;
  if (self.groups.size() <= newest) return;
  const size_t finished = self.groups.size() - newest;
  size_t count = 0;
  for (size_t i = 0; i < finished; ++i) count += self.groups[i];
  land(self, count);
  self.grouped -= count;
  self.groups.erase(self.groups.begin(), self.groups.begin() + static_cast<long>(finished));
}

void wait_all_copies() {
  device_thread& self = *current_thread;
  land(self, self.copies.size());
  self.groups.clear();
  self.grouped = 0;
}

std::string run_grid(const launch_geometry& geometry, const std::function<void()>& body,
                     uint64_t seed) {
  static const std::unique_ptr<scheduler> the_scheduler = std::make_unique<scheduler>();
  s = the_scheduler.get();
  if (s->stacks == nullptr) {
    void* memory = mmap(nullptr, most_threads * stack_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return "no memory for the stacks of the emulated threads";
    s->stacks = static_cast<char*>(memory);
    // The lowest page of each stack stops an overflow.
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    for (int i = 0; i < most_threads; ++i)
      mprotect(s->stacks + static_cast<size_t>(i) * stack_bytes, page, PROT_NONE);
  }
  s->thread_count = static_cast<int>(geometry.block.x);
  s->body = &body;
  s->random = seed * 0x9E3779B97F4A7C15ull | 1;
  s->fault_text.clear();
  std::vector<unsigned char> memory(geometry.shared_bytes + red_zone + shared_alignment);
  std::vector<unsigned char> second_view(geometry.shared_bytes);
  const auto address = reinterpret_cast<uintptr_t>(memory.data());
  current_shared = memory.data() + (shared_alignment - address % shared_alignment) % shared_alignment;
  async_view = second_view.data();
  current_geometry = geometry;
  const uint64_t blocks = uint64_t{geometry.grid.x} * geometry.grid.y * geometry.grid.z;
  // A random rotation and direction: no block may count on an earlier one.
  const uint64_t first = (uint64_t{random_word()} << 32 | random_word()) % blocks;
  const bool falling = (random_word() & 1) != 0;
  for (uint64_t i = 0; i < blocks; ++i) {
    const uint64_t step = falling ? blocks - 1 - i : i;
    const uint64_t block = (first + step) % blocks;
    current_block_index = {static_cast<unsigned>(block % geometry.grid.x),
                           static_cast<unsigned>(block / geometry.grid.x % geometry.grid.y),
                           static_cast<unsigned>(block / geometry.grid.x / geometry.grid.y)};
    std::memset(current_shared, 0xFF, geometry.shared_bytes);
    std::memset(async_view, 0xFF, geometry.shared_bytes);
    std::memset(current_shared + geometry.shared_bytes, red_zone_byte, red_zone);
    start_block();
    const uint32_t warps = all_of_warp >> (32 - s->thread_count / 32);
    current_thread = &s->threads[random_bit(warps) * 32];
    fiber_switch(s->host, current_thread->context);
    if (!s->fault_text.empty()) return s->fault_text;
    if (tensor_copies_in_flight()) return "the block has ended with tensor copies in flight";
    for (const std::string& text : {open_mbarriers(), unlike_warpgroups()})
      if (!text.empty()) return text;
    for (size_t k = 0; k < red_zone; ++k)
      if (current_shared[geometry.shared_bytes + k] != red_zone_byte) {
        char text[160];
        std::snprintf(text, sizeof text,
                      "a write %zu bytes beyond the %zu bytes of shared memory (block %u, %u, %u)",
                      k, geometry.shared_bytes, current_block_index.x, current_block_index.y,
                      current_block_index.z);
        return text;
      }
  }
  return "";
}

}  // namespace graft::emulation
