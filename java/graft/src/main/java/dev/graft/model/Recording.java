package dev.graft.model;

import dev.graft.model.Parameters.Parameter;
import dev.graft.program.Ops;
import dev.graft.program.Program;
import dev.graft.runtime.DType;
import dev.graft.runtime.Tensor;

/**
 * A step being recorded: the program, its ops, what the step is to do, and the few compositions
 * both families share.
 */
final class Recording {
  /** Largest logits chunk: 2^24 elements, 64 MB in fp32. */
  private static final long LOGITS_ELEMENTS = 1L << 24;

  final Program program;
  final Ops ops;
  final StepSpec spec;
  final Inputs inputs;
  final DType dtype;
  final long rows;

  Recording(Program program, StepSpec spec, Inputs inputs, DType dtype) {
    this.program = program;
    this.ops = new Ops(program);
    this.spec = spec;
    this.inputs = inputs;
    this.dtype = dtype;
    this.rows = spec.tokens();
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
    ops.gemm(
        name, x, false, weight.compute(), outIn, y, false, bias == null ? null : bias.compute());
    return y;
  }

  /** dW += xᵀ · dy, unless the weight is frozen. */
  void weightGradient(String name, Tensor x, Tensor dy, Parameter weight, Layout layout) {
    if (!weight.trains()) {
      return;
    }
    if (layout == Layout.OUT_IN) {
      ops.gemm(name + " dW", dy, true, x, false, weight.grad(), true, null);
    } else {
      ops.gemm(name + " dW", x, true, dy, false, weight.grad(), true, null);
    }
  }

  /** db += column sums of dy, unless the bias is frozen. */
  void biasGradient(Tensor dy, Parameter bias) {
    if (bias.trains()) {
      ops.columnSum(dy, bias.grad());
    }
  }

  /** Adds the gradient of a lookup to its table's, unless the table is frozen. */
  void tableGradient(Tensor ids, Tensor order, Tensor dout, Parameter table) {
    if (table.trains()) {
      ops.embeddingBackward(ids, order, dout, table.grad());
    }
  }

  /** dW += xᵀ · dy; and dx = dy · Wᵀ, added to {@code addTo} if that is given. */
  Tensor linearBackward(
      String name, Tensor x, Tensor dy, Parameter weight, Layout layout, Tensor addTo) {
    boolean outIn = layout == Layout.OUT_IN;
    weightGradient(name, x, dy, weight, layout);
    Tensor dx = addTo == null ? activation(name + " dx", x.size(0), x.size(1)) : addTo;
    ops.gemm(name + " dx", dy, false, weight.compute(), !outIn, dx, addTo != null, null);
    return dx;
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
    long chunk = Math.max(64, LOGITS_ELEMENTS / columns / 64 * 64);
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
      ops.classifier(logits, targets.view(first, count), null, vocabulary, slot, !spec.backward());
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
        weightGradient("head", part, logits, table, Layout.OUT_IN);
        if (bias != null) {
          biasGradient(logits, bias);
        }
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
