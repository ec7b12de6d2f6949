package dev.graft.runtime;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.bytedeco.cuda.global.cublas.*;
import static org.bytedeco.cuda.global.cudart.CUDA_R_16BF;
import static org.bytedeco.cuda.global.cudart.CUDA_R_32F;

import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** What cuBLASLt is told of an epilogue; it needs neither the library nor a card. */
class CublasLtEpilogueTest {
  private static final int M = 32;
  private static final int N = 24;
  private static final int K = 16;

  private final Device device = Device.cpu(1);
  private final Arena arena = new Arena(device, "epilogues");

  @AfterEach
  void close() {
    device.close();
  }

  private Tensor tensor(DType dtype, long... shape) {
    return arena.zeros("tensor", dtype, shape);
  }

  /** Operands as they are in a linear layer (not transposed) or in its weight's gradient. */
  private Gemm.Product product(DType operands, DType result, boolean gradient, Epilogue epilogue) {
    return new Gemm.Product(
        Gemm.Columns.of(gradient ? tensor(operands, K, M) : tensor(operands, M, K)),
        gradient,
        Gemm.Columns.of(tensor(operands, K, N)),
        false,
        Gemm.Columns.of(tensor(result, M, N)),
        gradient,
        1,
        epilogue);
  }

  private CublasLtEpilogue bf16(Epilogue epilogue) {
    Gemm.Product product = product(DType.BFLOAT16, DType.BFLOAT16, false, epilogue);
    product.requireFits();
    return CublasLtEpilogue.of(product);
  }

  @Test
  void nothing_isLeftAsTheLibraryHasIt() {
    assertThat(bf16(Epilogue.NONE).attributes(1, 2)).isEmpty();
  }

  @Test
  void bias_hasItsAddressAndTheResultsDtype() {
    Tensor bias = tensor(DType.FLOAT32, N);
    assertThat(bf16(Epilogue.bias(bias)).attributes(640, 0))
        .containsExactlyInAnyOrderEntriesOf(
            Map.of(
                CUBLASLT_MATMUL_DESC_EPILOGUE,
                4,
                CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE,
                CUDA_R_16BF,
                CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                640L));
  }

  @Test
  void gelu_keepsWhatItReads_ourColumnsApart() {
    Tensor bias = tensor(DType.BFLOAT16, N);
    Tensor before = tensor(DType.BFLOAT16, M, N);
    assertThat(bf16(Epilogue.gelu(bias, before)).attributes(640, 1280))
        .containsExactlyInAnyOrderEntriesOf(
            Map.of(
                CUBLASLT_MATMUL_DESC_EPILOGUE,
                164,
                CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE,
                CUDA_R_16BF,
                CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                640L,
                CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_DATA_TYPE,
                CUDA_R_16BF,
                CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD,
                (long) N,
                CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER,
                1280L));
    assertThat(bf16(Epilogue.gelu(bias, null)).code()).isEqualTo(36);
    assertThat(bf16(Epilogue.gelu(null, before)).code()).isEqualTo(160);
    assertThat(bf16(Epilogue.gelu(null, null)).attributes(0, 0))
        .isEqualTo(Map.of(CUBLASLT_MATMUL_DESC_EPILOGUE, 32));
  }

  @Test
  void geluGradient_readsIt_andStoresSumsInTheResultsDtype() {
    Tensor before = tensor(DType.BFLOAT16, M, N);
    Tensor sums = tensor(DType.BFLOAT16, N);
    assertThat(bf16(Epilogue.geluGradient(before, sums)).attributes(640, 1280))
        .containsExactlyInAnyOrderEntriesOf(
            Map.of(
                CUBLASLT_MATMUL_DESC_EPILOGUE,
                208,
                CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE,
                CUDA_R_16BF,
                CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                640L,
                CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_DATA_TYPE,
                CUDA_R_16BF,
                CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD,
                (long) N,
                CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER,
                1280L));
    assertThat(bf16(Epilogue.geluGradient(before, null)).attributes(0, 1280))
        .containsEntry(CUBLASLT_MATMUL_DESC_EPILOGUE, 192)
        .doesNotContainKey(CUBLASLT_MATMUL_DESC_BIAS_POINTER);
  }

