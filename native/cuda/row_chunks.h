// A row of float32 or bfloat16 (T = float, or uint16_t for its bits) as 16-byte chunks, whatever its
// alignment. The elements before the first whole chunk and behind the last are the row's edge: fewer
// than two chunks' worth, one a thread.
#pragma once

#include "device.h"

namespace graft::cuda {

template <typename T>
constexpr int chunk_elements = 16 / static_cast<int>(sizeof(T));

GRAFT_DEVICE float value_of(float x) { return x; }
GRAFT_DEVICE float value_of(uint16_t bits) { return float_of_bf16(bits); }
GRAFT_DEVICE void assign(float* to, float x) { *to = x; }
GRAFT_DEVICE void assign(uint16_t* to, float x) { *to = bf16_of(x); }

GRAFT_DEVICE void unpack(const uint4& chunk, float (&x)[4]) {
  x[0] = float_from_bits(chunk.x);
  x[1] = float_from_bits(chunk.y);
  x[2] = float_from_bits(chunk.z);
  x[3] = float_from_bits(chunk.w);
}
GRAFT_DEVICE void unpack(const uint4& chunk, float (&x)[8]) {
  x[0] = float_of_low(chunk.x);
  x[1] = float_of_high(chunk.x);
  x[2] = float_of_low(chunk.y);
  x[3] = float_of_high(chunk.y);
  x[4] = float_of_low(chunk.z);
  x[5] = float_of_high(chunk.z);
  x[6] = float_of_low(chunk.w);
  x[7] = float_of_high(chunk.w);
}
GRAFT_DEVICE uint4 pack(const float (&x)[4]) {
  return make_uint4(bits_from_float(x[0]), bits_from_float(x[1]), bits_from_float(x[2]),
                    bits_from_float(x[3]));
}
GRAFT_DEVICE uint4 pack(const float (&x)[8]) {
  return make_uint4(bf16x2_of(x[0], x[1]), bf16x2_of(x[2], x[3]), bf16x2_of(x[4], x[5]),
                    bf16x2_of(x[6], x[7]));
}

struct row_chunks {
  int head;    // elements before the first chunk
  int chunks;  // whole ones
  int tail;    // first element behind them
};

template <typename T>
GRAFT_DEVICE row_chunks chunks_of(const T* row, int count) {
  constexpr int n = chunk_elements<T>;
  const auto offset = static_cast<int>(reinterpret_cast<uintptr_t>(row) & 15);
  int head = (16 - offset) % 16 / static_cast<int>(sizeof(T));
  if (head > count) head = count;
  const int chunks = (count - head) / n;
  return {head, chunks, head + n * chunks};
}

// The edge element of a thread in a row of `count`, or -1.
GRAFT_DEVICE int edge_of(const row_chunks& c, int self, int count) {
  const int place = self < c.head ? self : c.tail + (self - c.head);
  return place < count ? place : -1;
}

}  // namespace graft::cuda
