// Hopper's part of the device layer on hardware. Reference: PTX ISA 9.0; device_sm90.h says what each
// function means.
#pragma once

#include <cuda.h>
#include <cudaTypedefs.h>

namespace graft::cuda {

struct mbarrier {
  uint64_t word;
};

struct tensor_map {
  CUtensorMap map;  // aligned to 64 bytes
};

GRAFT_DEVICE void wrong_image() { asm volatile("trap;"); }

// The driver's function is asked for by name, so that the plugin needs no libcuda to load.
inline cudaError_t make_tensor_map(tensor_map* out, const void* address, const uint64_t (&dims)[3],
                                   const uint64_t (&strides)[2], const uint32_t (&box)[3]) {
  void* found = nullptr;
  cudaDriverEntryPointQueryResult result{};
  const cudaError_t status = cudaGetDriverEntryPointByVersion(
      "cuTensorMapEncodeTiled", &found, 12000, cudaEnableDefault, &result);
  if (status != cudaSuccess) return status;
  if (result != cudaDriverEntryPointSuccess) return cudaErrorSymbolNotFound;
  const auto encode = reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(found);
  const cuuint32_t steps[3] = {1, 1, 1};
  const CUresult done =
      encode(&out->map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 3, const_cast<void*>(address), dims, strides,
             box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
             CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  return done == CUDA_SUCCESS ? cudaSuccess : cudaErrorInvalidValue;
}

// ---- barriers

GRAFT_DEVICE void mbarrier_init(mbarrier* barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals)
               : "memory");
}
GRAFT_DEVICE void mbarrier_init_fence() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
GRAFT_DEVICE void mbarrier_arrive(mbarrier* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}
GRAFT_DEVICE void mbarrier_arrive_expect(mbarrier* barrier, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)),
               "r"(bytes)
               : "memory");
}
// try_wait sleeps for a while of the hardware's choice before it says no.
GRAFT_DEVICE void mbarrier_wait(mbarrier* barrier, int parity) {
  asm volatile(
      "{\n"
      ".reg .pred ended;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 ended, [%0], %1;\n"
      "@!ended bra again;\n"
      "}" ::"r"(shared_address(barrier)),
      "r"(parity)
      : "memory");
}
GRAFT_DEVICE void fence_async_proxy() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// ---- tensor copies

GRAFT_DEVICE void copy_tensor(void* shared, const tensor_map& map, int x, int y, int z,
                              mbarrier* barrier) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], "
      "[%1, {%2, %3, %4}], [%5];" ::"r"(shared_address(shared)),
      "l"(reinterpret_cast<uint64_t>(&map)), "r"(x), "r"(y), "r"(z), "r"(shared_address(barrier))
      : "memory");
}

// ---- products

GRAFT_DEVICE uint64_t matrix_descriptor(const void* shared, int leading_bytes, int stride_bytes) {
  const auto field = [](uint32_t bytes) { return static_cast<uint64_t>((bytes & 0x3FFFF) >> 4); };
  return field(shared_address(shared)) | field(static_cast<uint32_t>(leading_bytes)) << 16 |
         field(static_cast<uint32_t>(stride_bytes)) << 32 | uint64_t{1} << 62;
}
GRAFT_DEVICE uint64_t descriptor_after(uint64_t descriptor, int bytes) {
  return descriptor + static_cast<uint64_t>(bytes >> 4);
}

// The compiler does not know that registers change and are read between a product and its wait: these
// tie their values to the places of the fence and of the wait.
GRAFT_DEVICE void hold(float& x) { asm volatile("" : "+f"(x)::"memory"); }
GRAFT_DEVICE void hold(uint32_t& x) { asm volatile("" : "+r"(x)::"memory"); }
template <typename T, int count>
GRAFT_DEVICE void hold(T (&x)[count]) {
  GRAFT_UNROLL
  for (int i = 0; i < count; ++i) hold(x[i]);
}

