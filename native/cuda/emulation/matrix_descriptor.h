// The 64-bit descriptor of a matrix in shared memory, as wgmma reads it: PTX ISA 9.0, 9.7.15.5.1.2, with
// the layouts as CUTLASS writes them out (cute/atom/mma_traits_sm90_gmma.hpp, in units of 16 bytes).
//   W = 8, 4, 2 chunks of 16 bytes for the swizzles of 128, 64 and 32 bytes
//   K-major    row r, chunk c of k      ((8, m), 2) : ((W, stride), 1)       no swizzle: ((1, stride), leading)
//   MN-major   chunk c of mn, k         ((W, n), (8, k)) : ((1, leading), (W, stride))
//                                       no swizzle: ((1, n), (8, k)) : ((., stride), (1, leading))
// The swizzle exclusive-ors bits 4.. of the whole address with bits 7..: 3, 2 or 1 of them.
#pragma once

#include <cstdint>

#include "block.h"

namespace graft::emulation {

// Faults on bits that mean nothing and on bases this layer has no use for.
void check_descriptor(uint64_t descriptor, const location& at);

// Eight elements from (row, k) on along k; eight from (mn, k) on along mn.
void read_k_major(uint64_t descriptor, int row, int k, uint16_t (&eight)[8], const location& at);
void read_mn_major(uint64_t descriptor, int mn, int k, uint16_t (&eight)[8], const location& at);

}  // namespace graft::emulation
