package dev.graft.model;

import dev.graft.model.Parameters.Init;
import dev.graft.model.Parameters.Parameter;
import dev.graft.model.Recording.Activated;
import dev.graft.model.Recording.Layout;
import dev.graft.program.Ops;
import dev.graft.program.Ops.AttentionShape;
import dev.graft.program.Ops.NormDropout;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.runtime.Tensor;
import java.util.ArrayList;
import java.util.List;

/**
 * GPT-2 (Radford et al. 2019): pre-LN blocks over a residual stream,
 *
 * <pre>
 *   h = dropout(wte[ids] + wpe[positions])
 *   h = h + dropout(attention(ln_1(h)));  h = h + dropout(mlp(ln_2(h)))      for each block
 *   logits = ln_f(h) · wteᵀ
 * </pre>
 *
 * <p>Every "h + dropout(…)" is one op with the norm that follows it. Legend: T tokens, C channels,
 * F inner channels, V vocabulary.
 */
public final class Gpt2 extends Network {
  private static final int OPS_A_LAYER = 4;
  private static final int EMBEDDING_DROPOUT = 1;

  private static final class Block {
    Parameter ln1Weight;
    Parameter ln1Bias;
    Parameter attnWeight;
    Parameter attnBias;
    Parameter projWeight;
    Parameter projBias;
    Parameter ln2Weight;
    Parameter ln2Bias;
    Parameter fcWeight;
    Parameter fcBias;
    Parameter mlpProjWeight;
    Parameter mlpProjBias;
  }

  /** A block's activations that its backward pass reads. */
  private static final class Saved {
    Norm ln1; // the stream, then ln_1
    Tensor normed; // output of ln_1     [T, C]
    Tensor qkv; //                       [T, 3C]
    Tensor attnOut; //                   [T, C]
    Tensor lse; //                       [H, T]
    Norm ln2; // the stream + attention, then ln_2
    Activated inner; //                  [T, F]
  }

  /** A residual sum and the norm of it. */
  private static final class Norm {
    Tensor sum; // [T, C]
    Tensor out; // [T, C]
    Tensor mean; // [T]
    Tensor rstd; // [T]
    Parameter weight;
    Parameter bias;
    NormDropout dropout;

    /** The output, computed again from the sum. */
    Tensor outAgain(Recording r, double eps) {
      return r.normAgain(sum, weight, bias, mean, rstd, eps, dropout);
    }
  }

  private final Gpt2Config config;
  private final Parameter wte;
  private final Parameter wpe;
  private final List<Block> blocks = new ArrayList<>();
  private final Parameter lnfWeight;
  private final Parameter lnfBias;
  private final Parameter head;

  Gpt2(Device device, Gpt2Config config, Task task, DType dtype, Parameters shared) {
    super(device, config, task, dtype, shared);
    if (task != Task.CAUSAL_LM && task != Task.BASE) {
      throw new IllegalArgumentException("a GPT-2 network cannot do " + task);
    }
    this.config = config;
    long c = config.channels();
    long v = config.vocabSize();
    long f = config.innerChannels();
    double std = config.initializerRange();
    // Projections into the residual stream are scaled by the number of additions to it.
    double residualStd = std / Math.sqrt(2.0 * config.layers());
    wte =
        parameters.addPadded(
            "transformer.wte.weight", paddedVocabulary(v), true, Init.NORMAL, std, v, c);
    wpe =
        parameters.add("transformer.wpe.weight", true, Init.NORMAL, std, config.maxPositions(), c);
    for (int l = 0; l < config.layers(); l++) {
      String at = "transformer.h." + l + ".";
      Block b = new Block();
      b.ln1Weight = parameters.add(at + "ln_1.weight", false, Init.ONES, 0, c);
      b.ln1Bias = parameters.add(at + "ln_1.bias", false, Init.ZEROS, 0, c);
      b.attnWeight = parameters.add(at + "attn.c_attn.weight", true, Init.NORMAL, std, c, 3 * c);
      b.attnBias = parameters.add(at + "attn.c_attn.bias", false, Init.ZEROS, 0, 3 * c);
      b.projWeight =
          parameters.add(at + "attn.c_proj.weight", true, Init.NORMAL, residualStd, c, c);
      b.projBias = parameters.add(at + "attn.c_proj.bias", false, Init.ZEROS, 0, c);
      b.ln2Weight = parameters.add(at + "ln_2.weight", false, Init.ONES, 0, c);
      b.ln2Bias = parameters.add(at + "ln_2.bias", false, Init.ZEROS, 0, c);
      b.fcWeight = parameters.add(at + "mlp.c_fc.weight", true, Init.NORMAL, std, c, f);
      b.fcBias = parameters.add(at + "mlp.c_fc.bias", false, Init.ZEROS, 0, f);
      b.mlpProjWeight =
          parameters.add(at + "mlp.c_proj.weight", true, Init.NORMAL, residualStd, f, c);
      b.mlpProjBias = parameters.add(at + "mlp.c_proj.bias", false, Init.ZEROS, 0, c);
      blocks.add(b);
    }
    lnfWeight = parameters.add("transformer.ln_f.weight", false, Init.ONES, 0, c);
    lnfBias = parameters.add("transformer.ln_f.bias", false, Init.ZEROS, 0, c);
    head =
        config.tiedHead() || task == Task.BASE
            ? wte
            : parameters.addPadded(
                "lm_head.weight", paddedVocabulary(v), true, Init.NORMAL, std, v, c);
  }

