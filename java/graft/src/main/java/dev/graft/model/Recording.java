package dev.graft.model;

import dev.graft.model.Parameters.Parameter;
import dev.graft.program.Fusion;
import dev.graft.program.Ops;
import dev.graft.program.Ops.NormDropout;
import dev.graft.program.Program;
import dev.graft.runtime.DType;
import dev.graft.runtime.Gemm.Columns;
import dev.graft.runtime.Gemm.Product;
import dev.graft.runtime.Tensor;
import java.util.HashMap;
import java.util.Map;

/**
 * A step being recorded: the program, its ops, what the step is to do, and the few compositions
 * both families share.
 */
final class Recording {
  final Program program;
  final Ops ops;
  final StepSpec spec;
  final Inputs inputs;
  final DType dtype;
  final long rows;
  private final ClassLoss classLoss;
  private Float8Products float8; // null: products in the network's dtype

  Recording(Program program, StepSpec spec, Inputs inputs, DType dtype) {
    this(program, spec, inputs, dtype, ClassLoss.PLAIN);
  }

  /**
   * @param classLoss the training's; a step without a backward pass takes the plain loss
   */
  Recording(Program program, StepSpec spec, Inputs inputs, DType dtype, ClassLoss classLoss) {
    this.program = program;
    this.ops = new Ops(program);
    this.spec = spec;
    this.inputs = inputs;
    this.dtype = dtype;
    this.rows = spec.tokens();
    this.classLoss = spec.backward() ? classLoss : ClassLoss.PLAIN;
  }

  /** Takes 8-bit products for the linear layers of a network's blocks. */
  Recording inFloat8(Network network) {
    float8 = new Float8Products(network, ops);
    return this;
  }

  /** An activation of the network's dtype. */
  Tensor activation(String name, long... shape) {
    return program.activation(name, dtype, shape);
  }

  /** fp32 statistics. */
  Tensor statistics(String name, long... shape) {
    return program.activation(name, DType.FLOAT32, shape);
  }

  Tensor keepIf(boolean keep, Tensor tensor) {
    return keep ? program.keep(tensor) : tensor;
  }

  /**
   * What a reader of a head's logits gets: the logits, or where a loss overwrites them with their
   * gradient a copy, if it was asked for.
   */
  Tensor keepLogits(String name, Tensor logits) {
    if (!spec.loss()) {
      return program.keep(logits);
    }
    if (!spec.keepLogits()) {
      return logits;
    }
    Tensor copy = activation(name, logits.size(0), logits.size(1));
    ops.cast(logits, copy);
    return program.keep(copy);
  }

  /** The first {@code count} elements of an input. */
  static Tensor first(Tensor input, long count) {
    return input.view(0, count);
  }

  Tensor ids() {
    return first(inputs.ids, rows);
  }

  Tensor cuSeqlens() {
    return first(inputs.cuSeqlens, spec.batch() + 1L);
  }

  int dropout(double probability) {
    return spec.dropout() ? Ops.dropoutByte(probability) : 0;
  }

  /** Whether the backward pass computes this much again. */
  boolean recomputes(Recompute level) {
    return spec.backward() && spec.recompute() == level;
  }

  /**
   * Whether the backward pass of a product by this weight computes its input again: it was not
   * kept, and a gradient reads it.
   */
  boolean recomputesInputOf(Parameter weight) {
    return recomputes(Recompute.ACTIVATION) && (weight.trains() || !weight.adapters().isEmpty());
  }

  /**
   * The output of a norm again, from the sum it has kept; mean and rstd are written again as they
   * are.
   */
  Tensor normAgain(
      Tensor sum,
      Parameter gamma,
      Parameter beta,
      Tensor mean,
      Tensor rstd,
      double eps,
      NormDropout dropout) {
    Tensor out = activation("norm again", sum.size(0), sum.size(1));
    NormDropout after = new NormDropout(0, 0, dropout.outDropout(), dropout.outOpId());
    ops.addNorm(
        sum, null, null, out, gamma.compute(), beta.compute(), mean, rstd, (float) eps, after);
    return out;
  }

