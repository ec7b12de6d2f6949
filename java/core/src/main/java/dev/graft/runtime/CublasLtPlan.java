package dev.graft.runtime;

import static org.bytedeco.cuda.global.cublas.*;
import static org.bytedeco.cuda.global.cudart.CUDA_R_16BF;
import static org.bytedeco.cuda.global.cudart.CUDA_R_32F;

import java.util.stream.IntStream;
import org.bytedeco.cuda.cublas.cublasLtContext;
import org.bytedeco.cuda.cublas.cublasLtMatmulAlgo_t;
import org.bytedeco.cuda.cublas.cublasLtMatmulDescOpaque_t;
import org.bytedeco.cuda.cublas.cublasLtMatmulHeuristicResult_t;
import org.bytedeco.cuda.cublas.cublasLtMatmulPreferenceOpaque_t;
import org.bytedeco.cuda.cublas.cublasLtMatrixLayoutOpaque_t;
import org.bytedeco.cuda.cudart.CUstream_st;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.IntPointer;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.PointerPointer;

/**
 * The descriptors of one product, made once, and the call on them. Sums are fp32 for bf16 operands
 * and plain fp32, never TF32, for fp32 ones.
 */
final class CublasLtPlan implements AutoCloseable {
  private final cublasLtContext library;
  private final CublasLtShape shape;
  private final cublasLtMatmulDescOpaque_t product;
  private final cublasLtMatrixLayoutOpaque_t first;
  private final cublasLtMatrixLayoutOpaque_t second;
  private final cublasLtMatrixLayoutOpaque_t result;
  private final FloatPointer alpha;
  private final FloatPointer beta;

  /**
   * @param bias address of a bias of the result's dtype; ignored if the shape has none
   */
  CublasLtPlan(cublasLtContext library, CublasLtShape shape, float scale, long bias) {
    this.library = library;
    this.shape = shape;
    alpha = new FloatPointer(1).put(scale);
    beta = new FloatPointer(1).put(shape.accumulate() ? 1f : 0f);
    try (PointerPointer<Pointer> out = new PointerPointer<>(1)) {
      check(cublasLtMatmulDescCreate(out, CUBLAS_COMPUTE_32F, CUDA_R_32F), "product");
      product = new cublasLtMatmulDescOpaque_t(out.get());
      first = layout(out, shape.first());
      second = layout(out, shape.second());
      result = layout(out, shape.result());
    }
    set(CUBLASLT_MATMUL_DESC_TRANSA, shape.first().transposed() ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_TRANSB, shape.second().transposed() ? CUBLAS_OP_T : CUBLAS_OP_N);
    if (shape.bias() != null) {
      set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
      set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, code(shape.bias()));
      try (LongPointer address = new LongPointer(1).put(bias)) {
        check(
            cublasLtMatmulDescSetAttribute(
                product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, address, Long.BYTES),
            "bias");
      }
    }
  }

  private static cublasLtMatrixLayoutOpaque_t layout(
      PointerPointer<Pointer> out, CublasLtShape.Operand matrix) {
    check(
        cublasLtMatrixLayoutCreate(
            out, code(matrix.dtype()), matrix.rows(), matrix.columns(), matrix.leading()),
        "matrix layout");
    return new cublasLtMatrixLayoutOpaque_t(out.get());
  }

  private static int code(DType dtype) {
    return dtype == DType.BFLOAT16 ? CUDA_R_16BF : CUDA_R_32F;
  }

  private void set(int attribute, int value) {
    try (IntPointer pointer = new IntPointer(1).put(value)) {
      check(cublasLtMatmulDescSetAttribute(product, attribute, pointer, Integer.BYTES), "product");
    }
  }

  static void check(int status, String what) {
    if (status != CUBLAS_STATUS_SUCCESS) {
      throw new IllegalStateException(
          "cuBLASLt: " + what + ": " + cublasLtGetStatusString(status).getString());
    }
  }

  /**
   * The library's own proposals, the likeliest fastest first; none that needs more workspace, or
   * that adds partial sums in no fixed order or in bf16.
   *
   * @throws IllegalStateException if there is none
   */
  cublasLtMatmulHeuristicResult_t[] proposals(int most, long workspace) {
    try (PointerPointer<Pointer> out = new PointerPointer<>(1);
        IntPointer found = new IntPointer(1)) {
      check(cublasLtMatmulPreferenceCreate(out), "preferences");
      cublasLtMatmulPreferenceOpaque_t preference = new cublasLtMatmulPreferenceOpaque_t(out.get());
      cublasLtMatmulHeuristicResult_t list = new cublasLtMatmulHeuristicResult_t(most);
      try (LongPointer bytes = new LongPointer(1).put(workspace)) {
        check(
            cublasLtMatmulPreferenceSetAttribute(
                preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, bytes, Long.BYTES),
            "preferences");
        prefer(
            preference,
            CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
            CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);
        prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, shape.first().alignment());
        prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, shape.second().alignment());
        prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, shape.result().alignment());
        prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, shape.result().alignment());
        check(
            cublasLtMatmulAlgoGetHeuristic(
                library, product, first, second, result, result, preference, most, list, found),
            "no algorithm for " + shape.key());
      } finally {
        cublasLtMatmulPreferenceDestroy(preference);
      }
      cublasLtMatmulHeuristicResult_t[] usable =
          IntStream.range(0, found.get())
              .mapToObj(list::getPointer)
              .filter(one -> one.state() == CUBLAS_STATUS_SUCCESS)
              .toArray(cublasLtMatmulHeuristicResult_t[]::new);
      if (usable.length == 0) {
        throw new IllegalStateException("cuBLASLt: no algorithm for " + shape.key());
      }
      return usable;
    }
  }

  private static void prefer(
      cublasLtMatmulPreferenceOpaque_t preference, int attribute, int value) {
    try (IntPointer pointer = new IntPointer(1).put(value)) {
      check(
          cublasLtMatmulPreferenceSetAttribute(preference, attribute, pointer, Integer.BYTES),
          "preferences");
    }
  }

  /** Whether an algorithm that was remembered still serves here. */
  boolean accepts(cublasLtMatmulAlgo_t algorithm, long workspace) {
    try (cublasLtMatmulHeuristicResult_t answer = new cublasLtMatmulHeuristicResult_t()) {
      return cublasLtMatmulAlgoCheck(
                  library, product, first, second, result, result, algorithm, answer)
              == CUBLAS_STATUS_SUCCESS
          && answer.workspaceSize() <= workspace;
    }
  }

  /** Enqueues the product on a stream; allocates nothing. */
  int run(
      Pointer firstAddress,
      Pointer secondAddress,
      Pointer resultAddress,
      cublasLtMatmulAlgo_t algorithm,
      Pointer workspace,
      long workspaceBytes,
      CUstream_st stream) {
    return cublasLtMatmul(
        library,
        product,
        alpha,
        firstAddress,
        first,
        secondAddress,
        second,
        beta,
        resultAddress,
        result,
        resultAddress,
        result,
        algorithm,
        workspace,
        workspaceBytes,
        stream);
  }

  @Override
  public void close() {
    cublasLtMatrixLayoutDestroy(first);
    cublasLtMatrixLayoutDestroy(second);
    cublasLtMatrixLayoutDestroy(result);
    cublasLtMatmulDescDestroy(product);
    alpha.close();
    beta.close();
  }
}
