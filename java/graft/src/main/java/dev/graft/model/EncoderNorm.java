package dev.graft.model;

import dev.graft.model.Parameters.Init;
import dev.graft.model.Parameters.Parameter;
import dev.graft.program.Ops.NormDropout;
import dev.graft.runtime.Tensor;

/**
 * A residual sum and its LayerNorm, LN(residual + dropout(x)), as one recorded step of an encoder.
 */
final class EncoderNorm {
  /** Scale and shift, [C] each. */
  record Weights(Parameter scale, Parameter shift, double eps) {
    static Weights add(Parameters parameters, String name, long channels, double eps) {
      return new Weights(
          parameters.add(name + ".weight", false, Init.ONES, 0, channels),
          parameters.add(name + ".bias", false, Init.ZEROS, 0, channels),
          eps);
    }
  }

  /** Gradients on both sides of the residual addition. */
  record Gradient(Tensor residual, Tensor sublayer) {}

  final Tensor out; // [T, C]
  private final Tensor sum; // [T, C]
  private final Tensor mean; // [T]
  private final Tensor rstd; // [T]
  private final Weights weights;
  private final NormDropout dropout;

  /**
   * @param residual null for none
   */
  EncoderNorm(
      Recording r, String name, Tensor x, Tensor residual, NormDropout dropout, Weights weights) {
    this.weights = weights;
    this.dropout = dropout;
    boolean sumIsX = residual == null && dropout.dropout() == 0;
    sum = sumIsX ? x : r.activation(name + " sum", x.size(0), x.size(1));
    out = r.activation(name, x.size(0), x.size(1));
    mean = r.statistics(name + " mean", x.size(0));
    rstd = r.statistics(name + " rstd", x.size(0));
    r.ops.addNorm(
        x,
        residual,
        sumIsX ? null : sum,
        out,
        weights.scale().compute(),
        weights.shift().compute(),
        mean,
        rstd,
        (float) weights.eps(),
        dropout);
  }

  /** The output, computed again from the sum. */
  Tensor outAgain(Recording r) {
    return r.normAgain(sum, weights.scale(), weights.shift(), mean, rstd, weights.eps(), dropout);
  }

  /**
   * @param addedBias the bias the product before the norm has added, for its gradient; or null
   */
  Gradient backward(Recording r, Tensor dout, Parameter addedBias) {
    Tensor dresidual = r.activation("dresidual", dout.size(0), dout.size(1));
    Tensor dx =
        dropout.dropout() == 0 ? null : r.activation("dsublayer", dout.size(0), dout.size(1));
    r.ops.addNormBackward(
        dout,
        null,
        sum,
        weights.scale().compute(),
        mean,
        rstd,
        dresidual,
        dx,
        weights.scale().gradIfTrained(),
        weights.shift().gradIfTrained(),
        addedBias == null ? null : addedBias.gradIfTrained(),
        dropout);
    return new Gradient(dresidual, dx == null ? dresidual : dx);
  }
}
