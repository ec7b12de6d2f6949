#include "mbarrier.h"

#include <cstring>
#include <map>

#include "scheduler.h"

namespace graft::emulation {
namespace {

constexpr int most_arrivals = (1 << 20) - 1;
constexpr int most_bytes = (1 << 20) - 1;
constexpr unsigned char mark[8] = {0x6D, 0x62, 0x61, 0x72, 0x72, 0x69, 0x65, 0x72};

struct mbarrier_state {
  int expected;  // arrivals of a phase
  int missing;   // of this one
  int bytes;     // announced and not landed; below 0: landed before they were announced
  uint64_t phase;
  bool fenced;  // its init is seen by the async proxy
  int owner;    // thread that initialised it
  location at;
  std::vector<std::pair<device_thread*, int>> waiting;
};

// By offset. The word in shared memory holds a mark, to find barriers that are written over.
std::map<size_t, mbarrier_state> barriers;

size_t offset_of(const void* address, const location& at) {
  return shared_offset("mbarrier", address, 8, at);
}

mbarrier_state& state_of(const void* address, const location& at) {
  const size_t offset = offset_of(address, at);
  const auto found = barriers.find(offset);
  if (found == barriers.end())
    fault(at, "mbarrier at byte %zu of shared memory is not initialised", offset);
  if (std::memcmp(current_shared + offset, mark, sizeof mark) != 0)
    fault(at, "mbarrier at byte %zu of shared memory was written over", offset);
  return found->second;
}

void end_phase_if_done(mbarrier_state& b) {
  if (b.missing != 0 || b.bytes != 0) return;
  ++b.phase;
  b.missing = b.expected;
  for (size_t i = 0; i < b.waiting.size();) {
    if (static_cast<int>(b.phase & 1) == b.waiting[i].second) {
      ++i;
      continue;
    }
    wake(*b.waiting[i].first);
    b.waiting.erase(b.waiting.begin() + static_cast<long>(i));
  }
}

std::string describe(size_t offset, const mbarrier_state& b) {
  return "mbarrier at byte " + std::to_string(offset) + " (" + place(b.at).c_str() + "), phase " +
         std::to_string(b.phase) + ", lacks " + std::to_string(b.missing) + " of " +
         std::to_string(b.expected) + " arrivals and " + std::to_string(b.bytes) + " bytes";
}

}  // namespace

void start_block_of_mbarriers() { barriers.clear(); }

void init_mbarrier(void* address, int arrivals, const location& at) {
  const size_t offset = offset_of(address, at);
  if (arrivals < 1 || arrivals > most_arrivals)
    fault(at, "mbarrier_init: arrivals: expected 1..%d, got %d", most_arrivals, arrivals);
  const auto found = barriers.find(offset);
  if (found != barriers.end())
    fault(at, "mbarrier_init: byte %zu of shared memory holds one since %s", offset,
          place(found->second.at).c_str());
  std::memcpy(current_shared + offset, mark, sizeof mark);
  std::memcpy(async_view + offset, mark, sizeof mark);
  barriers[offset] = {arrivals, arrivals, 0, 0, false, thread_number(*current_thread), at, {}};
}

void fence_mbarrier_init() {
  for (auto& [offset, b] : barriers)
    if (b.owner == thread_number(*current_thread)) b.fenced = true;
}

void arrive_at_mbarrier(void* address, int bytes, const location& at) {
  mbarrier_state& b = state_of(address, at);
  if (bytes < 0 || bytes > most_bytes || b.bytes + bytes > most_bytes)
    fault(at, "mbarrier_arrive_expect: expected 0..%d bytes, got %d after %d", most_bytes, bytes,
          b.bytes);
  if (b.missing == 0)
    fault(at, "mbarrier_arrive: more than %d arrivals in phase %llu, which waits for %d bytes",
          b.expected, static_cast<unsigned long long>(b.phase), b.bytes);
  b.bytes += bytes;
  --b.missing;
  const uint64_t phase = b.phase;
  end_phase_if_done(b);
  if (b.phase != phase) let_others_run();
}

void wait_for_mbarrier(void* address, int parity, const location& at) {
  mbarrier_state& b = state_of(address, at);
  if (parity != 0 && parity != 1) fault(at, "mbarrier_wait: expected parity 0 or 1, got %d", parity);
  // Awake, it looks again: the next phase may have ended meanwhile, as on hardware.
  while (static_cast<int>(b.phase & 1) == parity) {
    b.waiting.emplace_back(current_thread, parity);
    wait_for("an mbarrier", at);
  }
}

void check_mbarrier_of_copy(void* address, const location& at) {
  const mbarrier_state& b = state_of(address, at);
  if (!b.fenced)
    fault(at, "copy_tensor: its mbarrier was initialised at %s without mbarrier_init_fence",
          place(b.at).c_str());
}

void complete_bytes(void* address, int bytes, const location& at) {
  mbarrier_state& b = state_of(address, at);
  b.bytes -= bytes;
  if (b.bytes < -most_bytes) fault(at, "copy_tensor: %d bytes that nobody announced", -b.bytes);
  end_phase_if_done(b);
}

std::string describe_mbarriers() {
  std::string text;
  for (const auto& [offset, b] : barriers)
    if (!b.waiting.empty()) text += "; " + describe(offset, b);
  return text;
}

std::string open_mbarriers() {
  for (const auto& [offset, b] : barriers)
    if (b.bytes != 0) return "the block has ended, but " + describe(offset, b);
  return "";
}

}  // namespace graft::emulation
