#include "tensor_copy.h"

#include <algorithm>
#include <cstring>

#include "mbarrier.h"
#include "runtime.h"
#include "scheduler.h"

namespace graft::emulation {
namespace {

constexpr int element = 2;
constexpr size_t row_bytes = 128, atom_bytes = 1024;

struct tensor_copy {
  size_t to;  // offset in shared memory
  tensor_shape tensor;
  int first[3];
  void* mbarrier;
  location at;

  int bytes() const { return tensor.box[0] * tensor.box[1] * tensor.box[2] * element; }
};

std::vector<tensor_copy> in_flight;

bool inside(int64_t index, int64_t dim) { return index >= 0 && index < dim; }

// Rows of the box, whole ones: inside(row in the box, address or nullptr).
template <typename Body>
void for_rows(const tensor_copy& copy, Body body) {
  for (int z = 0; z < copy.tensor.box[2]; ++z)
    for (int y = 0; y < copy.tensor.box[1]; ++y) {
      const int64_t own_y = int64_t{copy.first[1]} + y, own_z = int64_t{copy.first[2]} + z;
      const bool there = inside(own_y, copy.tensor.dims[1]) && inside(own_z, copy.tensor.dims[2]);
      body(z * copy.tensor.box[1] + y,
           there ? copy.tensor.address + own_y * copy.tensor.strides[0] + own_z * copy.tensor.strides[1]
                 : nullptr);
    }
}

void land(const tensor_copy& copy) {
  for_rows(copy, [&](int row, const unsigned char* source) {
    unsigned char line[row_bytes] = {};
    for (int x = 0; x < copy.tensor.box[0] && source != nullptr; ++x) {
      const int64_t own_x = int64_t{copy.first[0]} + x;
      if (inside(own_x, copy.tensor.dims[0]))
        std::memcpy(line + x * element, source + own_x * element, element);
    }
    for (size_t chunk = 0; chunk < row_bytes / 16; ++chunk) {
      size_t at = copy.to + static_cast<size_t>(row) * row_bytes + 16 * chunk;
      at ^= (at >> 7 & 7) << 4;
      std::memcpy(current_shared + at, line + 16 * chunk, 16);
      std::memcpy(async_view + at, line + 16 * chunk, 16);
    }
  });
  complete_bytes(copy.mbarrier, copy.bytes(), copy.at);
}

}  // namespace

void start_block_of_tensor_copies() { in_flight.clear(); }
bool tensor_copies_in_flight() { return !in_flight.empty(); }

bool land_tensor_copy() {
  if (in_flight.empty()) return false;
  const size_t chosen = random_word() % in_flight.size();
  const tensor_copy copy = in_flight[chosen];
  in_flight.erase(in_flight.begin() + static_cast<long>(chosen));
  land(copy);
  return true;
}

void issue_tensor_copy(void* shared, const tensor_shape& tensor, const int (&first)[3], void* mbarrier,
                       const location& at) {
  tensor_copy copy{0, tensor, {first[0], first[1], first[2]}, mbarrier, at};
  const auto bytes = static_cast<size_t>(copy.bytes());
  copy.to = shared_offset("copy_tensor", shared, bytes, at);
  if (copy.to % atom_bytes != 0)
    fault(at, "copy_tensor: byte %zu of shared memory is not a multiple of %zu, where the swizzle's "
              "pattern starts", copy.to, atom_bytes);
  check_mbarrier_of_copy(mbarrier, at);
  if (std::memcmp(current_shared + copy.to, async_view + copy.to, bytes) != 0)
    fault(at, "copy_tensor: over bytes that threads have written without fence_async_proxy behind");
  const int64_t x0 = std::max(0, first[0]);
  const int64_t x1 = std::min<int64_t>(int64_t{first[0]} + tensor.box[0], tensor.dims[0]);
  for_rows(copy, [&](int row, const unsigned char* source) {
    if (source == nullptr || x1 <= x0) return;
    if (!is_device_memory(source + x0 * element, static_cast<size_t>((x1 - x0) * element)))
      fault(at, "copy_tensor: row %d of the box at (%d, %d, %d) is not in device memory", row, first[0],
            first[1], first[2]);
  });
  std::memset(current_shared + copy.to, 0xFF, bytes);
  std::memset(async_view + copy.to, 0xFF, bytes);
  in_flight.push_back(copy);
}

}  // namespace graft::emulation