  /** A matrix product's operand layout in the checkpoint. */
  enum Layout {
    /** [in, out], GPT-2's Conv1D. */
    IN_OUT,
    /** [out, in], BERT's Linear. */
    OUT_IN
  }

  /** y = x · W (+ bias). */
  Tensor linear(String name, Tensor x, Parameter weight, Layout layout, Parameter bias) {
    boolean outIn = layout == Layout.OUT_IN;
    Tensor y = activation(name, x.size(0), weight.weight().size(outIn ? 0 : 1));
    if (inFloat8(weight)) {
      float8.forward(name, x, weight, layout, bias, y);
    } else {
      ops.gemm(
          name, x, false, weight.compute(), outIn, y, false, bias == null ? null : bias.compute());
    }
    for (LowRank adapter : weight.adapters()) {
      lowRank(name, adapter, x, y);
    }
    return y;
  }

  /**
   * A linear layer and the activation over it.
   *
   * @param before x · W + bias, which the backward pass reads; may be null where there is none
   * @param after activation(before)
   */
  record Activated(Tensor before, Tensor after) {}

  /** activation(x · W + bias). */
  Activated linearActivated(
      String name, Tensor x, Parameter weight, Layout layout, Parameter bias, Ops.Activation form) {
    boolean outIn = layout == Layout.OUT_IN;
    long out = weight.weight().size(outIn ? 0 : 1);
    // What is to be computed again from `before` as stored must have been computed from it, not
    // before it was rounded.
    if (mayFuse(weight, form) && !recomputes(Recompute.ACTIVATION)) {
      Tensor after = activation(name + " activated", x.size(0), out);
      Tensor before = spec.backward() ? activation(name, x.size(0), out) : null;
      ops.fuse(new Fusion.Gelu(name, x, weight.compute(), outIn, bias.compute(), before, after));
      return new Activated(before, after);
    }
    Tensor before = linear(name, x, weight, layout, bias);
    return new Activated(before, activated(name, before, form));
  }

  /** An adapter adds to the product before the activation; 8-bit products have a bias at most. */
  private boolean mayFuse(Parameter weight, Ops.Activation form) {
    return form == Ops.Activation.GELU_TANH && weight.adapters().isEmpty() && !inFloat8(weight);
  }

  private boolean inFloat8(Parameter weight) {
    return float8 != null && float8.covers(weight);
  }

  private Tensor activated(String name, Tensor before, Ops.Activation form) {
    Tensor after = activation(name + " activated", before.size(0), before.size(1));
    ops.activation(form, before, null, after);
    return after;
  }

  /**
   * Back through a linear layer y = x.after · W and the activation it reads: dW += x.afterᵀ · dy,
   * and the gradient of what the activation read.
   *
   * @param biasBefore bias of the layer under the activation, whose gradient comes out here
   */
  Tensor activatedBackward(
      String name,
      Activated x,
      Tensor dy,
      Parameter weight,
      Layout layout,
      Ops.Activation form,
      Parameter biasBefore) {
    Tensor after = recomputesInputOf(weight) ? activated(name, x.before(), form) : x.after();
    if (mayFuse(weight, form)) {
      weightGradient(name, after, dy, weight, layout);
      Tensor d = activation(name + " dx", x.before().size(0), x.before().size(1));
      ops.fuse(
          new Fusion.GeluGradient(
              name + " dx",
              dy,
              weight.compute(),
              layout == Layout.OUT_IN,
              x.before(),
              d,
              biasBefore.gradIfTrained()));
      return d;
    }
    Tensor d = linearBackward(name, after, dy, weight, null, layout, null);
    ops.activationBackward(form, x.before(), null, d, d, biasBefore.gradIfTrained());
    return d;
  }

  /** The inner product of each adapter, which its backward pass reads; the last one recorded. */
  private final Map<LowRank, Tensor> inner = new HashMap<>();

