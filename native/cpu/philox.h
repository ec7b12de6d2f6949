// Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011, 3.3), and
// the keys and keep-bytes that graft.h documents under "random numbers".
#pragma once

#include <cstdint>

#include "cpu.h"

namespace graft::GRAFT_ISA {

struct philox_words {
  uint32_t w[4];
};

static inline philox_words philox(uint64_t key, uint32_t c0, uint32_t c1, uint32_t c2,
                                  uint32_t c3) {
  uint32_t k0 = static_cast<uint32_t>(key);
  uint32_t k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53} * c0;
    const uint64_t p1 = uint64_t{0xCD9E8D57} * c2;
    c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
    c1 = static_cast<uint32_t>(p1);
    c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c3 = static_cast<uint32_t>(p0);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

static inline uint64_t stream_key(uint64_t seed, uint64_t step, uint32_t op_id) {
  const philox_words words = philox(seed, static_cast<uint32_t>(step),
                                    static_cast<uint32_t>(step >> 32), op_id, 0);
  return words.w[0] | (uint64_t{words.w[1]} << 32);
}

static inline uint64_t stream_key(const cpu_context& context, uint32_t op_id) {
  return stream_key(context.inputs.seed, context.inputs.step, op_id);
}

static inline uint8_t philox_byte(const philox_words& words, int byte) {
  return static_cast<uint8_t>(words.w[byte >> 2] >> (8 * (byte & 3)));
}

}  // namespace graft::GRAFT_ISA