  @Override
  boolean isHead(String name) {
    return name.equals("lm_head.weight");
  }

  private AttentionShape attentionShape(Recording r, int layer) {
    return new AttentionShape(
        config.heads(),
        config.headDim(),
        r.spec.batch(),
        r.spec.maxSeqlen(),
        true,
        (float) (1 / Math.sqrt(config.headDim())),
        r.dropout(config.attnDropout()),
        opId(layer, 1));
  }

  private static int opId(int layer, int place) {
    return EMBEDDING_DROPOUT + 1 + layer * OPS_A_LAYER + place;
  }

  /** residual + dropout(x), normed; residual null for the first. */
  private Norm norm(
      Recording r,
      String name,
      Tensor x,
      Tensor residual,
      double dropout,
      int opId,
      Parameter weight,
      Parameter bias) {
    Norm norm = new Norm();
    norm.dropout = new NormDropout(r.dropout(dropout), opId, 0, 0);
    boolean sumIsX = residual == null && norm.dropout.dropout() == 0;
    norm.sum = sumIsX ? x : r.activation(name + " sum", x.size(0), x.size(1));
    norm.out = r.activation(name, x.size(0), x.size(1));
    norm.mean = r.statistics(name + " mean", x.size(0));
    norm.rstd = r.statistics(name + " rstd", x.size(0));
    norm.weight = weight;
    norm.bias = bias;
    r.ops.addNorm(
        x,
        residual,
        sumIsX ? null : norm.sum,
        norm.out,
        weight.compute(),
        bias.compute(),
        norm.mean,
        norm.rstd,
        (float) config.layerNormEps(),
        norm.dropout);
    return norm;
  }

  @Override
  Outputs record(Recording r) {
    Outputs outputs = new Outputs();
    boolean keep = r.spec.keepHidden();

    // ---- forward
    Tensor embedded = r.activation("embedding", r.rows, config.channels());
    r.ops.embedding(
        r.ids(),
        Recording.first(r.inputs.positions, r.rows),
        null,
        wte.compute(),
        wpe.compute(),
        null,
        embedded);
    Tensor x = embedded;
    Tensor residual = null;
    double dropout = config.embdDropout();
    int dropoutId = EMBEDDING_DROPOUT;
    List<Saved> saved = new ArrayList<>();
    for (int l = 0; l < blocks.size(); l++) {
      Block b = blocks.get(l);
      Norm in = norm(r, "ln_1", x, residual, dropout, dropoutId, b.ln1Weight, b.ln1Bias);
      outputs.hidden.add(r.keepIf(keep, in.sum));
      Saved s = attention(r, l, b, in, in.out);
      mlp(r, b, s);
      saved.add(s);
      x = r.linear("mlp.c_proj", s.inner.after(), b.mlpProjWeight, Layout.IN_OUT, b.mlpProjBias);
      residual = s.ln2.sum;
      dropout = config.residDropout();
      dropoutId = opId(l, 3);
    }
    Norm lnf = norm(r, "ln_f", x, residual, dropout, dropoutId, lnfWeight, lnfBias);
    outputs.hidden.add(r.keepIf(keep, lnf.out));
    outputs.last = lnf.out;
    if (r.spec.keepLogits()) {
      outputs.logits = r.allLogits(lnf.out, head, null);
    }
    if (!r.spec.loss()) {
      return outputs;
    }
    Tensor dout =
        r.vocabularyLoss(
            lnf.out, Recording.first(r.inputs.labels, r.rows), head, null, config.vocabSize(), 0);
    if (!r.spec.backward()) {
      return outputs;
    }

    // ---- backward, last to first
    // Nothing is computed below the lowest parameter that trains.
    int lowest = lowestTrained();
    Gradient g = normBackward(r, lnf, dout, null, blocks.get(blocks.size() - 1).mlpProjBias);
    for (int l = blocks.size() - 1; l >= 0 && lowest <= l + 1; l--) {
      Block b = blocks.get(l);
      Saved s = saved.get(l);
      if (r.recomputes(Recompute.BLOCK)) {
        s = again(r, l, b, s.ln1);
      }
      Gradient atAttention = mlpBackward(r, b, s, g);
      boolean wantsNorm = lowest <= l || b.ln1Weight.trains() || b.ln1Bias.trains();
      Tensor dnorm = attentionBackward(r, l, b, s, atAttention, wantsNorm);
      if (!wantsNorm) {
        return outputs;
      }
      Parameter biasBefore = l > 0 ? blocks.get(l - 1).mlpProjBias : null;
      g = normBackward(r, s.ln1, dnorm, atAttention.residual, biasBefore);
    }
    if (lowest == 0) {
      r.tableGradient(r.ids(), Recording.first(r.inputs.tokenOrder, r.rows), g.sublayer, wte);
      r.tableGradient(
          Recording.first(r.inputs.positions, r.rows),
          Recording.first(r.inputs.positionOrder, r.rows),
          g.sublayer,
          wpe);
    }
    return outputs;
  }

