package dev.graft.model;

import dev.graft.io.InvalidInputException;
import dev.graft.model.Parameters.Parameter;
import dev.graft.model.Recording.Layout;
import dev.graft.program.Ops;
import dev.graft.runtime.DType;
import dev.graft.runtime.Epilogue;
import dev.graft.runtime.Gemm.Columns;
import dev.graft.runtime.Gemm.Product;
import dev.graft.runtime.Tensor;

/**
 * The products of the blocks' linear layers in 8-bit floats (Micikevicius et al.,
 * arXiv:2209.05433): weights and activations in E4M3, gradients in E5M2, each under a scale of its
 * own that is measured when it is made; sums in fp32. Embeddings, attention, norms and heads stay
 * as they are, and so do the weights that are trained.
 *
 * <p>Operands lie with their terms side by side, which for a gradient of a weight are the tokens:
 * so it reads transposed copies.
 */
final class Float8Products {
  private static final int MULTIPLE = 16;

  private final Network network;
  private final Ops ops;

  Float8Products(Network network, Ops ops) {
    this.network = network;
    this.ops = ops;
  }

  /**
   * @throws InvalidInputException if the device has no such products, or the network is not made
   *     for them
   */
  static void require(Network network) {
    if (!network.device().hasFloat8()) {
      throw new InvalidInputException(
          "fp8: expected a card of compute capability 8.9 or later, got "
              + network.device().model());
    }
    if (network.dtype() != DType.BFLOAT16) {
      throw new InvalidInputException(
          "fp8: expected a network in bf16, got " + network.dtype().label());
    }
    for (Parameter p : network.parameters().all()) {
      if (isCovered(network, p)
          && (p.weight().size(0) % MULTIPLE != 0 || p.weight().size(1) % MULTIPLE != 0)) {
        throw new InvalidInputException(
            "fp8: expected sizes that are multiples of 16, got " + p.weight());
      }
    }
  }

  private static boolean isCovered(Network network, Parameter weight) {
    int depth = network.depth(weight);
    return weight.matrix()
        && depth >= 1
        && depth <= network.config().layers()
        && !network.parameters().ofAdapters().contains(weight);
  }

  /** Whether a linear layer is one of a block. */
  boolean covers(Parameter weight) {
    return isCovered(network, weight);
  }

  /** A matrix in 8-bit floats, in the layouts that are wanted. */
  private record Quantized(Tensor plain, Tensor transposed, Tensor scale) {
    Columns of(boolean transpose) {
      return Columns.scaled(transpose ? transposed : plain, scale);
    }
  }

  private Quantized quantized(String name, Tensor x, DType to, boolean plain, boolean transposed) {
    Tensor y = plain ? activation(name + " fp8", to, x.size(0), x.size(1)) : null;
    Tensor t = transposed ? activation(name + " fp8 transposed", to, x.size(1), x.size(0)) : null;
    Tensor scale = activation(name + " scale", DType.FLOAT32, 1);
    ops.quantize(x, y, t, scale);
    return new Quantized(y, t, scale);
  }

  private Tensor activation(String name, DType dtype, long... shape) {
    return ops.program().activation(name, dtype, shape);
  }

  /** y = x · W (+ bias). */
  void forward(String name, Tensor x, Parameter weight, Layout layout, Parameter bias, Tensor y) {
    boolean outIn = layout == Layout.OUT_IN;
    Quantized in = quantized(name, x, DType.FLOAT8_E4M3, true, false);
    Quantized w = quantized(name + " W", weight.compute(), DType.FLOAT8_E4M3, outIn, !outIn);
    ops.gemm(
        name,
        new Product(
            in.of(false),
            false,
            w.of(!outIn),
            true,
            Columns.of(y),
            false,
            1,
            Epilogue.bias(bias == null ? null : bias.compute())));
  }

  /**
   * dW += xᵀ · dy, unless the weight is frozen, and dx = dy · Wᵀ.
   *
   * @param dx null if nothing below wants it
   * @param add to what is in dx
   */
  void backward(
      String name, Tensor x, Tensor dy, Parameter weight, Layout layout, Tensor dx, boolean add) {
    boolean outIn = layout == Layout.OUT_IN;
    boolean trains = weight.trains();
    if (!trains && dx == null) {
      return;
    }
    Quantized d = quantized(name + " dy", dy, DType.FLOAT8_E5M2, dx != null, trains);
    if (trains) {
      Quantized in = quantized(name, x, DType.FLOAT8_E4M3, false, true);
      product(
          name + " dW",
          outIn ? d.of(true) : in.of(true),
          outIn ? in.of(true) : d.of(true),
          weight.grad(),
          true);
    }
    if (dx != null) {
      Quantized w = quantized(name + " W", weight.compute(), DType.FLOAT8_E4M3, !outIn, outIn);
      product(name + " dx", d.of(false), w.of(outIn), dx, add);
    }
  }

  private void product(String name, Columns a, Columns b, Tensor c, boolean add) {
    ops.gemm(name, new Product(a, false, b, true, Columns.of(c), add, 1));
  }
}
