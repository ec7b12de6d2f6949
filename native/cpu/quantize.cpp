// y[r, c] = transposed[c, r] = float8(x[r, c] / scale), scale the least power of two that keeps every value in
// range (Micikevicius et al. 2022, arXiv:2209.05433).
//
//   name        dtype       shape   stride  aligned to  in/out
//   x           T           [R, C]  packed  element     in
//   y           float8      [R, C]  packed  byte        out, optional
//   transposed  float8      [C, R]  packed  byte        out, optional
//   scale       f32         [1]                         out
//   partial     u32         [blocks]                    workspace: bits of each block's largest |x|
#include "../common/check.h"
#include "float8.h"
#include "parallel.h"

namespace graft::GRAFT_ISA {
namespace {

constexpr int64_t tile = 64;

template <typename T>
uint32_t largest_magnitude(const cpu_context& context, const T* x, int64_t count,
                           uint32_t* partial) {
  parallel_ranges(context, count, block_elements, count, [&](int64_t begin, int64_t end) {
    uint32_t largest = 0;
    for (int64_t i = begin; i < end; ++i) {
      const float value = to_float(x[i]);
      uint32_t bits;
      std::memcpy(&bits, &value, sizeof bits);
      bits &= 0x7FFFFFFFu;
      largest = bits > largest ? bits : largest;
    }
    partial[begin / block_elements] = largest;
  });
  uint32_t largest = 0;
  for (int64_t block = 0; block < ceil_div(count, block_elements); ++block)
    largest = partial[block] > largest ? partial[block] : largest;
  return largest;
}

template <typename Float8, typename T>
void run(const cpu_context& context, const graft_quantize_args& args) {
  const auto* x = static_cast<const T*>(args.x);
  auto* y = static_cast<uint8_t*>(args.y);
  auto* transposed = static_cast<uint8_t*>(args.transposed);
  const int64_t rows = args.rows, channels = args.channels, count = rows * channels;
  const float8_scale scale = float8_scale_of(
      largest_magnitude(context, x, count, static_cast<uint32_t*>(args.workspace)), Float8::top);
  *args.scale = scale.scale;
  if (y != nullptr)
    parallel_ranges(context, count, block_elements, count, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) y[i] = Float8::of(to_float(x[i]) * scale.inverse);
    });
  if (transposed == nullptr) return;
  // By square tiles: what is read and what is written stay in the first cache.
  const int64_t across = ceil_div(channels, tile);
  parallel_for(context, ceil_div(rows, tile) * across, count, [&](int64_t block) {
    const int64_t first_row = block / across * tile, first_column = block % across * tile;
    const int64_t end_row = at_most(first_row + tile, rows);
    const int64_t end_column = at_most(first_column + tile, channels);
    for (int64_t c = first_column; c < end_column; ++c)
      for (int64_t r = first_row; r < end_row; ++r)
        transposed[c * rows + r] = Float8::of(to_float(x[r * channels + c]) * scale.inverse);
  });
}

template <typename Float8>
void run(const cpu_context& context, const graft_quantize_args& args) {
  if (args.dtype == GRAFT_BFLOAT16)
    run<Float8, bf16>(context, args);
  else
    run<Float8, float>(context, args);
}

}  // namespace

int quantize_workspace(const cpu_context&, const graft_quantize_args& args, int64_t* bytes) {
  const char* op = "quantize_workspace";
  GRAFT_TRY(check_range(op, "rows", args.rows, 0));
  GRAFT_TRY(check_range(op, "channels", args.channels, 0));
  GRAFT_TRY(check_product(op, "rows x channels", args.rows, args.channels, 4));
  *bytes = ceil_div(args.rows * args.channels, block_elements) * int64_t{sizeof(uint32_t)};
  return GRAFT_OK;
}

int quantize(cpu_context& context, const graft_quantize_args& args) {
  int64_t bytes = 0;
  GRAFT_TRY(quantize_workspace(context, args, &bytes));
  GRAFT_TRY(check_workspace("quantize", args.workspace, args.workspace_bytes, bytes));
  if (args.to_dtype == GRAFT_FLOAT8_E4M3)
    run<e4m3>(context, args);
  else
    run<e5m2>(context, args);
  return GRAFT_OK;
}

}  // namespace graft::GRAFT_ISA
