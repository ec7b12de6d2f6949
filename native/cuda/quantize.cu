// y[r, c] = transposed[c, r] = float8(x[r, c] / scale), scale the least power of two that keeps every value in
// range (Micikevicius et al. 2022, arXiv:2209.05433). Two passes over x: the largest magnitude of each
// block, then their maximum again in each block, rounding, and the transpose through shared memory.
//
//   name        dtype   shape     stride  aligned to  in/out
//   x           T       [R, C]    packed  element     in
//   y           float8  [R, C]    packed  byte        out, optional
//   transposed  float8  [C, R]    packed  byte        out, optional
//   scale       f32     [1]                           out
//   partial     u32     [blocks]                      workspace: bits of each block's largest |x|
#include "../common/check.h"
#include "elementwise.h"
#include "float8.h"

namespace graft::cuda {
namespace {

constexpr int threads = elementwise_threads;
constexpr int warps = threads / warp_size;

GRAFT_DEVICE uint32_t largest(uint32_t a, uint32_t b) { return a > b ? a : b; }

// In every thread; `scratch` is shared, [warps], and free again afterwards. NaN is above all.
GRAFT_DEVICE uint32_t block_largest(uint32_t x, uint32_t* scratch) {
  GRAFT_UNROLL
  for (int step = warp_size / 2; step > 0; step /= 2) x = largest(x, shuffle_xor(x, step));
  if (lane_id() == 0) scratch[warp_id()] = x;
  sync_threads();
  x = scratch[0];
  GRAFT_UNROLL
  for (int warp = 1; warp < warps; ++warp) x = largest(x, scratch[warp]);
  sync_threads();
  return x;
}

template <typename T, bool wide>
__global__ void __launch_bounds__(threads, elementwise_blocks_an_sm)
    find_largest(const T* x, uint32_t* partial, int64_t count) {
  uint32_t bits = 0;
  for_eights(count, [&](int64_t at, int64_t left) {
    float eight[8];
    load8<wide>(x + at, left, eight);
    GRAFT_UNROLL
    for (int i = 0; i < 8; ++i) bits = largest(bits, bits_from_float(eight[i]) & 0x7FFFFFFFu);
  });
  bits = block_largest(bits, shared_memory<uint32_t>());
  if (threadIdx.x == 0) partial[blockIdx.x] = bits;
}

// A block rounds 128 x 128 elements. Of each 32 x 32 of them, which a warp takes, a lane has 4 rows of 8
// columns; its 8 words of 4 rows each go to the transposed tile, whose columns are 33 words apart: the
// lanes' (8 column, row / 4) then are 32 banks. From there columns go out as whole lines.
constexpr int tile = 128;
constexpr int tile_words = tile / 4;
constexpr int tile_stride = tile_words + 1;
constexpr int round_blocks_an_sm = 4;

struct round_shared {
  uint32_t words[tile * tile_stride];
  uint32_t scratch[warps];
};

template <typename Float8, typename T, bool wide>
__global__ void __launch_bounds__(threads, round_blocks_an_sm)
    round_tile(const T* x, uint8_t* y, uint8_t* transposed, float* scale, const uint32_t* partial,
               int64_t partials, int64_t rows, int64_t channels) {
  auto* shared = shared_memory<round_shared>();
  uint32_t bits = 0;
  for (int64_t i = threadIdx.x; i < partials; i += threads) bits = largest(bits, partial[i]);
  bits = block_largest(bits, shared->scratch);
  const int exponent = bits == 0 ? 0 : float8_exponent(bits, Float8::top);
  const bool finite = bits < 0x7F800000u;
  const float nan = float_from_bits(0x7FC00000u);
  const float inverse = finite ? power_of_two(-exponent) : nan;
  if (blockIdx.x == 0 && threadIdx.x == 0) *scale = finite ? power_of_two(exponent) : nan;

  const int64_t across = channels > 0 ? (channels + tile - 1) / tile : 1;
  const int64_t first_row = blockIdx.x / across * tile;
  const int64_t first_column = blockIdx.x % across * tile;
  for (int part = warp_id(); part < 16; part += warps) {
    const int row = part / 4 * 32 + lane_id() / 4 * 4;
    const int column = part % 4 * 32 + lane_id() % 4 * 8;
    const int64_t c = first_column + column;
    uint32_t words[8] = {};
    GRAFT_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int64_t r = first_row + row + i;
      const int64_t left = r < rows ? channels - c : 0;
      float eight[8];
      load8<wide, reuse::none>(x + r * channels + c, left, eight);
      uint32_t bytes[8];
      GRAFT_UNROLL
      for (int j = 0; j < 8; ++j) {
        bytes[j] = Float8::of(eight[j] * inverse);
        words[j] |= bytes[j] << (8 * i);
      }
      if (y == nullptr) continue;
      uint8_t* to = y + r * channels + c;
      if (wide && left >= 8) {
        uint2 eight_bytes;
        eight_bytes.x = bytes[0] | bytes[1] << 8 | bytes[2] << 16 | bytes[3] << 24;
        eight_bytes.y = bytes[4] | bytes[5] << 8 | bytes[6] << 16 | bytes[7] << 24;
        store(reinterpret_cast<uint2*>(to), eight_bytes);
      } else {
        GRAFT_UNROLL
        for (int j = 0; j < 8; ++j)
          if (j < left) to[j] = static_cast<uint8_t>(bytes[j]);
      }
    }
    GRAFT_UNROLL
    for (int j = 0; j < 8; ++j) shared->words[(column + j) * tile_stride + row / 4] = words[j];
  }
  if (transposed == nullptr) return;
  sync_threads();

