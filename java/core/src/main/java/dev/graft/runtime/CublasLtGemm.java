package dev.graft.runtime;

import static org.bytedeco.cuda.global.cublas.CUBLAS_STATUS_SUCCESS;
import static org.bytedeco.cuda.global.cublas.cublasLtCreate;
import static org.bytedeco.cuda.global.cublas.cublasLtDestroy;

import dev.graft.bindings.global.graft;
import dev.graft.bindings.graft_cast_args;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.bytedeco.cuda.cublas.cublasLtContext;
import org.bytedeco.cuda.cublas.cublasLtMatmulAlgo_t;
import org.bytedeco.cuda.cublas.cublasLtMatmulHeuristicResult_t;
import org.bytedeco.cuda.cudart.CUstream_st;
import org.bytedeco.javacpp.Pointer;

/**
 * Products by cuBLASLt on the device's stream. Descriptors are made once a product; the algorithm
 * is the fastest of the library's own proposals, timed once a shape on this device and remembered
 * (see {@link AlgorithmCache}), so that the same shape always takes the same one.
 */
final class CublasLtGemm extends ChoosingGemm {
  /** What the library's fastest kernels ask for on Hopper. */
  private static final long WORKSPACE = 32L << 20;

  private static final int BIAS_ALIGNMENT = 16;
  private static final int PROPOSALS = 16;
  private static final int REPEATS = 7;

  /** By library version and device: contexts of one device share what was timed. */
  private static final Map<String, AlgorithmCache> CACHES = new HashMap<>();

  private final Device device;
  private final cublasLtContext library = new cublasLtContext();
  private final CUstream_st stream;
  private final Arena arena;
  private final Pointer workspace;
  private final String description = "cuBLASLt " + CublasLt.status().version();
  private final Set<Bound> bound = new HashSet<>();

  CublasLtGemm(Device device) {
    super(cache(device), Fusing.TIMED);
    this.device = device;
    CublasLtPlan.check(cublasLtCreate(library), "handle");
    stream = new CUstream_st(device.stream());
    arena = new Arena(device, "cuBLASLt");
    workspace = Address.of(arena.allocate(WORKSPACE, "workspace"));
  }

  private static AlgorithmCache cache(Device device) {
    CublasLt.require();
    String library = "cublaslt-" + CublasLt.status().version();
    String card = device.model();
    synchronized (CACHES) {
      return CACHES.computeIfAbsent(
          library + " " + card,
          key ->
              new AlgorithmCache(
                  AlgorithmCache.file(
                      System.getenv(), Path.of(System.getProperty("user.home")), library, card)));
    }
  }

  @Override
  public String description() {
    return description;
  }

  @Override
  public Call prepare(Product product) {
    product.requireFits();
    Bound call = new Bound(product);
    bound.add(call);
    return call;
  }

  @Override
  public void close() {
    List.copyOf(bound).forEach(Bound::close);
    cublasLtDestroy(library);
    arena.close();
  }

  private final class Bound implements Call {
    private final CublasLtPlan plan;
    private final Pointer first;
    private final Pointer second;
    private final Pointer result;
    private final cublasLtMatmulAlgo_t algorithm;
    private final long workspaceBytes;
    private Arena biasArena;
    private graft_cast_args biasCast;

    Bound(Product product) {
      CublasLtShape shape = CublasLtShape.of(product);
      first = Address.of(CublasLtShape.address(product.b()));
      second = Address.of(CublasLtShape.address(product.a()));
      result = Address.of(CublasLtShape.address(product.c()));
      Epilogue epilogue = product.epilogue();
      if (!shape.epilogue().fits()) {
        throw refused(shape);
      }
      plan =
          new CublasLtPlan(
              library,
              shape,
              product.scale(),
              epilogue.bias() != null
                  ? bias(epilogue.bias(), product.c().dtype())
                  : addressOf(epilogue.sums()),
              addressOf(epilogue.before()));
      if (product.isFloat8()) {
        plan.scales(product.b().scale().address(), product.a().scale().address());
      }
      AlgorithmCache.Algorithm best;
      try {
        best = choose(shape, product);
      } catch (RuntimeException e) {
        free();
        throw e;
      }
      algorithm = algorithm(best);
      workspaceBytes = best.workspace();
      chosen.take(shape.key(), best);
    }

    /**
     * The address of a bias as the library can read it: of the result's dtype, and aligned as its
     * vectors want, which it does not ask of the bias when it proposes kernels.
     */
    private long bias(Tensor bias, DType dtype) {
      if (bias.dtype() == dtype && bias.address() % BIAS_ALIGNMENT == 0) {
        return bias.address();
      }
      biasArena = new Arena(device, "copy of a bias");
      Tensor copy = biasArena.zeros("bias", dtype, bias.count());
      biasCast = new graft_cast_args();
      Pointer.memset(biasCast, 0, biasCast.sizeof());
      biasCast
          .struct_size(biasCast.sizeof())
          .from(bias.pointer())
          .to(copy.pointer())
          .count(bias.count())
          .from_dtype(bias.dtype().code())
          .to_dtype(copy.dtype().code());
      return copy.address();
    }

