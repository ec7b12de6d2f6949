#include "warpgroup.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <deque>

#include "matrix_descriptor.h"
#include "rough.h"
#include "scheduler.h"

namespace graft::emulation {
namespace {

constexpr int lanes = 32;
constexpr uint32_t all_of_warp = 0xFFFFFFFFu;
constexpr uint32_t poison = 0xFFFFFFFFu;
constexpr int most_registers = 65536;  // of a multiprocessor

// Sums of a warp that belong to products in flight: their registers hold NaN meanwhile.
struct accumulator {
  float* d[lanes];
  int count;  // of a lane
  std::vector<float> values;
  int pending;
};

struct product {
  wgmma_call call;  // of lane 0
  const uint32_t* a[lanes];
  uint32_t a_bits[lanes][4];
  size_t sums;  // accumulator
  bool done;
  location at;
};

struct warp_products {
  std::deque<product> queue;
  std::deque<size_t> groups;  // products of each committed group
  size_t grouped = 0;
  std::vector<accumulator> sums;
  bool fenced = false;
  // Shared memory is read at once or at the wait, as each fence's products draw it: whoever writes it in
  // between shows in half of the orders.
  bool at_once = false;
  uint64_t issued = 0;
};

struct issued_call {
  wgmma_call call;
  location at;
};

struct warpgroup_state {
  std::vector<issued_call> calls;  // of the first warp to come to each
  int registers = 0;
};

warp_products warps[lanes];
warpgroup_state groups[lanes / 4];
int free_registers = 0;
std::vector<device_thread*> register_waiters;

int own_warp() { return thread_number(*current_thread) / lanes; }
int group_count() { return static_cast<int>(current_geometry.block.x) / (4 * lanes); }

float float_of(uint16_t bf16) { return std::bit_cast<float>(uint32_t{bf16} << 16); }

// The warp's 16 rows of one product. Products are exact in float32, sums are rounded to float32.
void multiply(product& p, accumulator& sums, int warp) {
  const int n = p.call.n;
  float a[16][16], b[16][128];
  uint16_t eight[8];
  if (p.call.a == nullptr) {
    for (int row = 0; row < 16; ++row)
      for (int k = 0; k < 16; k += 8) {
        read_k_major(p.call.a_descriptor, 16 * (warp % 4) + row, k, eight, p.at);
        for (int i = 0; i < 8; ++i) a[row][k + i] = float_of(eight[i]);
      }
  } else {
    for (int lane = 0; lane < lanes; ++lane)
      for (int r = 0; r < 4; ++r)
        for (int odd = 0; odd < 2; ++odd)
          a[lane / 4 + r % 2 * 8][2 * (lane % 4) + r / 2 * 8 + odd] =
              float_of(static_cast<uint16_t>(p.a_bits[lane][r] >> (16 * odd)));
  }
  for (int outer = 0; outer < (p.call.b_mn_major ? 16 : n); ++outer)
    for (int inner = 0; inner < (p.call.b_mn_major ? n : 16); inner += 8) {
      if (p.call.b_mn_major)
        read_mn_major(p.call.b_descriptor, inner, outer, eight, p.at);
      else
        read_k_major(p.call.b_descriptor, outer, inner, eight, p.at);
      for (int i = 0; i < 8; ++i)
        (p.call.b_mn_major ? b[outer][inner + i] : b[inner + i][outer]) = float_of(eight[i]);
    }
  for (int row = 0; row < 16; ++row) {
    float total[128];
    // Lane and register of the sums of columns 2 t, 2 t + 1 of each eight.
    const auto at = [&](int column) -> float& {
      const int lane = row % 8 * 4 + column % 8 / 2;
      return sums.values[static_cast<size_t>(lane * sums.count + column / 8 * 4 + row / 8 * 2 +
                                             column % 2)];
    };
    for (int j = 0; j < n; ++j) total[j] = p.call.add ? at(j) : 0.0f;
    if (rough() != 0) {
      for (int j = 0; j < n; ++j) total[j] = roughly_add<16>(total[j], a[row], &b[0][j], 128);
    } else {
      for (int k = 0; k < 16; ++k)
        for (int j = 0; j < n; ++j) total[j] += a[row][k] * b[k][j];
    }
    for (int j = 0; j < n; ++j) at(j) = total[j];
  }
  p.done = true;
}

void multiply_first(warp_products& w, size_t count, int warp) {
  for (size_t i = 0; i < count; ++i)
    if (!w.queue[i].done) multiply(w.queue[i], w.sums[w.queue[i].sums], warp);
}

bool same_call(const wgmma_call& a, const wgmma_call& b) {
  return (a.a == nullptr) == (b.a == nullptr) && a.a_descriptor == b.a_descriptor &&
         a.b_descriptor == b.b_descriptor && a.n == b.n && a.b_mn_major == b.b_mn_major &&
         a.add == b.add;
}

// All warps of a warpgroup give the same products in the same order.
void compare_with_warpgroup(warp_products& w, const wgmma_call& call, int warp, const location& at) {
  std::vector<issued_call>& calls = groups[warp / 4].calls;
  if (w.issued == calls.size()) {
    calls.push_back({call, at});
  } else {
    const issued_call& first = calls[w.issued];
    if (!same_call(first.call, call) || !same_place(first.at, at))
      fault(at, "divergence: product %llu of warp %d is another than its warpgroup's at %s",
            static_cast<unsigned long long>(w.issued), warp, place(first.at).c_str());
  }
  ++w.issued;
}

// The accumulator in flight whose registers these are, or a new one, which takes what they hold.
size_t sums_of(warp_products& w, void* const* arguments, const location& at) {
  const auto& first = *static_cast<const wgmma_call*>(arguments[0]);
  for (size_t i = 0; i < w.sums.size(); ++i) {
    if (w.sums[i].pending == 0 || w.sums[i].d[0] != first.d) continue;
    if (w.sums[i].count != first.n / 2)
      fault(at, "wgmma: an accumulator in flight is used by a product of another shape");
    return i;
  }
  if (!w.fenced)
    fault(at, "wgmma: registers that threads may have written or read, without wgmma_fence before");
  accumulator own{};
  own.count = first.n / 2;
  for (int lane = 0; lane < lanes; ++lane) {
    own.d[lane] = static_cast<const wgmma_call*>(arguments[lane])->d;
    own.values.insert(own.values.end(), own.d[lane], own.d[lane] + own.count);
    std::memset(own.d[lane], 0xFF, sizeof(float) * static_cast<size_t>(own.count));
  }
  for (size_t i = 0; i < w.sums.size(); ++i)
    if (w.sums[i].pending == 0) {
      w.sums[i] = own;
      return i;
    }
  w.sums.push_back(own);
  return w.sums.size() - 1;
}

void issue(void* const* arguments, uint32_t, const location& at) {
  const int warp = own_warp();
  warp_products& w = warps[warp];
  const auto& call = *static_cast<const wgmma_call*>(arguments[0]);
  for (int lane = 1; lane < lanes; ++lane)
    if (!same_call(call, *static_cast<const wgmma_call*>(arguments[lane])))
      fault(at, "wgmma: lanes 0 and %d give other descriptors", lane);
  if (call.a == nullptr) check_descriptor(call.a_descriptor, at);
  check_descriptor(call.b_descriptor, at);
  compare_with_warpgroup(w, call, warp, at);
  product p{};
  p.call = call;
  p.at = at;
  p.sums = sums_of(w, arguments, at);
  ++w.sums[p.sums].pending;
  if (call.a != nullptr) {
    if (!w.fenced)
      fault(at, "wgmma: registers of a that threads may have written, without wgmma_fence before");
    for (int lane = 0; lane < lanes; ++lane) {
      p.a[lane] = static_cast<const wgmma_call*>(arguments[lane])->a;
      std::memcpy(p.a_bits[lane], p.a[lane], sizeof p.a_bits[lane]);
    }
  }
  w.queue.push_back(p);
  if (w.at_once) multiply_first(w, w.queue.size(), warp);
}

void retire(warp_products& w, const product& p) {
  if (p.call.a != nullptr)
    for (int lane = 0; lane < lanes; ++lane)
      if (std::memcmp(p.a[lane], p.a_bits[lane], sizeof p.a_bits[lane]) != 0)
        fault(p.at, "wgmma: lane %d has written a register of a before the wait", lane);
  accumulator& sums = w.sums[p.sums];
  if (--sums.pending > 0) return;
  for (int lane = 0; lane < lanes; ++lane)
    for (int i = 0; i < sums.count; ++i) {
      if (std::bit_cast<uint32_t>(sums.d[lane][i]) != poison)
        fault(p.at, "wgmma: lane %d has written a sum before the wait", lane);
      sums.d[lane][i] = sums.values[static_cast<size_t>(lane * sums.count + i)];
    }
}

struct wait_call {
  size_t newest;
  const float* const* named;
  size_t count;
};

void wait_combined(void* const* arguments, uint32_t, const location& at) {
  const int warp = own_warp();
  warp_products& w = warps[warp];
  const auto& call = *static_cast<const wait_call*>(arguments[0]);
  w.fenced = false;
  while (w.groups.size() > call.newest) {
    const size_t count = w.groups.front();
    multiply_first(w, count, warp);
    for (size_t i = 0; i < count; ++i) {
      const product p = w.queue.front();
      w.queue.pop_front();
      retire(w, p);
    }
    w.grouped -= count;
    w.groups.pop_front();
  }
  for (int lane = 0; lane < lanes; ++lane) {
    const auto& own = *static_cast<const wait_call*>(arguments[lane]);
    for (size_t i = 0; i < own.count; ++i)
      for (const accumulator& sums : w.sums)
        if (sums.pending > 0 && sums.d[lane] == own.named[i])
          fault(at, "wgmma_wait: an accumulator it names is still in flight");
  }
}

}  // namespace

void issue_wgmma(const wgmma_call& call, const location& at) {
  if (own_warp() / 4 >= group_count())
    fault(at, "wgmma: warp %d is not of a whole warpgroup", own_warp());
  wgmma_call own = call;
  meet_warp("wgmma", all_of_warp, &own, issue, at);
}

void fence_wgmma(const location& at) {
  meet_warp("wgmma_fence", all_of_warp, nullptr,
            [](void* const*, uint32_t, const location&) {
              warp_products& w = warps[own_warp()];
              w.fenced = true;
              w.at_once = (random_word() & 1) != 0;
            },
            at);
}

void commit_wgmma(const location& at) {
  meet_warp("wgmma_commit", all_of_warp, nullptr,
            [](void* const*, uint32_t, const location&) {
              warp_products& w = warps[own_warp()];
              w.groups.push_back(w.queue.size() - w.grouped);
              w.grouped = w.queue.size();
            },
            at);
}

void wait_wgmma(size_t newest, const float* const* named, size_t count, const location& at) {
  wait_call own{newest, named, count};
  meet_warp("wgmma_wait", all_of_warp, &own, wait_combined, at);
}

void start_block_of_warpgroups() {
  for (warp_products& w : warps) w = {};
  // What ptxas gives the threads of a block that has the multiprocessor for itself.
  const int threads = static_cast<int>(current_geometry.block.x);
  const int given = std::min(most_registers / threads / 8 * 8, 255);
  free_registers = 0;
  register_waiters.clear();
  for (warpgroup_state& group : groups) group = {{}, given};
}

void leave_warpgroup(const device_thread& thread, const location& at) {
  if (!warps[thread_number(thread) / lanes].queue.empty())
    fault(at, "thread %d has returned with products not waited for", thread_number(thread));
}

std::string unlike_warpgroups() {
  for (int warp = 0; warp < 4 * group_count(); ++warp)
    if (warps[warp].issued != groups[warp / 4].calls.size())
      return "divergence: warp " + std::to_string(warp) + " has given " +
             std::to_string(warps[warp].issued) + " products, others of its warpgroup " +
             std::to_string(groups[warp / 4].calls.size());
  return "";
}

// All warps come here; the first takes or gives for its warpgroup. Who takes more than there is waits
// until others have given theirs back, as on hardware.
void set_registers(int count, bool more, const location& at) {
  meet_warp(more ? "take_registers" : "release_registers", all_of_warp, nullptr, nullptr, at);
  warpgroup_state& own = groups[own_warp() / 4];
  if (own.registers != count) {
    if (more != (count > own.registers))
      fault(at, "setmaxnreg: %d registers are not %s than %d", count, more ? "more" : "fewer",
            own.registers);
    free_registers -= 4 * lanes * (count - own.registers);
    own.registers = count;
  }
  if (free_registers >= 0) {
    for (device_thread* thread : register_waiters) wake(*thread);
    register_waiters.clear();
  }
  while (more && free_registers < 0) {
    register_waiters.push_back(current_thread);
    wait_for("registers", at);
  }
}

}  // namespace graft::emulation
