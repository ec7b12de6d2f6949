package dev.graft.runtime;

import static org.bytedeco.cuda.global.cublas.*;
import static org.bytedeco.cuda.global.cudart.CUDA_R_16BF;
import static org.bytedeco.cuda.global.cudart.CUDA_R_32F;
import static org.bytedeco.cuda.global.cudart.CUDA_R_32I;
import static org.bytedeco.cuda.global.cudart.CUDA_R_8F_E4M3;
import static org.bytedeco.cuda.global.cudart.CUDA_R_8F_E5M2;

import java.util.LinkedHashMap;
import java.util.Map;

/**
 * An {@link Epilogue} as cuBLASLt describes it. Its matrix D is our c transposed (see {@link
 * CublasLtShape}), so our N columns are its rows: a bias and the sums of columns of c have its
 * rows' length, as it wants them; our b is its A and our a its B, so the sums of b are BGRADA, of
 * the length of D's rows, and the sums of a are BGRADB, of the length of D's columns. What GELU has
 * read lies as D does, with N elements from one of D's columns to the next.
 *
 * <p>The vector and the auxiliary matrix have D's dtype, as the library's tables want.
 *
 * @param code one of CUBLASLT_EPILOGUE_…
 * @param vector dtype of the bias or of the sums; null if there is neither
 * @param auxiliary dtype of what GELU has read; null if there is none
 * @param leading elements from one column of the auxiliary matrix to the next
 * @param alignment bytes the auxiliary matrix' address is a multiple of
 */
record CublasLtEpilogue(int code, DType vector, DType auxiliary, long leading, int alignment) {
  /** What the leading size of an auxiliary matrix must be a multiple of. */
  private static final int LEADING_MULTIPLE = 8;

  private static final int LEAST_ALIGNMENT = 16;

  static CublasLtEpilogue of(Gemm.Product product) {
    Epilogue epilogue = product.epilogue();
    boolean vector = epilogue.bias() != null || epilogue.sums() != null;
    Tensor before = epilogue.before();
    DType dtype = product.c().dtype();
    return new CublasLtEpilogue(
        code(epilogue),
        vector ? dtype : null,
        before == null ? null : dtype,
        before == null ? 0 : product.n(),
        before == null ? 0 : CublasLtShape.alignmentOf(before.address()));
  }

  private static int code(Epilogue epilogue) {
    boolean bias = epilogue.bias() != null;
    boolean before = epilogue.before() != null;
    return switch (epilogue.kind()) {
      case NONE -> CUBLASLT_EPILOGUE_DEFAULT;
      case BIAS -> CUBLASLT_EPILOGUE_BIAS;
      case GELU ->
          before
              ? (bias ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS : CUBLASLT_EPILOGUE_GELU_AUX)
              : (bias ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU);
      case GELU_GRADIENT ->
          epilogue.sums() == null ? CUBLASLT_EPILOGUE_DGELU : CUBLASLT_EPILOGUE_DGELU_BGRAD;
      case SUMS_OF_A -> CUBLASLT_EPILOGUE_BGRADB;
      case SUMS_OF_B -> CUBLASLT_EPILOGUE_BGRADA;
    };
  }

  /** Whether every card and library has it. */
  boolean isPlain() {
    return code == CUBLASLT_EPILOGUE_DEFAULT || code == CUBLASLT_EPILOGUE_BIAS;
  }

  /** Whether its auxiliary matrix lies as the library demands. */
  boolean fits() {
    return auxiliary == null
        || (leading % LEADING_MULTIPLE == 0 && alignment % LEAST_ALIGNMENT == 0);
  }

  /**
   * What a product's description is told, by attribute: CUBLASLT_MATMUL_DESC_…; an Integer is a
   * value of 4 bytes, a Long one of 8.
   *
   * @param vectorAddress of the bias or the sums, ignored if there is neither
   * @param auxiliaryAddress of what GELU has read, ignored if there is none
   */
  Map<Integer, Number> attributes(long vectorAddress, long auxiliaryAddress) {
    Map<Integer, Number> attributes = new LinkedHashMap<>();
    if (code == CUBLASLT_EPILOGUE_DEFAULT) {
      return attributes;
    }
    attributes.put(CUBLASLT_MATMUL_DESC_EPILOGUE, code);
    if (vector != null) {
      attributes.put(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, dataType(vector));
      attributes.put(CUBLASLT_MATMUL_DESC_BIAS_POINTER, vectorAddress);
    }
    if (auxiliary != null) {
      attributes.put(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_DATA_TYPE, dataType(auxiliary));
      attributes.put(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, leading);
      attributes.put(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, auxiliaryAddress);
    }
    return attributes;
  }

  static int dataType(DType dtype) {
    return switch (dtype) {
      case FLOAT32 -> CUDA_R_32F;
      case BFLOAT16 -> CUDA_R_16BF;
      case INT32 -> CUDA_R_32I;
      case FLOAT8_E4M3 -> CUDA_R_8F_E4M3;
      case FLOAT8_E5M2 -> CUDA_R_8F_E5M2;
    };
  }

  /** As a word of {@link CublasLtShape#key}. */
  String text() {
    String name =
        switch (code) {
          case CUBLASLT_EPILOGUE_DEFAULT -> "plain";
          case CUBLASLT_EPILOGUE_BIAS -> "bias";
          case CUBLASLT_EPILOGUE_GELU -> "gelu";
          case CUBLASLT_EPILOGUE_GELU_AUX -> "gelu-aux";
          case CUBLASLT_EPILOGUE_GELU_BIAS -> "gelu-bias";
          case CUBLASLT_EPILOGUE_GELU_AUX_BIAS -> "gelu-aux-bias";
          case CUBLASLT_EPILOGUE_DGELU -> "dgelu";
          case CUBLASLT_EPILOGUE_DGELU_BGRAD -> "dgelu-bgrad";
          case CUBLASLT_EPILOGUE_BGRADA -> "bgrada";
          case CUBLASLT_EPILOGUE_BGRADB -> "bgradb";
          default -> throw new IllegalStateException("epilogue " + code);
        };
    return name
        + (vector == null ? "" : "-" + vector.label())
        + (auxiliary == null ? "" : "@" + alignment);
  }
}
