package dev.graft.program;

import dev.graft.program.Ops.Activation;
import dev.graft.runtime.DType;
import dev.graft.runtime.Epilogue;
import dev.graft.runtime.Gemm.Columns;
import dev.graft.runtime.Gemm.Product;
import dev.graft.runtime.Tensor;
import java.util.function.UnaryOperator;

/**
 * What a product can do whole by its {@link Epilogue}, or a product and a kernel one after the
 * other: the same values but for rounding. {@link Ops#fuse} records the faster of the two.
 *
 * <p>Legend: R rows, I inputs, O outputs of a linear layer y[R, O] = x[R, I] · W + b; W is stored
 * [I, O], or [O, I] where {@code outIn} says so.
 */
public sealed interface Fusion {
  /** The one call. */
  void fused(Ops ops);

  /** The calls one after the other. */
  void separate(Ops ops);

  /** The product with its epilogue, for its key. */
  Product product();

  /** The same on other operands, null for null. */
  Fusion with(UnaryOperator<Tensor> operands);

  /**
   * after = gelu(before), before = x · W + bias.
   *
   * @param x [R, I]
   * @param bias [O]
   * @param before [R, O]; null if nothing reads it
   * @param after [R, O]
   */
  record Gelu(
      String name, Tensor x, Tensor weight, boolean outIn, Tensor bias, Tensor before, Tensor after)
      implements Fusion {
    @Override
    public Product product() {
      return product(after, Epilogue.gelu(bias, before));
    }

    private Product product(Tensor result, Epilogue epilogue) {
      return new Product(
          Columns.of(x), false, Columns.of(weight), outIn, Columns.of(result), false, 1, epilogue);
    }

    @Override
    public void fused(Ops ops) {
      ops.gemm(name, product());
    }

    @Override
    public void separate(Ops ops) {
      Tensor read = before == null ? after : before;
      ops.gemm(name, product(read, Epilogue.bias(bias)));
      ops.activation(Activation.GELU_TANH, read, null, after);
    }

    @Override
    public Fusion with(UnaryOperator<Tensor> at) {
      return new Gelu(
          name,
          at.apply(x),
          at.apply(weight),
          outIn,
          at.apply(bias),
          at.apply(before),
          at.apply(after));
    }
  }

  /**
   * The gradient of what a GELU read whose result x a linear layer reads: dbefore = (dy · Wᵀ) ∘
   * gelu'(before), and dbias += its column sums.
   *
   * @param dy [R, O]
   * @param before [R, I]
   * @param dbefore [R, I]
   * @param dbias fp32 [I], of the layer under the GELU; null if it does not train
   */
  record GeluGradient(
      String name,
      Tensor dy,
      Tensor weight,
      boolean outIn,
      Tensor before,
      Tensor dbefore,
      Tensor dbias)
      implements Fusion {
    @Override
    public Product product() {
      return product(dbias == null ? null : sums());
    }

    private Tensor sums() {
      return new Tensor("bias gradient", dbefore.dtype(), dbefore.size(1));
    }

    private Product product(Tensor sums) {
      return product(Epilogue.geluGradient(before, sums));
    }

    private Product product(Epilogue epilogue) {
      return new Product(
          Columns.of(dy),
          false,
          Columns.of(weight),
          !outIn,
          Columns.of(dbefore),
          false,
          1,
          epilogue);
    }

    @Override
    public void fused(Ops ops) {
      Tensor sums = dbias == null ? null : placed(ops, sums());
      ops.gemm(name, product(sums));
      addTo(ops, sums, dbias);
    }

    @Override
    public void separate(Ops ops) {
      ops.gemm(name, product(Epilogue.NONE));
      ops.activationBackward(Activation.GELU_TANH, before, null, dbefore, dbefore, dbias);
    }

    @Override
    public Fusion with(UnaryOperator<Tensor> at) {
      return new GeluGradient(
          name,
          at.apply(dy),
          at.apply(weight),
          outIn,
          at.apply(before),
          at.apply(dbefore),
          at.apply(dbias));
    }
  }

  /**
   * The gradients of a linear layer's weight and bias: dW += xᵀ · dy, db += column sums of dy.
   *
   * @param x [R, I]
   * @param dy [R, O]
   * @param dweight fp32, as W is stored
   * @param dbias fp32 [O]
   */
  record LinearGradients(
      String name, Tensor x, Tensor dy, boolean outIn, Tensor dweight, Tensor dbias)
      implements Fusion {
    @Override
    public Product product() {
      return product(sums());
    }

    private Tensor sums() {
      return new Tensor("bias gradient", DType.FLOAT32, dbias.count());
    }

    private Product product(Tensor sums) {
      return product(
          sums == null ? Epilogue.NONE : outIn ? Epilogue.sumsOfA(sums) : Epilogue.sumsOfB(sums));
    }

    private Product product(Epilogue epilogue) {
      return new Product(
          Columns.of(outIn ? dy : x),
          true,
          Columns.of(outIn ? x : dy),
          false,
          Columns.of(dweight),
          true,
          1,
          epilogue);
    }

    @Override
    public void fused(Ops ops) {
      Tensor sums = placed(ops, sums());
      ops.gemm(name, product(sums));
      addTo(ops, sums, dbias);
    }

    @Override
    public void separate(Ops ops) {
      ops.gemm(name, product(Epilogue.NONE));
      ops.columnSum(dy, dbias);
    }

    @Override
    public Fusion with(UnaryOperator<Tensor> at) {
      return new LinearGradients(
          name, at.apply(x), at.apply(dy), outIn, at.apply(dweight), at.apply(dbias));
    }
  }

  private static Tensor placed(Ops ops, Tensor like) {
    return ops.program().activation(like.name(), like.dtype(), like.shape());
  }

  /** An epilogue stores its sums; micro-steps add theirs. */
  private static void addTo(Ops ops, Tensor sums, Tensor total) {
    if (sums != null) {
      ops.columnSum(sums.view(0, 1, sums.count()), total);
    }
  }
}