    private static long addressOf(Tensor tensor) {
      return tensor == null ? 0 : tensor.address();
    }

    private RuntimeException refused(CublasLtShape shape) {
      String message = description + " has no algorithm for " + shape.key();
      return shape.epilogue().isPlain()
          ? new IllegalStateException(message)
          : new UnsupportedEpilogueException(message);
    }

    private AlgorithmCache.Algorithm choose(CublasLtShape shape, Product product) {
      AlgorithmCache.Algorithm wanted = chosen.required(shape.key());
      if (wanted != null) {
        if (!accepts(wanted)) {
          throw new IllegalStateException(
              "the run's algorithm for the product "
                  + shape.key()
                  + " is not one of "
                  + description
                  + " here, so it cannot go on exactly");
        }
        return wanted;
      }
      AlgorithmCache.Algorithm known = chosen.remembered(shape.key());
      if (known != null && accepts(known)) {
        return known;
      }
      cublasLtMatmulHeuristicResult_t[] proposals = plan.proposals(PROPOSALS, WORKSPACE);
      if (proposals.length == 0) {
        throw refused(shape);
      }
      AlgorithmCache.Algorithm fastest = time(proposals, product);
      if (fastest == null) {
        throw refused(shape);
      }
      chosen.remember(shape.key(), fastest);
      return fastest;
    }

    private boolean accepts(AlgorithmCache.Algorithm one) {
      try (cublasLtMatmulAlgo_t words = algorithm(one)) {
        return plan.accepts(words, WORKSPACE);
      }
    }

    /**
     * Runs each proposal on the operands, into memory of its own, for c may hold what counts; what
     * an epilogue stores besides is of the step that is yet to run.
     *
     * @return null if the library refuses to run any of them
     */
    private AlgorithmCache.Algorithm time(
        cublasLtMatmulHeuristicResult_t[] proposals, Product product) {
      long bytes = product.c().rows() * product.c().stride() * product.c().dtype().bytes();
      AlgorithmCache.Algorithm fastest = null;
      try (Arena scratch = new Arena(device, "timing of products")) {
        Pointer into = Address.of(scratch.allocate(bytes, "a result"));
        for (cublasLtMatmulHeuristicResult_t proposal : proposals) {
          double microseconds = microseconds(proposal, into);
          if (microseconds > 0 && (fastest == null || microseconds < fastest.microseconds())) {
            fastest = remembered(proposal, microseconds);
          }
        }
      } catch (OutOfDeviceMemoryException e) {
        // No room for a second result: the library's own favourite it is.
        return remembered(proposals[0], 0);
      }
      return fastest;
    }

    /** Of one run, the mean of several; 0 if the library refuses. */
    private double microseconds(cublasLtMatmulHeuristicResult_t proposal, Pointer into) {
      cublasLtMatmulAlgo_t one = proposal.algo();
      if (enqueue(one, into, proposal.workspaceSize()) != CUBLAS_STATUS_SUCCESS) {
        return 0;
      }
      return device.microseconds(
          REPEATS,
          () -> CublasLtPlan.check(enqueue(one, into, proposal.workspaceSize()), "timing"));
    }

    private int enqueue(cublasLtMatmulAlgo_t one, Pointer into, long bytes) {
      return plan.run(first, second, into, one, workspace, bytes, stream);
    }

    @Override
    public void run() {
      if (biasCast != null) {
        Device.check(graft.graft_cast(device.context(), biasCast));
      }
      int status = plan.run(first, second, result, algorithm, workspace, workspaceBytes, stream);
      if (status != CUBLAS_STATUS_SUCCESS) {
        CublasLtPlan.check(status, "product");
      }
    }

    @Override
    public void close() {
      if (!bound.remove(this)) {
        return;
      }
      free();
      algorithm.close();
    }

    private void free() {
      plan.close();
      if (biasArena != null) {
        biasArena.close();
        biasCast.close();
      }
    }
  }

  private static AlgorithmCache.Algorithm remembered(
      cublasLtMatmulHeuristicResult_t proposal, double microseconds) {
    long[] words = new long[AlgorithmCache.WORDS];
    for (int i = 0; i < words.length; i++) {
      words[i] = proposal.algo().data(i);
    }
    return new AlgorithmCache.Algorithm(words, proposal.workspaceSize(), microseconds);
  }

  private static cublasLtMatmulAlgo_t algorithm(AlgorithmCache.Algorithm remembered) {
    cublasLtMatmulAlgo_t algorithm = new cublasLtMatmulAlgo_t();
    for (int i = 0; i < AlgorithmCache.WORDS; i++) {
      algorithm.data(i, remembered.words()[i]);
    }
    return algorithm;
  }
}