  /**
   * @param normed the output of ln_1
   */
  private Saved attention(Recording r, int layer, Block b, Norm ln1, Tensor normed) {
    Saved s = new Saved();
    s.ln1 = ln1;
    s.normed = normed;
    s.qkv = r.linear("attn.c_attn", normed, b.attnWeight, Layout.IN_OUT, b.attnBias);
    s.attnOut = r.activation("attention", r.rows, config.channels());
    s.lse = r.statistics("lse", config.heads(), r.rows);
    r.ops.attention(s.qkv, s.attnOut, s.lse, r.cuSeqlens(), attentionShape(r, layer));
    Tensor projected = r.linear("attn.c_proj", s.attnOut, b.projWeight, Layout.IN_OUT, b.projBias);
    s.ln2 =
        norm(
            r,
            "ln_2",
            projected,
            ln1.sum,
            config.residDropout(),
            opId(layer, 2),
            b.ln2Weight,
            b.ln2Bias);
    return s;
  }

  private void mlp(Recording r, Block b, Saved s) {
    s.inner =
        r.linearActivated("mlp.c_fc", s.ln2.out, b.fcWeight, Layout.IN_OUT, b.fcBias, activation());
  }

  /** What the backward pass of a block reads, from the stream at its beginning. */
  private Saved again(Recording r, int layer, Block b, Norm ln1) {
    Saved s = attention(r, layer, b, ln1, ln1.outAgain(r, config.layerNormEps()));
    mlp(r, b, s);
    return s;
  }

  private Ops.Activation activation() {
    return ModelConfig.ACTIVATIONS.get(config.activation());
  }

  /** Gradients on both sides of a residual addition: of the stream, and of what was added to it. */
  private record Gradient(Tensor residual, Tensor sublayer) {}

  /**
   * Back through a norm and the addition before it.
   *
   * @param dout gradient of the norm's output
   * @param dsum gradient of the sum that comes along the residual stream, or null
   * @param sublayerBias bias of the projection that was added, whose gradient comes out here
   */
  private static Gradient normBackward(
      Recording r, Norm norm, Tensor dout, Tensor dsum, Parameter sublayerBias) {
    Tensor dresidual = r.activation("dresidual", dout.size(0), dout.size(1));
    Tensor dx =
        norm.dropout.dropout() == 0 ? null : r.activation("dsublayer", dout.size(0), dout.size(1));
    r.ops.addNormBackward(
        dout,
        dsum,
        norm.sum,
        norm.weight.compute(),
        norm.mean,
        norm.rstd,
        dresidual,
        dx,
        norm.weight.gradIfTrained(),
        norm.bias.gradIfTrained(),
        sublayerBias == null ? null : sublayerBias.gradIfTrained(),
        norm.dropout);
    return new Gradient(dresidual, dx == null ? dresidual : dx);
  }