  /** y += s · (dropout(x) · Aᵀ) · Bᵀ, in the adapter's columns. */
  private void lowRank(String name, LowRank adapter, Tensor x, Tensor y) {
    Tensor h = activation(name + " lora", x.size(0), adapter.rank());
    ops.gemm(
        name + " lora A",
        dropped(name, adapter, x),
        false,
        adapter.a.compute(),
        true,
        h,
        false,
        null);
    ops.gemm(
        name + " lora B",
        new Product(
            Columns.of(h),
            false,
            Columns.of(adapter.b.compute()),
            true,
            columns(adapter, y),
            true,
            adapter.scale));
    inner.put(adapter, h);
  }

  private static Columns columns(LowRank adapter, Tensor y) {
    return new Columns(y, adapter.firstColumn, adapter.out());
  }

  /** What A reads: its draws are the same each time it is asked for. */
  private Tensor dropped(String name, LowRank adapter, Tensor x) {
    int k = dropout(adapter.dropout);
    if (k == 0) {
      return x;
    }
    Tensor dropped = activation(name + " lora dropout", x.size(0), x.size(1));
    ops.dropout(x, dropped, k, adapter.opId);
    return dropped;
  }

  /**
   * dh = s · dy · B, dB += s · dyᵀ · h, dA += dhᵀ · dropout(x), dx += dropout(dh · A).
   *
   * @param dx null if nothing below wants it
   */
  private void lowRankBackward(String name, LowRank adapter, Tensor x, Tensor dy, Tensor dx) {
    Tensor h = inner.get(adapter);
    Columns out = columns(adapter, dy);
    if (adapter.b.trains()) {
      Columns db = Columns.of(adapter.b.grad());
      ops.gemm(
          name + " lora dB", new Product(out, true, Columns.of(h), false, db, true, adapter.scale));
    }
    if (!adapter.a.trains() && dx == null) {
      return;
    }
    Tensor dh = activation(name + " lora dh", x.size(0), adapter.rank());
    Columns b = Columns.of(adapter.b.compute());
    ops.gemm(
        name + " lora dh", new Product(out, false, b, false, Columns.of(dh), false, adapter.scale));
    if (adapter.a.trains()) {
      Tensor read = dropped(name, adapter, x);
      ops.gemm(name + " lora dA", dh, true, read, false, adapter.a.grad(), true, null);
    }
    if (dx == null) {
      return;
    }
    int k = dropout(adapter.dropout);
    Tensor added = k == 0 ? dx : activation(name + " lora dx", x.size(0), x.size(1));
    ops.gemm(name + " lora dx", dh, false, adapter.a.compute(), false, added, k == 0, null);
    if (k > 0) {
      ops.dropout(added, added, k, adapter.opId);
      ops.add(dx, added, dx);
    }
  }

  /**
   * The gradients of weight, bias and adapters, where nothing below wants that of x.
   *
   * @param bias null if its gradient comes out elsewhere
   */
  void lastLinearBackward(
      String name, Tensor x, Tensor dy, Parameter weight, Parameter bias, Layout layout) {
    if (inFloat8(weight)) {
      biasGradient(dy, bias);
      float8.backward(name, x, dy, weight, layout, null, false);
    } else {
      gradients(name, x, dy, weight, bias, layout);
    }
    for (LowRank adapter : weight.adapters()) {
      lowRankBackward(name, adapter, x, dy, null);
    }
  }

  /** dW += xᵀ · dy, unless the weight is frozen. */
  private void weightGradient(String name, Tensor x, Tensor dy, Parameter weight, Layout layout) {
    if (!weight.trains()) {
      return;
    }
    if (layout == Layout.OUT_IN) {
      ops.gemm(name + " dW", dy, true, x, false, weight.grad(), true, null);
    } else {
      ops.gemm(name + " dW", x, true, dy, false, weight.grad(), true, null);
    }
  }

  /** db += column sums of dy, unless the bias is frozen or its gradient comes out elsewhere. */
  private void biasGradient(Tensor dy, Parameter bias) {
    if (bias != null && bias.trains()) {
      ops.columnSum(dy, bias.grad());
    }
  }