  const int64_t row = first_row + lane_id() * 4;
  const bool whole = rows % 4 == 0 && reinterpret_cast<uintptr_t>(transposed) % 4 == 0;
  for (int column = warp_id(); column < tile; column += warps) {
    const int64_t c = first_column + column;
    if (c >= channels) break;
    const uint32_t word = shared->words[column * tile_stride + lane_id()];
    uint8_t* to = transposed + c * rows + row;
    if (whole && row < rows) {
      store(reinterpret_cast<uint32_t*>(to), word);
    } else {
      GRAFT_UNROLL
      for (int i = 0; i < 4; ++i)
        if (row + i < rows) to[i] = static_cast<uint8_t>(word >> (8 * i));
    }
  }
}

template <typename Float8, typename T>
cudaError_t launch_quantize(const cuda_context& context, const graft_quantize_args& args) {
  const auto* x = static_cast<const T*>(args.x);
  auto* y = static_cast<uint8_t*>(args.y);
  auto* partial = static_cast<uint32_t*>(args.workspace);
  const int64_t count = args.rows * args.channels;
  // One block where there is nothing: the scale is 1 all the same.
  launch_shape first = elementwise_launch(context, count > 0 ? count : 1);
  first.shared_bytes = warps * sizeof(uint32_t);
  const int64_t blocks = first.grid.x;
  const cudaError_t status = launch(rows_are_wide(1, count, x) ? find_largest<T, true>
                                                               : find_largest<T, false>,
                                    first, x, partial, count);
  if (status != cudaSuccess) return status;
  const int64_t tiles = (args.rows + tile - 1) / tile * ((args.channels + tile - 1) / tile);
  // Rows of y are eight bytes at a time where those of x are 16.
  const bool wide = rows_are_wide(2, args.channels, x) && reinterpret_cast<uintptr_t>(y) % 8 == 0;
  return launch(wide ? round_tile<Float8, T, true> : round_tile<Float8, T, false>,
                {dim3(static_cast<unsigned>(tiles > 0 ? tiles : 1)), threads, sizeof(round_shared), context.stream},
                x, y, static_cast<uint8_t*>(args.transposed), args.scale, partial, blocks, args.rows,
                args.channels);
}

template <typename Float8>
cudaError_t launch_quantize(const cuda_context& context, const graft_quantize_args& args) {
  return args.dtype == GRAFT_BFLOAT16 ? launch_quantize<Float8, bf16>(context, args)
                                      : launch_quantize<Float8, float>(context, args);
}

}  // namespace

int quantize_workspace(const cuda_context& context, const graft_quantize_args& args,
                       int64_t* bytes) {
  const char* op = "quantize_workspace";
  GRAFT_TRY(check_range(op, "rows", args.rows, 0));
  GRAFT_TRY(check_range(op, "channels", args.channels, 0));
  GRAFT_TRY(check_product(op, "rows x channels", args.rows, args.channels, 4));
  const int64_t count = args.rows * args.channels;
  *bytes = static_cast<int64_t>(elementwise_launch(context, count > 0 ? count : 1).grid.x) *
           int64_t{sizeof(uint32_t)};
  return GRAFT_OK;
}

int quantize(cuda_context& context, const graft_quantize_args& args) {
  const char* op = "quantize";
  int64_t bytes = 0;
  GRAFT_TRY(quantize_workspace(context, args, &bytes));
  GRAFT_TRY(check_workspace(op, args.workspace, args.workspace_bytes, bytes));
  return check(context, op,
               args.to_dtype == GRAFT_FLOAT8_E4M3 ? launch_quantize<e4m3>(context, args)
                                                  : launch_quantize<e5m2>(context, args));
}

}  // namespace graft::cuda