  /**
   * Oracle: the library's words. BGRADA sums its first operand over k, a vector as long as D's
   * rows; BGRADB its second, as long as D's columns. D is column-major.
   */
  @Test
  void sums_areOfTheLibrarysOwnOperand() {
    for (boolean ofB : new boolean[] {false, true}) {
      Tensor sums = tensor(DType.FLOAT32, ofB ? N : M);
      Gemm.Product product =
          product(
              DType.BFLOAT16,
              DType.FLOAT32,
              true,
              ofB ? Epilogue.sumsOfB(sums) : Epilogue.sumsOfA(sums));
      product.requireFits();
      CublasLtShape shape = CublasLtShape.of(product);
      assertThat(shape.epilogue().attributes(640, 0))
          .containsExactlyInAnyOrderEntriesOf(
              Map.of(
                  CUBLASLT_MATMUL_DESC_EPILOGUE,
                  ofB ? 256 : 512,
                  CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE,
                  CUDA_R_32F,
                  CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                  640L));
      assertThat(sums.count()).isEqualTo(ofB ? shape.m() : shape.n());
      assertThat(shape.accumulate()).isTrue();
      // What is summed is stored [K, M] or [K, N], so column-major K is its second axis.
      CublasLtShape.Operand summed = ofB ? shape.first() : shape.second();
      assertThat(summed.columns()).isEqualTo(K);
      assertThat(summed.rows()).isEqualTo(sums.count());
      assertThat(shape.first().transposed()).isFalse();
      assertThat(shape.second().transposed()).isTrue();
    }
  }

  /** The library wants the auxiliary matrix' columns to be a multiple of 8 elements apart. */
  @Test
  void auxiliaryMatrix_ofAnotherWidth_doesNotFit() {
    assertThat(bf16(Epilogue.gelu(null, tensor(DType.BFLOAT16, M, N))).fits()).isTrue();
    assertThat(new CublasLtEpilogue(164, null, DType.BFLOAT16, 28, 256).fits()).isFalse();
    assertThat(new CublasLtEpilogue(164, null, DType.BFLOAT16, 32, 8).fits()).isFalse();
    assertThat(new CublasLtEpilogue(36, DType.BFLOAT16, null, 0, 0).fits()).isTrue();
  }

  @Test
  void keys_differ_andReadAsWords() {
    Tensor bias = tensor(DType.BFLOAT16, N);
    Tensor before = tensor(DType.BFLOAT16, M, N);
    assertThat(
            Stream.of(
                    Epilogue.NONE,
                    Epilogue.bias(bias),
                    Epilogue.gelu(bias, before),
                    Epilogue.gelu(bias, null),
                    Epilogue.gelu(null, before),
                    Epilogue.gelu(null, null),
                    Epilogue.geluGradient(before, bias),
                    Epilogue.geluGradient(before, null),
                    Epilogue.sumsOfB(bias))
                .map(epilogue -> bf16(epilogue).text().replaceAll("@\\d+", "@"))
                .toList())
        .doesNotHaveDuplicates()
        .startsWith("plain", "bias-bf16", "gelu-aux-bias-bf16@", "gelu-bias-bf16")
        .endsWith("dgelu-bgrad-bf16@", "dgelu@", "bgrada-bf16");
    assertThat(product(DType.BFLOAT16, DType.BFLOAT16, false, Epilogue.gelu(bias, before)).key())
        .isEqualTo("32x24x16/bf16N/bf16N/bf16/gelu-bias-before/set");
  }

  @Test
  void whatDoesNotFit_isNamed() {
    Tensor before = tensor(DType.BFLOAT16, M, N);
    Tensor wide = tensor(DType.FLOAT32, M, N);
    Tensor few = tensor(DType.BFLOAT16, N - 1);
    refused(Epilogue.gelu(few, before), "bias: expected [24]");
    refused(Epilogue.gelu(null, wide), "before: expected BFLOAT16 [32, 24]");
    refused(Epilogue.geluGradient(null, null), "before: GELU_GRADIENT needs what GELU has read");
    refused(Epilogue.geluGradient(before, few), "sums: expected BFLOAT16 [24]");
    refused(Epilogue.sumsOfB(null), "sums: SUMS_OF_B needs a place for them");
    refused(Epilogue.sumsOfA(tensor(DType.BFLOAT16, M)), "a: expected [K, M] as stored");
    assertThatThrownBy(
            () ->
                product(DType.BFLOAT16, DType.BFLOAT16, true, Epilogue.gelu(null, before))
                    .requireFits())
        .hasMessageContaining("accumulate: expected no sum beside GELU");
    assertThatThrownBy(
            () ->
                device
                    .gemm()
                    .prepare(
                        product(
                            DType.BFLOAT16, DType.BFLOAT16, false, Epilogue.gelu(null, before))))
        .isInstanceOf(UnsupportedEpilogueException.class)
        .hasMessageContaining("oneDNN")
        .hasMessageContaining("has no product with gelu-before");
    assertThatThrownBy(() -> device.gemm().fuse(Gemm.Fusing.ALWAYS))
        .isInstanceOf(UnsupportedOperationException.class);
  }

  private void refused(Epilogue epilogue, String message) {
    assertThatThrownBy(() -> product(DType.BFLOAT16, DType.BFLOAT16, false, epilogue).requireFits())
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining(message);
  }
}
