// Tiles of rows in shared memory, and the way there and back.
//
// A row is cut in chunks of 16 bytes. ldmatrix reads eight rows at one column of chunks, a store of a
// fragment writes eight rows likewise: row after row those addresses would lie a multiple of 64 bytes
// apart and share their banks. So the chunk's place in its row is exclusive-ored with the row number:
//   rows of whole 128 bytes (all 32 banks)   chunk ^ row % 8: eight rows, eight groups of 4 banks
//   rows of an odd number of 64 bytes        chunk ^ row / 2 % 4: two rows alternate between the halves
//                                            of the banks, the exclusive or spreads them in a half
// It permutes chunks inside aligned groups of 8 (or 4), of which a row has a whole number. Writers and
// readers go through `at` alone.
#pragma once

#include "attention_tiles.h"

namespace graft::cuda {

template <typename T, int columns>
struct shared_tile {
  static constexpr int chunk = 16 / static_cast<int>(sizeof(T));  // elements
  static constexpr int chunks = columns / chunk;                  // a row
  static constexpr bool whole_lines = chunks % 8 == 0;
  static_assert(columns % chunk == 0 && chunks % 4 == 0);

  // Element offset of a chunk.
  static __device__ __forceinline__ int at(int row, int c) {
    const int turned = whole_lines ? c ^ (row & 7) : c ^ ((row >> 1) & 3);
    return row * columns + turned * chunk;
  }
};

// The widest access, in bytes, that pointers, strides and head offsets allow: 16, 4 or an element.
template <typename T>
inline int access_bytes(const void* pointer, int64_t token_stride, int64_t head_dim) {
  const auto bits = reinterpret_cast<uintptr_t>(pointer) |
                    static_cast<uintptr_t>(token_stride * int64_t{sizeof(T)}) |
                    static_cast<uintptr_t>(head_dim * int64_t{sizeof(T)});
  return bits % 16 == 0 ? 16 : bits % 4 == 0 ? 4 : static_cast<int>(sizeof(T));
}

// A [rows, head_dim] operand of one sequence and head.
template <typename T>
struct head_rows {
  T* first;
  int64_t token_stride;
  int width;  // access_bytes
};

// Calls body(row, chunk) for the chunks of a tile that are this thread's, always the same ones. Eight
// (or four) neighbouring threads take neighbouring chunks; a thread's rows are a constant apart, so
// that one address and the uniform stride give all of its own. Cold code is left rolled: its unrolled
// addresses, hoisted out of the loop over keys, would cost the hot code registers.
template <typename T, int columns, int rows, int threads, bool hot, typename Body>
GRAFT_DEVICE void for_own_chunks(Body body) {
  using layout = shared_tile<T, columns>;
  constexpr int side = layout::whole_lines ? 8 : 4;
  constexpr int step = threads / side;
  static_assert(rows % step == 0);
  const int first_row = static_cast<int>(threadIdx.x) / side;
  const int first_chunk = static_cast<int>(threadIdx.x) % side;
  if constexpr (hot) {
    GRAFT_UNROLL
    for (int row = 0; row < rows; row += step) {
      GRAFT_UNROLL
      for (int c = 0; c < layout::chunks; c += side) body(first_row + row, first_chunk + c);
    }
  } else {
    GRAFT_NO_UNROLL
    for (int row = first_row; row < rows; row += step) {
      GRAFT_NO_UNROLL
      for (int c = first_chunk; c < layout::chunks; c += side) body(row, c);
    }
  }
}

// Starts copying rows [first_row, first_row + rows) to a tile; rows from `live` on and columns from
// head_dim on become 0. Those rows belong to other sequences, or to nobody: they are not read, for 0
// times what they hold could be NaN.
template <typename T, int columns, int rows, int threads>
GRAFT_DEVICE void copy_rows(T* tile, const head_rows<const T>& from, int first_row, int live,
                            int head_dim) {
  using layout = shared_tile<T, columns>;
  constexpr int element = static_cast<int>(sizeof(T));
  const T* first = from.first + first_row * from.token_stride;
  if (from.width == 16) {
    for_own_chunks<T, columns, rows, threads, true>([&](int row, int c) {
      const bool inside = row < live && c * layout::chunk < head_dim;
      copy_async<16>(tile + layout::at(row, c),
                     inside ? first + row * from.token_stride + c * layout::chunk : from.first,
                     inside ? 16 : 0);
    });
  } else {
    // Rows that are not aligned to 16 bytes: by words, or by single bf16.
    for_own_chunks<T, columns, rows, threads, false>([&](int row, int c) {
      const T* source = first + row * from.token_stride + c * layout::chunk;
      T* to = tile + layout::at(row, c);
      const int count = row < live ? head_dim - c * layout::chunk : 0;
      if (from.width == 4) {
        for (int e = 0; e < layout::chunk; e += 4 / element)
          copy_async<4>(to + e, e < count ? source + e : from.first, e < count ? 4 : 0);
      } else {
        for (int e = 0; e < layout::chunk; ++e) to[e] = e < count ? source[e] : T{};
      }
    });
  }
}

// A bit set if a chunk holds an infinity or a NaN, else 0.
template <typename T>
GRAFT_DEVICE uint32_t not_finite(const uint4& words) {
  // All bits of an exponent set: adding one to its lowest carries into the sign.
  constexpr uint32_t exponent = sizeof(T) == 2 ? 0x7F807F80u : 0x7F800000u;
  constexpr uint32_t lowest = sizeof(T) == 2 ? 0x00800080u : 0x00800000u;
  const uint32_t carries = ((words.x & exponent) + lowest) | ((words.y & exponent) + lowest) |
                           ((words.z & exponent) + lowest) | ((words.w & exponent) + lowest);
  return carries & (sizeof(T) == 2 ? 0x80008000u : 0x80000000u);
}

// Whether the chunks this thread copied hold no infinity and no NaN. To be called behind the wait for
// the copies; needs no barrier.
template <typename T, int columns, int rows, int threads>
GRAFT_DEVICE bool own_chunks_finite(const T* tile) {
  uint32_t found = 0;
  for_own_chunks<T, columns, rows, threads, false>([&](int row, int c) {
    found |= not_finite<T>(
        load(reinterpret_cast<const uint4*>(tile + shared_tile<T, columns>::at(row, c))));
  });
  return found == 0;
}

// A chunk of a row in memory; columns from head_dim on are 0.
GRAFT_DEVICE uint32_t bits_of(bf16 x) { return x.bits; }
GRAFT_DEVICE uint32_t bits_of(float x) { return bits_from_float(x); }
template <typename T>
GRAFT_DEVICE uint4 read_chunk(const head_rows<const T>& from, int64_t row, int c, int head_dim) {
  constexpr int chunk = 16 / static_cast<int>(sizeof(T)), per_word = chunk / 4;
  const T* source = from.first + row * from.token_stride + c * chunk;
  const int count = head_dim - c * chunk;
  uint32_t words[4] = {};
  if (from.width == 16)
    return count > 0 ? load(reinterpret_cast<const uint4*>(source)) : make_uint4(0, 0, 0, 0);
  GRAFT_UNROLL
  for (int e = 0; e < chunk; ++e)
    if (e < count) words[e / per_word] |= bits_of(source[e]) << (16 * (e % per_word));
  return make_uint4(words[0], words[1], words[2], words[3]);
}

// Two neighbouring elements of an accumulator fragment: columns 8 n + 2 (lane % 4) and the next.
template <typename T, int columns>
GRAFT_DEVICE void put_pair(T* tile, int row, int n, float low, float high) {
  using layout = shared_tile<T, columns>;
  const int column = 8 * n + 2 * (lane_id() % 4);
  T* to = tile + layout::at(row, column / layout::chunk) + column % layout::chunk;
  if constexpr (sizeof(T) == 2)
    store(reinterpret_cast<uint32_t*>(to), bf16x2_of(low, high));
  else
    store(reinterpret_cast<float2*>(to), make_float2(low, high));
}

// Rows [0, live) of a warp's part of a tile to memory: `width` columns from first_column on.
template <typename T, int columns, int rows, int width = columns>
GRAFT_DEVICE void write_rows(const head_rows<T>& to, const T* tile, int tile_row, int64_t first_row,
                             int live, int head_dim, int first_column = 0) {
  using layout = shared_tile<T, columns>;
  constexpr int chunks = width / layout::chunk;
  for (int index = lane_id(); index < rows * chunks; index += warp_size) {
    const int row = index / chunks, c = index % chunks + first_column / layout::chunk;
    const int count = head_dim - c * layout::chunk;
    if (row >= live || count <= 0) continue;
    const T* from = tile + layout::at(tile_row + row, c);
    T* out = to.first + (first_row + row) * to.token_stride + c * layout::chunk;
    if (to.width == 16) {
      store(reinterpret_cast<uint4*>(out), load(reinterpret_cast<const uint4*>(from)));
    } else {
      for (int e = 0; e < layout::chunk; ++e)
        if (e < count) out[e] = from[e];
    }
  }
}

}  // namespace graft::cuda