  private Gradient mlpBackward(Recording r, Block b, Saved s, Gradient g) {
    Tensor dinner =
        r.activatedBackward(
            "mlp.c_proj",
            s.inner,
            g.sublayer,
            b.mlpProjWeight,
            Layout.IN_OUT,
            activation(),
            b.fcBias);
    Tensor normed =
        r.recomputesInputOf(b.fcWeight) ? s.ln2.outAgain(r, config.layerNormEps()) : s.ln2.out;
    Tensor dnorm =
        r.linearBackward("mlp.c_fc", normed, dinner, b.fcWeight, null, Layout.IN_OUT, null);
    return normBackward(r, s.ln2, dnorm, g.residual, b.projBias);
  }

  /** The gradient of ln_1's output, or null if nothing wants it. */
  private Tensor attentionBackward(
      Recording r, int layer, Block b, Saved s, Gradient g, boolean wantsNorm) {
    Tensor dattn =
        r.linearBackward(
            "attn.c_proj", s.attnOut, g.sublayer, b.projWeight, null, Layout.IN_OUT, null);
    Tensor dqkv = r.activation("dqkv", r.rows, 3L * config.channels());
    r.ops.attentionBackward(
        s.qkv, s.attnOut, s.lse, dattn, dqkv, r.cuSeqlens(), attentionShape(r, layer));
    Tensor normed =
        r.recomputesInputOf(b.attnWeight) ? s.ln1.outAgain(r, config.layerNormEps()) : s.normed;
    if (!wantsNorm) {
      r.lastLinearBackward("attn.c_attn", normed, dqkv, b.attnWeight, b.attnBias, Layout.IN_OUT);
      return null;
    }
    return r.linearBackward(
        "attn.c_attn", normed, dqkv, b.attnWeight, b.attnBias, Layout.IN_OUT, null);
  }

  // ---- generation: see Decoder
  // -------------------------------------------------------------------

  /** The caches of one layer. */
  record Cache(Tensor keys, Tensor values) {}

  /**
   * Records a pass that also fills the caches: over whole prompts (packed attention), or over one
   * token a sequence against the cache.
   *
   * @param lengths int32 [B] tokens in the cache before this pass
   * @param lastRows int32 [B] rows whose logits are wanted, or null for all rows
   * @return logits [B, V padded], kept
   */
  Tensor recordGeneration(
      Recording r, List<Cache> caches, Tensor lengths, Tensor lastRows, boolean oneToken) {
    Tensor x = r.activation("embedding", r.rows, config.channels());
    r.ops.embedding(
        r.ids(),
        Recording.first(r.inputs.positions, r.rows),
        null,
        wte.compute(),
        wpe.compute(),
        null,
        x);
    Tensor residual = null;
    for (int l = 0; l < blocks.size(); l++) {
      Block b = blocks.get(l);
      Cache cache = caches.get(l);
      Norm in = norm(r, "ln_1", x, residual, 0, 0, b.ln1Weight, b.ln1Bias);
      Saved s = new Saved();
      s.qkv = r.linear("attn.c_attn", in.out, b.attnWeight, Layout.IN_OUT, b.attnBias);
      s.attnOut = r.activation("attention", r.rows, config.channels());
      r.ops.kvAppend(
          s.qkv,
          cache.keys(),
          cache.values(),
          oneToken ? null : r.cuSeqlens(),
          lengths,
          config.heads(),
          config.headDim());
      if (oneToken) {
        r.ops.attentionDecode(
            s.qkv,
            cache.keys(),
            cache.values(),
            s.attnOut,
            lengths,
            config.heads(),
            config.headDim(),
            (float) (1 / Math.sqrt(config.headDim())));
      } else {
        s.lse = r.statistics("lse", config.heads(), r.rows);
        r.ops.attention(s.qkv, s.attnOut, s.lse, r.cuSeqlens(), attentionShape(r, l));
      }
      Tensor projected =
          r.linear("attn.c_proj", s.attnOut, b.projWeight, Layout.IN_OUT, b.projBias);
      s.ln2 = norm(r, "ln_2", projected, in.sum, 0, 0, b.ln2Weight, b.ln2Bias);
      mlp(r, b, s);
      x = r.linear("mlp.c_proj", s.inner.after(), b.mlpProjWeight, Layout.IN_OUT, b.mlpProjBias);
      residual = s.ln2.sum;
    }
    Norm lnf = norm(r, "ln_f", x, residual, 0, 0, lnfWeight, lnfBias);
    Tensor wanted = lnf.out;
    if (lastRows != null) {
      wanted = r.activation("last rows", lastRows.size(0), config.channels());
      r.ops.gatherRows(lnf.out, lastRows, wanted);
    }
    return r.allLogits(wanted, head, null);
  }
}
