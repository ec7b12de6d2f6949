package dev.graft.model;

import dev.graft.model.Parameters.Init;
import dev.graft.model.Parameters.Parameter;
import dev.graft.model.Recording.Layout;
import dev.graft.program.Ops;
import dev.graft.program.Ops.NormDropout;
import dev.graft.runtime.Tensor;

/**
 * The masked-word head: LN(GELU(h · W + b)) projected on the vocabulary, by the word embeddings
 * where the head is tied. While training only rows that carry a label go through it.
 *
 * <p>Legend: C channels, V vocabulary, M rows.
 */
final class WordsHead {
  private static final int LOSS_SLOT = 0;

  private final BertConfig config;
  private final Ops.Activation activation;
  private final Parameter weight;
  private final Parameter bias;
  private final EncoderNorm.Weights norm;
  private final Parameter decoder;
  private final Parameter decoderBias;

  /** A pass's activations. */
  private record Pass(Tensor rows, Tensor before, EncoderNorm norm) {}

  /**
   * @param word the word embeddings [V padded, C]
   */
  WordsHead(Parameters parameters, BertConfig config, EncoderNames names, Parameter word) {
    this.config = config;
    // RoBERTa's head has GELU whatever its blocks have.
    this.activation =
        config.family() == EncoderFamily.ROBERTA
            ? Ops.Activation.GELU_ERF
            : ModelConfig.ACTIVATIONS.get(config.activation());
    long c = config.channels();
    long v = config.vocabSize();
    long padded = Network.paddedVocabulary(v);
    double std = config.initializerRange();
    weight = parameters.add(names.transform() + ".weight", true, Init.NORMAL, std, c, c);
    bias = parameters.add(names.transform() + ".bias", false, Init.ZEROS, 0, c);
    norm = EncoderNorm.Weights.add(parameters, names.transformNorm(), c, config.layerNormEps());
    boolean tied = config.tiedHead();
    decoder =
        tied
            ? word
            : parameters.addPadded(
                names.decoder() + ".weight", padded, true, Init.NORMAL, std, v, c);
    String own = tied ? names.decoderBias() : names.decoder() + ".bias";
    decoderBias = parameters.addPadded(own, padded, false, Init.ZEROS, 0, v);
  }

  private Pass forward(Recording r, Tensor rows) {
    Tensor before = r.linear("transform", rows, weight, Layout.OUT_IN, null);
    Tensor gelu = r.activation("transform gelu", rows.size(0), config.channels());
    r.ops.activation(activation, before, bias.compute(), gelu);
    return new Pass(
        rows, before, new EncoderNorm(r, "transform norm", gelu, null, NormDropout.NONE, norm));
  }

  /** Logits of every row, kept: [T, V padded]. */
  Tensor logits(Recording r, Tensor h) {
    return r.allLogits(forward(r, h).norm().out, decoder, decoderBias);
  }

  /**
   * The loss of the rows with a label; dh, unless it is null because nothing below trains, becomes
   * their gradient, zero elsewhere.
   */
  void loss(Recording r, Tensor h, Tensor dh) {
    long count = r.spec.maskedRows();
    Tensor index = Recording.first(r.inputs.maskedRows, count);
    Tensor rows = r.activation("masked rows", count, config.channels());
    r.ops.gatherRows(h, index, rows);
    Pass p = forward(r, rows);
    Tensor dnorm =
        r.vocabularyLoss(
            p.norm().out,
            Recording.first(r.inputs.maskedLabels, count),
            decoder,
            decoderBias,
            config.vocabSize(),
            LOSS_SLOT);
    if (!r.spec.backward()) {
      return;
    }
    Tensor dgelu = p.norm().backward(r, dnorm, null).residual();
    r.ops.activationBackward(
        activation, p.before(), bias.compute(), dgelu, dgelu, bias.gradIfTrained());
    if (dh == null) {
      r.lastLinearBackward("transform", p.rows(), dgelu, weight, null, Layout.OUT_IN);
      return;
    }
    Tensor drows =
        r.linearBackward("transform", p.rows(), dgelu, weight, null, Layout.OUT_IN, null);
    r.ops.scatterRows(drows, index, dh, false);
  }
}