  /** Both of the above, of one layer; bias may be null. */
  private void gradients(
      String name, Tensor x, Tensor dy, Parameter weight, Parameter bias, Layout layout) {
    if (bias != null && bias.trains() && weight.trains()) {
      ops.fuse(
          new Fusion.LinearGradients(
              name + " dW", x, dy, layout == Layout.OUT_IN, weight.grad(), bias.grad()));
      return;
    }
    biasGradient(dy, bias);
    weightGradient(name, x, dy, weight, layout);
  }

  /** Adds the gradient of a lookup to its table's, unless the table is frozen. */
  void tableGradient(Tensor ids, Tensor order, Tensor dout, Parameter table) {
    if (table.trains()) {
      ops.embeddingBackward(ids, order, dout, table.grad());
    }
  }

  /**
   * dW += xᵀ · dy, db += column sums of dy, and the adapters' gradients; and dx = dy · Wᵀ, added to
   * {@code addTo} if that is given.
   *
   * @param bias null if its gradient comes out elsewhere
   */
  Tensor linearBackward(
      String name,
      Tensor x,
      Tensor dy,
      Parameter weight,
      Parameter bias,
      Layout layout,
      Tensor addTo) {
    boolean outIn = layout == Layout.OUT_IN;
    Tensor dx = addTo == null ? activation(name + " dx", x.size(0), x.size(1)) : addTo;
    if (inFloat8(weight)) {
      biasGradient(dy, bias);
      float8.backward(name, x, dy, weight, layout, dx, addTo != null);
    } else {
      gradients(name, x, dy, weight, bias, layout);
      ops.gemm(name + " dx", dy, false, weight.compute(), !outIn, dx, addTo != null, null);
    }
    for (LowRank adapter : weight.adapters()) {
      lowRankBackward(name, adapter, x, dy, dx);
    }
    return dx;
  }

  /** Cross-entropy of classes, as the training shapes it; the logits become their gradient. */
  void classLoss(Tensor logits, Tensor labels, int slot) {
    ops.classifier(
        logits,
        labels,
        classLoss.weights(),
        classLoss.labelSmoothing(),
        null,
        logits.size(1),
        slot,
        !spec.backward());
  }

  /**
   * Logits of a vocabulary, cross-entropy and its gradients, a chunk of rows at a time, so that the
   * logits of all rows never exist at once.
   *
   * @param x [R, C] hidden states
   * @param targets int32 [R]
   * @param table [V padded, C]
   * @param bias [V padded] or null
   * @return dx [R, C], or null without a backward pass
   */
  Tensor vocabularyLoss(
      Tensor x, Tensor targets, Parameter table, Parameter bias, long vocabulary, int slot) {
    long columns = table.weight().size(0);
    long channels = x.size(1);
    long chunk = LogitsChunks.rows(program.device(), dtype, x.size(0), columns);
    Tensor dx = spec.backward() ? activation("head dx", x.size(0), channels) : null;
    for (long first = 0; first < x.size(0); first += chunk) {
      long count = Math.min(chunk, x.size(0) - first);
      Tensor part = x.view(first * channels, count, channels);
      Tensor logits = activation("logits", count, columns);
      ops.gemm(
          "head",
          part,
          false,
          table.compute(),
          true,
          logits,
          false,
          bias == null ? null : bias.compute());
      ops.classifier(
          logits,
          targets.view(first, count),
          null,
          classLoss.labelSmoothing(),
          null,
          vocabulary,
          slot,
          !spec.backward());
      if (spec.backward()) {
        ops.gemm(
            "head dx",
            logits,
            false,
            table.compute(),
            false,
            dx.view(first * channels, count, channels),
            false,
            null);
        gradients("head", part, logits, table, bias, Layout.OUT_IN);
      }
    }
    return dx;
  }

  /** Logits of all rows at once, kept. */
  Tensor allLogits(Tensor x, Parameter table, Parameter bias) {
    Tensor logits = activation("all logits", x.size(0), table.weight().size(0));
    ops.gemm(
        "head",
        x,
        false,
        table.compute(),
        true,
        logits,
        false,
        bias == null ? null : bias.compute());
    return program.keep(logits);
  }
}
