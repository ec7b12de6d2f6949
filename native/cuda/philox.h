// Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011, 3.3) and the
// stream keys that graft.h documents under "random numbers".
#pragma once

#include "device.h"

namespace graft::cuda {

struct philox_words {
  uint32_t w[4];
};

GRAFT_DEVICE philox_words philox(uint64_t key, uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3) {
  uint32_t k0 = static_cast<uint32_t>(key);
  uint32_t k1 = static_cast<uint32_t>(key >> 32);
  GRAFT_UNROLL
  for (int round = 0; round < 10; ++round) {
    const uint32_t high0 = mul_hi(0xD2511F53u, c0), low0 = 0xD2511F53u * c0;
    const uint32_t high1 = mul_hi(0xCD9E8D57u, c2), low1 = 0xCD9E8D57u * c2;
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

GRAFT_DEVICE uint64_t stream_key(uint64_t seed, uint64_t step, uint32_t op_id) {
  const philox_words words =
      philox(seed, static_cast<uint32_t>(step), static_cast<uint32_t>(step >> 32), op_id, 0);
  return words.w[0] | (uint64_t{words.w[1]} << 32);
}

}  // namespace graft::cuda
