package dev.graft.runtime;

import static org.assertj.core.api.Assertions.assertThat;
import static org.bytedeco.cuda.global.cublas.*;
import static org.bytedeco.cuda.global.cudart.CUDA_R_16BF;
import static org.bytedeco.cuda.global.cudart.CUDA_R_32F;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import org.bytedeco.cuda.cublas.cublasLtContext;
import org.bytedeco.cuda.cublas.cublasLtMatmulDescOpaque_t;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.javacpp.SizeTPointer;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/**
 * Descriptions of products in the library's own memory, read back by it. It needs the library, but
 * no card: only its handle does.
 */
class CublasLtPlanTest {
  @BeforeAll
  static void library() {
    assumeTrue(CublasLt.status().available(), () -> CublasLt.status().reason());
  }

  private static long attribute(CublasLtPlan plan, int attribute, int bytes) {
    try (LongPointer value = new LongPointer(1);
        SizeTPointer written = new SizeTPointer(1)) {
      value.put(0);
      cublasLtMatmulDescOpaque_t product = plan.product();
      assertThat(cublasLtMatmulDescGetAttribute(product, attribute, value, bytes, written))
          .isEqualTo(CUBLAS_STATUS_SUCCESS);
      assertThat(written.get()).as("bytes of attribute %d", attribute).isEqualTo(bytes);
      return value.get();
    }
  }

  @Test
  void gelu_isDescribedWhole() {
    try (Device device = Device.cpu(1);
        Arena arena = new Arena(device, "plans")) {
      Tensor x = arena.zeros("x", DType.BFLOAT16, 48, 16);
      Tensor w = arena.zeros("w", DType.BFLOAT16, 24, 16);
      Tensor bias = arena.zeros("bias", DType.BFLOAT16, 24);
      Tensor before = arena.zeros("before", DType.BFLOAT16, 48, 24);
      Tensor after = arena.zeros("after", DType.BFLOAT16, 48, 24);
      Gemm.Product product =
          new Gemm.Product(
              Gemm.Columns.of(x),
              false,
              Gemm.Columns.of(w),
              true,
              Gemm.Columns.of(after),
              false,
              1,
              Epilogue.gelu(bias, before));
      try (CublasLtPlan plan = plan(product, bias, before)) {
        assertThat(attribute(plan, CUBLASLT_MATMUL_DESC_TRANSA, 4)).isEqualTo(CUBLAS_OP_T);
        assertThat(attribute(plan, CUBLASLT_MATMUL_DESC_TRANSB, 4)).isEqualTo(CUBLAS_OP_N);
        assertThat(attribute(plan, CUBLASLT_MATMUL_DESC_EPILOGUE, 4))
            .isEqualTo(CUBLASLT_EPILOGUE_GELU_AUX_BIAS);
        assertThat(attribute(plan, CUBLASLT_MATMUL_DESC_BIAS_POINTER, 8)).isEqualTo(bias.address());
        assertThat(attribute(plan, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, 4)).isEqualTo(CUDA_R_16BF);
        assertThat(attribute(plan, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, 8))
            .isEqualTo(before.address());
        assertThat(attribute(plan, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, 8)).isEqualTo(24);
        assertThat(attribute(plan, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_DATA_TYPE, 4))
            .isEqualTo(CUDA_R_16BF);
      }
    }
  }

  @Test
  void sumsOfAWeightsGradient_areDescribedWhole() {
    try (Device device = Device.cpu(1);
        Arena arena = new Arena(device, "plans")) {
      Tensor x = arena.zeros("x", DType.BFLOAT16, 48, 16);
      Tensor dy = arena.zeros("dy", DType.BFLOAT16, 48, 24);
      Tensor dw = arena.zeros("dw", DType.FLOAT32, 16, 24);
      Tensor sums = arena.zeros("sums", DType.FLOAT32, 24);
      Gemm.Product product =
          new Gemm.Product(
              Gemm.Columns.of(x),
              true,
              Gemm.Columns.of(dy),
              false,
              Gemm.Columns.of(dw),
              true,
              1,
              Epilogue.sumsOfB(sums));
      try (CublasLtPlan plan = plan(product, sums, null)) {
        assertThat(attribute(plan, CUBLASLT_MATMUL_DESC_EPILOGUE, 4))
            .isEqualTo(CUBLASLT_EPILOGUE_BGRADA);
        assertThat(attribute(plan, CUBLASLT_MATMUL_DESC_BIAS_POINTER, 8)).isEqualTo(sums.address());
        assertThat(attribute(plan, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, 4)).isEqualTo(CUDA_R_32F);
        assertThat(attribute(plan, CUBLASLT_MATMUL_DESC_TRANSA, 4)).isEqualTo(CUBLAS_OP_N);
        assertThat(attribute(plan, CUBLASLT_MATMUL_DESC_TRANSB, 4)).isEqualTo(CUBLAS_OP_T);
      }
    }
  }

  /** Both operands have their terms side by side, which on Hopper is the only way they may lie. */
  @Test
  void float8_isDescribedWhole() {
    try (Device device = Device.cpu(1);
        Arena arena = new Arena(device, "plans")) {
      Tensor a = arena.zeros("a", DType.FLOAT8_E5M2, 48, 16);
      Tensor b = arena.zeros("b", DType.FLOAT8_E4M3, 32, 16);
      Tensor c = arena.zeros("c", DType.BFLOAT16, 48, 32);
      Tensor scales = arena.zeros("scales", DType.FLOAT32, 2);
      Gemm.Product product =
          new Gemm.Product(
              Gemm.Columns.scaled(a, scales.view(0, 1)),
              false,
              Gemm.Columns.scaled(b, scales.view(1, 1)),
              true,
              Gemm.Columns.of(c),
              false,
              1);
      product.requireFits();
      CublasLtShape shape = CublasLtShape.of(product);
      assertThat(shape.key()).matches("32x48x16/e4m3T16@\\d+/e5m2N16@\\d+/bf16N32@\\d+/plain/set");
      try (CublasLtPlan plan = new CublasLtPlan(new cublasLtContext(), shape, 1, 0, 0)) {
        plan.scales(product.b().scale().address(), product.a().scale().address());
        assertThat(attribute(plan, CUBLASLT_MATMUL_DESC_TRANSA, 4)).isEqualTo(CUBLAS_OP_T);
        assertThat(attribute(plan, CUBLASLT_MATMUL_DESC_TRANSB, 4)).isEqualTo(CUBLAS_OP_N);
        assertThat(attribute(plan, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, 8))
            .isEqualTo(scales.address() + 4);
        assertThat(attribute(plan, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, 8))
            .isEqualTo(scales.address());
        assertThat(attribute(plan, CUBLASLT_MATMUL_DESC_FAST_ACCUM, 1)).isZero();
      }
    }
  }

  private static CublasLtPlan plan(Gemm.Product product, Tensor vector, Tensor auxiliary) {
    product.requireFits();
    return new CublasLtPlan(
        new cublasLtContext(),
        CublasLtShape.of(product),
        1,
        vector.address(),
        auxiliary == null ? 0 : auxiliary.address());
  }
}
