#include "matrix_descriptor.h"

#include <cstring>

#include "scheduler.h"
#include "warpgroup.h"

namespace graft::emulation {
namespace {

constexpr uint64_t meaningful = 0x3FFFull | 0x3FFFull << 16 | 0x3FFFull << 32 | 7ull << 49 | 3ull << 62;

struct layout {
  uint32_t address, leading, stride;
  int swizzle_bits;  // 3, 2, 1; 0: none

  explicit layout(uint64_t descriptor)
      : address(static_cast<uint32_t>(descriptor & 0x3FFF) << 4),
        leading(static_cast<uint32_t>(descriptor >> 16 & 0x3FFF) << 4),
        stride(static_cast<uint32_t>(descriptor >> 32 & 0x3FFF) << 4) {
    const auto mode = static_cast<int>(descriptor >> 62);
    swizzle_bits = mode == 0 ? 0 : 4 - mode;
  }
  int chunks() const { return 1 << swizzle_bits; }  // of a row

  void read(uint32_t offset, uint16_t (&eight)[8], const location& at) const {
    uint32_t own = address + offset;
    own ^= (own >> 7 & (static_cast<uint32_t>(chunks()) - 1)) << 4;
    const size_t all = current_geometry.shared_bytes;
    if (own < shared_window || own - shared_window + 16 > all)
      fault(at, "wgmma: a descriptor leads to byte %lld of shared memory of %zu bytes",
            static_cast<long long>(own) - shared_window, all);
    const size_t from = own - shared_window;
    if (std::memcmp(current_shared + from, async_view + from, 16) != 0)
      fault(at, "wgmma: reads byte %zu of shared memory, which threads have written without "
                "fence_async_proxy behind", from);
    std::memcpy(eight, current_shared + from, 16);
  }
};

}  // namespace

void check_descriptor(uint64_t descriptor, const location& at) {
  if ((descriptor & ~meaningful) != 0)
    fault(at, "wgmma: descriptor %016llx has bits that mean nothing",
          static_cast<unsigned long long>(descriptor));
  if ((descriptor >> 49 & 7) != 0)
    fault(at, "wgmma: descriptor %016llx has a base offset; patterns start at multiples of 1024 bytes "
              "here", static_cast<unsigned long long>(descriptor));
}

void read_k_major(uint64_t descriptor, int row, int k, uint16_t (&eight)[8], const location& at) {
  const layout own(descriptor);
  const auto r = static_cast<uint32_t>(row), chunk = static_cast<uint32_t>(k / 8);
  const auto row_chunks = static_cast<uint32_t>(own.chunks());
  own.read(r % 8 * row_chunks * 16 + r / 8 * own.stride +
               chunk * (own.swizzle_bits == 0 ? own.leading : 16),
           eight, at);
}

void read_mn_major(uint64_t descriptor, int mn, int k, uint16_t (&eight)[8], const location& at) {
  const layout own(descriptor);
  const auto chunk = static_cast<uint32_t>(mn / 8), depth = static_cast<uint32_t>(k);
  const auto row_chunks = static_cast<uint32_t>(own.chunks());
  const bool none = own.swizzle_bits == 0;
  own.read(chunk % row_chunks * 16 + chunk / row_chunks * (none ? own.stride : own.leading) +
               depth % 8 * row_chunks * 16 + depth / 8 * (none ? own.leading : own.stride),
           eight, at);
}

}  // namespace graft::emulation
