// out[t] = token_table[ids[t]] + position_table[positions[t]] + type_table[types[t]], summed in float32
// and rounded once. A warp a row: the ids are read once, the columns go by eights.
//
//   name                   dtype  shape      aligned to  in/out
//   ids, positions, types  i32    [T]        element     in; ids in their tables (the caller has checked)
//   *_table                T      [rows, C]  element     in; position and type optional
//   out                    T      [T, C]     element     out
#include "context.h"
#include "row_vectors.h"

namespace graft::cuda {
namespace {

constexpr int threads = 256;
constexpr int warps = threads / warp_size;
constexpr int blocks_an_sm = 4;  // 64 registers; 6 would spill

template <typename T, bool wide>
__global__ void __launch_bounds__(threads, blocks_an_sm)
    look_up(graft_embedding_args args) {
  const int64_t channels = args.channels;
  const auto row_of = [channels](const void* table, const int32_t* ids, int64_t t) {
    return table == nullptr ? nullptr : static_cast<const T*>(table) + ids[t] * channels;
  };
  for (int64_t t = int64_t{blockIdx.x} * warps + warp_id(); t < args.tokens;
       t += int64_t{gridDim.x} * warps) {
    const T* token = row_of(args.token_table, args.ids, t);
    const T* position = row_of(args.position_table, args.positions, t);
    const T* type = row_of(args.type_table, args.types, t);
    T* out = static_cast<T*>(args.out) + t * channels;
    for (int64_t c = lane_id() * vector_columns; c < channels; c += warp_size * vector_columns) {
      const int64_t left = channels - c;
      float x[8], second[8] = {}, third[8] = {};
      load8<wide>(token + c, left, x);
      if (position != nullptr) load8<wide>(position + c, left, second);
      if (type != nullptr) load8<wide>(type + c, left, third);
      GRAFT_UNROLL
      for (int i = 0; i < 8; ++i) {
        if (position != nullptr) x[i] += second[i];
        if (type != nullptr) x[i] += third[i];
      }
      store8<wide>(out + c, left, x);
    }
  }
}

template <typename T>
cudaError_t launch_look_up(const cuda_context& context, const graft_embedding_args& args) {
  const bool wide =
      args.channels % vector_columns == 0 &&
      rows_are_wide(args.tokens, args.channels, static_cast<const T*>(args.token_table),
                    static_cast<const T*>(args.position_table),
                    static_cast<const T*>(args.type_table), static_cast<T*>(args.out));
  const int64_t most = int64_t{blocks_an_sm} * context.multiprocessors;
  const int64_t needed = (args.tokens + warps - 1) / warps;
  return launch(wide ? look_up<T, true> : look_up<T, false>,
                {dim3(static_cast<unsigned>(needed < most ? needed : most)), threads, 0,
                 context.stream},
                args);
}

}  // namespace

int embedding_forward(cuda_context& context, const graft_embedding_args& args) {
  if (args.tokens == 0) return GRAFT_OK;
  return check(context, "embedding_forward",
               args.dtype == GRAFT_BFLOAT16 ? launch_look_up<bf16>(context, args)
                                            : launch_look_up<float>(context, args));
}

}  // namespace graft::cuda