template <typename... Registers>
GRAFT_DEVICE void wgmma_fence(Registers&... registers) {
  (hold(registers), ...);
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
GRAFT_DEVICE void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int newest, typename... Registers>
GRAFT_DEVICE void wgmma_wait(Registers&... registers) {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(newest) : "memory");
  (hold(registers), ...);
}

#define GRAFT_ROW(j) "+f"(d[j][0]), "+f"(d[j][1]), "+f"(d[j][2]), "+f"(d[j][3])
#define GRAFT_ROWS_4(j) GRAFT_ROW(j), GRAFT_ROW(j + 1), GRAFT_ROW(j + 2), GRAFT_ROW(j + 3)
#define GRAFT_ROWS_8(j) GRAFT_ROWS_4(j), GRAFT_ROWS_4(j + 4)
#define GRAFT_ROWS_16 GRAFT_ROWS_8(0), GRAFT_ROWS_8(8)
#define GRAFT_NAMES_32                                                                            \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, " \
  "%21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define GRAFT_NAMES_64                                                                             \
  GRAFT_NAMES_32                                                                                   \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, "   \
  "%50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"

// a: the operand's text; b, add: numbers of the operands that follow the sums.
#define GRAFT_WGMMA_TEXT(n, names, a, b, add, transposed)                                       \
  "{\n.reg .pred add;\nsetp.ne.b32 add, %" add ", 0;\n"                                          \
  "wgmma.mma_async.sync.aligned.m64n" n "k16.f32.bf16.bf16 {" names "}, " a ", %" b            \
  ", add, 1, 1, " transposed ";\n}"

template <matrix_major order, int blocks>
GRAFT_DEVICE void wgmma(float (&d)[blocks][4], uint64_t a, uint64_t b, bool add) {
  static_assert(blocks == 8 || blocks == 16, "products of 64 or 128 columns");
  constexpr int transposed = order == matrix_major::mn;
  if constexpr (blocks == 8)
    asm volatile(GRAFT_WGMMA_TEXT("64", GRAFT_NAMES_32, "%32", "33", "34", "0, %35")
                 : GRAFT_ROWS_8(0)
                 : "l"(a), "l"(b), "r"(static_cast<int>(add)), "n"(transposed));
  else
    asm volatile(GRAFT_WGMMA_TEXT("128", GRAFT_NAMES_64, "%64", "65", "66", "0, %67")
                 : GRAFT_ROWS_16
                 : "l"(a), "l"(b), "r"(static_cast<int>(add)), "n"(transposed));
}

template <matrix_major order, int blocks>
GRAFT_DEVICE void wgmma(float (&d)[blocks][4], const uint32_t (&a)[4], uint64_t b, bool add) {
  static_assert(blocks == 8 || blocks == 16, "products of 64 or 128 columns");
  constexpr int transposed = order == matrix_major::mn;
  if constexpr (blocks == 8)
    asm volatile(GRAFT_WGMMA_TEXT("64", GRAFT_NAMES_32, "{%32, %33, %34, %35}", "36", "37", "%38")
                 : GRAFT_ROWS_8(0)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(add)),
                   "n"(transposed));
  else
    asm volatile(GRAFT_WGMMA_TEXT("128", GRAFT_NAMES_64, "{%64, %65, %66, %67}", "68", "69", "%70")
                 : GRAFT_ROWS_16
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(add)),
                   "n"(transposed));
}
#undef GRAFT_ROW
#undef GRAFT_ROWS_4
#undef GRAFT_ROWS_8
#undef GRAFT_ROWS_16
#undef GRAFT_NAMES_32
#undef GRAFT_NAMES_64
#undef GRAFT_WGMMA_TEXT

// ---- registers

template <int count>
GRAFT_DEVICE void release_registers() {
  static_assert(count >= 24 && count <= 256 && count % 8 == 0);
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(count));
}
template <int count>
GRAFT_DEVICE void take_registers() {
  static_assert(count >= 24 && count <= 256 && count % 8 == 0);
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(count));
}

}  // namespace graft::cuda
