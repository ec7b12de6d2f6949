// Rows of float32 or bfloat16 by eights: a thread takes 8 neighbouring columns, which are one 128-bit
// word of bfloat16 and two of float32. Arithmetic is float32; a result is rounded once, when packed.
#pragma once

#include "elements.h"

namespace graft::cuda {

constexpr int vector_columns = 8;

// Eight elements as stored.
template <typename T>
struct packed8;
template <>
struct packed8<bf16> {
  static constexpr int words = 1;
  uint4 word[words];
};
template <>
struct packed8<float> {
  static constexpr int words = 2;
  uint4 word[words];
};

GRAFT_DEVICE void unpack(const packed8<bf16>& from, float (&x)[8]) {
  const uint4& w = from.word[0];
  x[0] = float_of_low(w.x), x[1] = float_of_high(w.x);
  x[2] = float_of_low(w.y), x[3] = float_of_high(w.y);
  x[4] = float_of_low(w.z), x[5] = float_of_high(w.z);
  x[6] = float_of_low(w.w), x[7] = float_of_high(w.w);
}
GRAFT_DEVICE void unpack(const packed8<float>& from, float (&x)[8]) {
  GRAFT_UNROLL
  for (int half = 0; half < 2; ++half) {
    const uint4& w = from.word[half];
    x[4 * half] = float_from_bits(w.x), x[4 * half + 1] = float_from_bits(w.y);
    x[4 * half + 2] = float_from_bits(w.z), x[4 * half + 3] = float_from_bits(w.w);
  }
}

template <typename T>
GRAFT_DEVICE packed8<T> pack(const float (&x)[8]) {
  packed8<T> to;
  if constexpr (sizeof(T) == 2) {
    to.word[0] = make_uint4(bf16x2_of(x[0], x[1]), bf16x2_of(x[2], x[3]), bf16x2_of(x[4], x[5]),
                            bf16x2_of(x[6], x[7]));
  } else {
    GRAFT_UNROLL
    for (int half = 0; half < 2; ++half)
      to.word[half] =
          make_uint4(bits_from_float(x[4 * half]), bits_from_float(x[4 * half + 1]),
                     bits_from_float(x[4 * half + 2]), bits_from_float(x[4 * half + 3]));
  }
  return to;
}

// Whether what is read will be read again soon, from the caches.
enum class reuse { soon, none };

// Eight elements at an address aligned to 16 bytes.
template <reuse again, typename T>
GRAFT_DEVICE packed8<T> load_packed(const T* from) {
  packed8<T> x;
  GRAFT_UNROLL
  for (int i = 0; i < packed8<T>::words; ++i) {
    const uint4* word = reinterpret_cast<const uint4*>(from) + i;
    x.word[i] = again == reuse::soon ? load(word) : load_streaming(word);
  }
  return x;
}
template <typename T>
GRAFT_DEVICE void store_packed(T* to, const packed8<T>& x) {
  GRAFT_UNROLL
  for (int i = 0; i < packed8<T>::words; ++i) store(reinterpret_cast<uint4*>(to) + i, x.word[i]);
}

// The first `count` of eight elements, the others 0. `wide`: the address is aligned to 16 bytes.
// Else, and at a row's end, one by one; they share sectors, so this costs instructions, not bandwidth.
template <bool wide, reuse again = reuse::soon, typename T>
GRAFT_DEVICE void load8(const T* from, int64_t count, float (&x)[8]) {
  if (wide && count >= 8) {
    unpack(load_packed<again>(from), x);
    return;
  }
  GRAFT_UNROLL
  for (int i = 0; i < 8; ++i) x[i] = i < count ? value_of(from[i]) : 0.0f;
}
template <bool wide, typename T>
GRAFT_DEVICE void store8(T* to, int64_t count, const float (&x)[8]) {
  if (wide && count >= 8) {
    store_packed(to, pack<T>(x));
    return;
  }
  GRAFT_UNROLL
  for (int i = 0; i < 8; ++i)
    if (i < count) to[i] = element_of<T>(x[i]);
}

// Whether rows of `channels` at these addresses can be taken by whole 128-bit words. One row may end
// anywhere; NULL does not count.
template <typename... Pointers>
bool rows_are_wide(int64_t rows, int64_t channels, const Pointers*... pointers) {
  const uintptr_t bits = (reinterpret_cast<uintptr_t>(pointers) | ...);
  return bits % 16 == 0 && (rows == 1 || channels % vector_columns == 0);
}

}  // namespace graft::cuda
