package dev.graft.runtime;

import static org.bytedeco.cuda.global.cublas.*;
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
   * @param vector address of the epilogue's bias or sums, of the result's dtype; ignored if it has
   *     neither
   * @param auxiliary address of what its GELU has read; ignored if it has none
   */
  CublasLtPlan(
      cublasLtContext library, CublasLtShape shape, float scale, long vector, long auxiliary) {
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
    shape.epilogue().attributes(vector, auxiliary).forEach(this::set);
  }

  /**
   * Tells the library where the scales of 8-bit floats are; sums stay in full fp32 (no fast
   * accumulation, which is off as the library has it).
   */
  void scales(long ofFirst, long ofSecond) {
    set(CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, ofFirst);
    set(CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, ofSecond);
  }

  private static cublasLtMatrixLayoutOpaque_t layout(
      PointerPointer<Pointer> out, CublasLtShape.Operand matrix) {
    check(
        cublasLtMatrixLayoutCreate(
            out,
            CublasLtEpilogue.dataType(matrix.dtype()),
            matrix.rows(),
            matrix.columns(),
            matrix.leading()),
        "matrix layout");
    return new cublasLtMatrixLayoutOpaque_t(out.get());
  }

  /** Sets an attribute of the product to a value of 4 or of 8 bytes. */
  private void set(int attribute, Number value) {
    boolean wide = value instanceof Long;
    try (Pointer pointer =
        wide
            ? new LongPointer(1).put(value.longValue())
            : new IntPointer(1).put(value.intValue())) {
      check(
          cublasLtMatmulDescSetAttribute(
              product, attribute, pointer, wide ? Long.BYTES : Integer.BYTES),
          "product");
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
   * that adds partial sums in no fixed order or in bf16. None at all where the library has no
   * kernel with the epilogue.
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
        int status =
            cublasLtMatmulAlgoGetHeuristic(
                library, product, first, second, result, result, preference, most, list, found);
        // An epilogue that a card or a library lacks may be called an impossible configuration.
        if (status == CUBLAS_STATUS_NOT_SUPPORTED
            || (status == CUBLAS_STATUS_INVALID_VALUE && !shape.epilogue().isPlain())) {
          return new cublasLtMatmulHeuristicResult_t[0];
        }
        check(status, "no algorithm for " + shape.key());
      } finally {
        cublasLtMatmulPreferenceDestroy(preference);
      }
      return IntStream.range(0, found.get())
          .mapToObj(list::getPointer)
          .filter(one -> one.state() == CUBLAS_STATUS_SUCCESS)
          .toArray(cublasLtMatmulHeuristicResult_t[]::new);
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

  /** The library's description of the product. */
  cublasLtMatmulDescOpaque_t product() {
    return product;
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
