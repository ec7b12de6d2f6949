package dev.graft.model;

import dev.graft.model.Parameters.Init;
import dev.graft.model.Parameters.Parameter;
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
 * BERT (Devlin et al., arXiv:1810.04805): post-LN blocks,
 *
 * <pre>
 *   h = dropout(LN(word[ids] + position[p] + type[s]))
 *   h = LN(h + dropout(attention(h)));  h = LN(h + dropout(mlp(h)))          for each block
 * </pre>
 *
 * and the heads: masked words (transform, GELU, LN, tied decoder) on the rows that carry a label,
 * pooler with next sentence or classes on the first row of each sequence.
 *
 * <p>Legend: T tokens, C channels, F intermediate channels, V vocabulary, M masked rows, B
 * sequences.
 */
public final class Bert extends Network {
  private static final int OPS_A_LAYER = 4;
  private static final int EMBEDDING_DROPOUT = 1;
  private static final int CLASSIFIER_DROPOUT = 2;
  private static final int WORDS = 0;
  private static final int SENTENCES = 1;

  private static final class Block {
    Parameter qkvWeight;
    Parameter qkvBias;
    Parameter outWeight;
    Parameter outBias;
    Parameter ln1Weight;
    Parameter ln1Bias;
    Parameter innerWeight;
    Parameter innerBias;
    Parameter outerWeight;
    Parameter outerBias;
    Parameter ln2Weight;
    Parameter ln2Bias;
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
  }

  /** A block's activations that its backward pass reads. */
  private static final class Saved {
    Tensor in; //      [T, C]
    Tensor qkv; //     [T, 3C]
    Tensor attnOut; // [T, C]
    Tensor lse; //     [H, T]
    Norm ln1;
    Tensor inner; //   before bias and GELU [T, F]
    Tensor gelu; //    [T, F]
    Norm ln2;
  }

  /** The masked-word head's activations. */
  private static final class Words {
    Tensor rows; //      [M, C]
    Tensor transform; // before bias and GELU
    Tensor gelu;
    Norm norm;
  }

  /** The pooler's activations and its head's. */
  private static final class Pooled {
    Tensor first; //  [B, C]
    Tensor before; // before bias and tanh
    Tensor pooled; // [B, C]
    Tensor dropped; // what the head reads
    Tensor logits; // [B, classes]
  }

  private final BertConfig config;
  private final Parameter word;
  private final Parameter position;
  private final Parameter type;
  private final Parameter embeddingLnWeight;
  private final Parameter embeddingLnBias;
  private final List<Block> blocks = new ArrayList<>();
  private Parameter poolerWeight;
  private Parameter poolerBias;
  private Parameter transformWeight;
  private Parameter transformBias;
  private Parameter transformLnWeight;
  private Parameter transformLnBias;
  private Parameter decoderBias;
  private Parameter classesWeight;
  private Parameter classesBias;

  Bert(Device device, BertConfig config, Task task, DType dtype, Parameters shared) {
    super(device, config, task, dtype, shared);
    if (task == Task.CAUSAL_LM) {
      throw new IllegalArgumentException("a BERT network cannot do " + task);
    }
    if (task == Task.SEQUENCE_CLASSIFICATION && config.labels().isEmpty()) {
      throw new IllegalArgumentException("sequence classification needs the names of its classes");
    }
    this.config = config;
    long c = config.channels();
    long v = config.vocabSize();
    long f = config.intermediateChannels();
    double std = config.initializerRange();
    String at = "bert.embeddings.";
    word =
        parameters.addPadded(
            at + "word_embeddings.weight", paddedVocabulary(v), true, Init.NORMAL, std, v, c);
    position =
        parameters.add(
            at + "position_embeddings.weight", true, Init.NORMAL, std, config.maxPositions(), c);
    type =
        parameters.add(
            at + "token_type_embeddings.weight", true, Init.NORMAL, std, config.typeVocabSize(), c);
    embeddingLnWeight = parameters.add(at + "LayerNorm.weight", false, Init.ONES, 0, c);
    embeddingLnBias = parameters.add(at + "LayerNorm.bias", false, Init.ZEROS, 0, c);
    for (int l = 0; l < config.layers(); l++) {
      blocks.add(block("bert.encoder.layer." + l + ".", c, f, std));
    }
    if (task != Task.MASKED_LM) {
      poolerWeight = parameters.add("bert.pooler.dense.weight", true, Init.NORMAL, std, c, c);
      poolerBias = parameters.add("bert.pooler.dense.bias", false, Init.ZEROS, 0, c);
    }
    if (task == Task.MASKED_LM || task == Task.PRETRAINING) {
      String head = "cls.predictions.";
      transformWeight =
          parameters.add(head + "transform.dense.weight", true, Init.NORMAL, std, c, c);
      transformBias = parameters.add(head + "transform.dense.bias", false, Init.ZEROS, 0, c);
      transformLnWeight =
          parameters.add(head + "transform.LayerNorm.weight", false, Init.ONES, 0, c);
      transformLnBias = parameters.add(head + "transform.LayerNorm.bias", false, Init.ZEROS, 0, c);
      decoderBias =
          parameters.addPadded(head + "bias", paddedVocabulary(v), false, Init.ZEROS, 0, v);
    }
    if (task == Task.PRETRAINING || task == Task.SEQUENCE_CLASSIFICATION) {
      boolean sentences = task == Task.PRETRAINING;
      String head = sentences ? "cls.seq_relationship." : "classifier.";
      long classes = sentences ? 2 : config.labels().size();
      classesWeight = parameters.add(head + "weight", true, Init.NORMAL, std, classes, c);
      classesBias = parameters.add(head + "bias", false, Init.ZEROS, 0, classes);
    }
  }

  private Block block(String at, long c, long f, double std) {
    Block b = new Block();
    String self = at + "attention.self.";
    b.qkvWeight =
        parameters.addJoined(
            self + "qkv.weight",
            List.of(self + "query.weight", self + "key.weight", self + "value.weight"),
            true,
            Init.NORMAL,
            std,
            c,
            c);
    b.qkvBias =
        parameters.addJoined(
            self + "qkv.bias",
            List.of(self + "query.bias", self + "key.bias", self + "value.bias"),
            false,
            Init.ZEROS,
            0,
            c);
    String out = at + "attention.output.";
    b.outWeight = parameters.add(out + "dense.weight", true, Init.NORMAL, std, c, c);
    b.outBias = parameters.add(out + "dense.bias", false, Init.ZEROS, 0, c);
    b.ln1Weight = parameters.add(out + "LayerNorm.weight", false, Init.ONES, 0, c);
    b.ln1Bias = parameters.add(out + "LayerNorm.bias", false, Init.ZEROS, 0, c);
    b.innerWeight = parameters.add(at + "intermediate.dense.weight", true, Init.NORMAL, std, f, c);
    b.innerBias = parameters.add(at + "intermediate.dense.bias", false, Init.ZEROS, 0, f);
    b.outerWeight = parameters.add(at + "output.dense.weight", true, Init.NORMAL, std, c, f);
    b.outerBias = parameters.add(at + "output.dense.bias", false, Init.ZEROS, 0, c);
    b.ln2Weight = parameters.add(at + "output.LayerNorm.weight", false, Init.ONES, 0, c);
    b.ln2Bias = parameters.add(at + "output.LayerNorm.bias", false, Init.ZEROS, 0, c);
    return b;
  }

  @Override
  boolean isHead(String name) {
    return name.startsWith("cls.") || name.startsWith("classifier.") || name.contains("pooler.");
  }

  private static int opId(int layer, int place) {
    return CLASSIFIER_DROPOUT + 1 + layer * OPS_A_LAYER + place;
  }

  private AttentionShape attentionShape(Recording r, int layer) {
    return new AttentionShape(
        config.heads(),
        config.headDim(),
        r.spec.batch(),
        r.spec.maxSeqlen(),
        false,
        (float) (1 / Math.sqrt(config.headDim())),
        r.dropout(config.attentionDropout()),
        opId(layer, 0));
  }

  private Ops.Activation activation() {
    return ModelConfig.ACTIVATIONS.get(config.activation());
  }

  private Norm norm(
      Recording r,
      String name,
      Tensor x,
      Tensor residual,
      NormDropout dropout,
      Parameter weight,
      Parameter bias) {
    Norm norm = new Norm();
    norm.dropout = dropout;
    boolean sumIsX = residual == null && dropout.dropout() == 0;
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
        dropout);
    return norm;
  }

  @Override
  Outputs record(Recording r) {
    Outputs outputs = new Outputs();
    boolean keep = r.spec.keepHidden();

    // ---- forward
    Norm embedded = embeddings(r);
    Tensor h = r.keepIf(keep, embedded.out);
    outputs.hidden.add(h);
    List<Saved> saved = new ArrayList<>();
    for (int l = 0; l < blocks.size(); l++) {
      Saved s = forward(r, l, blocks.get(l), h);
      saved.add(s);
      h = r.keepIf(keep, s.ln2.out);
      outputs.hidden.add(h);
    }
    outputs.last = h;
    if (r.spec.keepLogits() && transformWeight != null) {
      outputs.logits = r.allLogits(words(r, h).norm.out, word, decoderBias);
    }
    Pooled pooled = poolerWeight == null ? null : pool(r, h);
    if (pooled != null) {
      outputs.pooled = pooled.pooled;
      outputs.sequenceLogits = pooled.logits;
      if (!r.spec.loss()) {
        r.program.keep(pooled.pooled);
        if (pooled.logits != null) {
          r.program.keep(pooled.logits);
        }
      } else if (r.spec.keepHidden()) {
        r.program.keep(pooled.pooled);
      }
      if (r.spec.loss() && r.spec.keepLogits() && pooled.logits != null) {
        // The loss overwrites its logits with gradients, so a copy stays for the reader.
        Tensor copy = r.activation("sequence logits", pooled.logits.size(0), pooled.logits.size(1));
        r.ops.cast(pooled.logits, copy);
        outputs.sequenceLogits = r.program.keep(copy);
      }
    }
    if (!r.spec.loss()) {
      return outputs;
    }

    // ---- losses, and the gradient of the last hidden state
    boolean backward = r.spec.backward();
    // Nothing is computed below the lowest parameter that trains.
    int lowest = lowestTrained();
    Tensor dh =
        backward && lowest <= blocks.size() ? r.activation("dh", r.rows, config.channels()) : null;
    boolean started = false;
    if (transformWeight != null) {
      wordsLoss(r, h, dh);
      started = true;
    }
    if (pooled != null && pooled.logits != null) {
      sentencesLoss(r, pooled, dh, started);
    }
    if (!backward) {
      return outputs;
    }

    // ---- backward, last to first
    for (int l = blocks.size() - 1; l >= 0 && lowest <= l + 1; l--) {
      dh = backward(r, l, blocks.get(l), saved.get(l), dh, lowest <= l);
    }
    if (lowest == 0) {
      embeddingsBackward(r, embedded, dh);
    }
    return outputs;
  }

  private Norm embeddings(Recording r) {
    Tensor sum = r.activation("embedding", r.rows, config.channels());
    r.ops.embedding(
        r.ids(),
        Recording.first(r.inputs.positions, r.rows),
        Recording.first(r.inputs.types, r.rows),
        word.compute(),
        position.compute(),
        type.compute(),
        sum);
    NormDropout after = new NormDropout(0, 0, r.dropout(config.hiddenDropout()), EMBEDDING_DROPOUT);
    return norm(r, "embedding norm", sum, null, after, embeddingLnWeight, embeddingLnBias);
  }

  private void embeddingsBackward(Recording r, Norm embedded, Tensor dh) {
    Tensor dsum = normBackward(r, embedded, dh, null).residual;
    r.tableGradient(r.ids(), Recording.first(r.inputs.tokenOrder, r.rows), dsum, word);
    r.tableGradient(
        Recording.first(r.inputs.positions, r.rows),
        Recording.first(r.inputs.positionOrder, r.rows),
        dsum,
        position);
    r.tableGradient(
        Recording.first(r.inputs.types, r.rows),
        Recording.first(r.inputs.typeOrder, r.rows),
        dsum,
        type);
  }

  private Saved forward(Recording r, int layer, Block b, Tensor h) {
    Saved s = new Saved();
    s.in = h;
    s.qkv = r.linear("attention.self", h, b.qkvWeight, Layout.OUT_IN, b.qkvBias);
    s.attnOut = r.activation("attention", r.rows, config.channels());
    s.lse = r.statistics("lse", config.heads(), r.rows);
    r.ops.attention(s.qkv, s.attnOut, s.lse, r.cuSeqlens(), attentionShape(r, layer));
    Tensor attended =
        r.linear("attention.output", s.attnOut, b.outWeight, Layout.OUT_IN, b.outBias);
    int dropout = r.dropout(config.hiddenDropout());
    s.ln1 =
        norm(
            r,
            "attention norm",
            attended,
            h,
            new NormDropout(dropout, opId(layer, 1), 0, 0),
            b.ln1Weight,
            b.ln1Bias);
    s.inner = r.linear("intermediate", s.ln1.out, b.innerWeight, Layout.OUT_IN, null);
    s.gelu = r.activation("gelu", r.rows, config.intermediateChannels());
    r.ops.activation(activation(), s.inner, b.innerBias.compute(), s.gelu);
    Tensor outer = r.linear("output", s.gelu, b.outerWeight, Layout.OUT_IN, b.outerBias);
    s.ln2 =
        norm(
            r,
            "output norm",
            outer,
            s.ln1.out,
            new NormDropout(dropout, opId(layer, 2), 0, 0),
            b.ln2Weight,
            b.ln2Bias);
    return s;
  }

  /** Gradients on both sides of a residual addition. */
  private record Gradient(Tensor residual, Tensor sublayer) {}

  private static Gradient normBackward(Recording r, Norm norm, Tensor dout, Parameter addedBias) {
    Tensor dresidual = r.activation("dresidual", dout.size(0), dout.size(1));
    Tensor dx =
        norm.dropout.dropout() == 0 ? null : r.activation("dsublayer", dout.size(0), dout.size(1));
    r.ops.addNormBackward(
        dout,
        null,
        norm.sum,
        norm.weight.compute(),
        norm.mean,
        norm.rstd,
        dresidual,
        dx,
        norm.weight.gradIfTrained(),
        norm.bias.gradIfTrained(),
        addedBias == null ? null : addedBias.gradIfTrained(),
        norm.dropout);
    return new Gradient(dresidual, dx == null ? dresidual : dx);
  }

  /** The gradient of the block's input, or null if nothing below wants it. */
  private Tensor backward(Recording r, int layer, Block b, Saved s, Tensor dh, boolean wantsInput) {
    Gradient g = normBackward(r, s.ln2, dh, b.outerBias);
    Tensor dgelu =
        r.linearBackward("output", s.gelu, g.sublayer, b.outerWeight, Layout.OUT_IN, null);
    r.ops.activationBackward(
        activation(), s.inner, b.innerBias.compute(), dgelu, dgelu, b.innerBias.gradIfTrained());
    // Without dropout both sides of the addition share one gradient, which the product above has
    // read.
    Tensor dnorm =
        r.linearBackward(
            "intermediate", s.ln1.out, dgelu, b.innerWeight, Layout.OUT_IN, g.residual);
    Gradient a = normBackward(r, s.ln1, dnorm, b.outBias);
    Tensor dattn =
        r.linearBackward(
            "attention.output", s.attnOut, a.sublayer, b.outWeight, Layout.OUT_IN, null);
    Tensor dqkv = r.activation("dqkv", r.rows, 3L * config.channels());
    r.ops.attentionBackward(
        s.qkv, s.attnOut, s.lse, dattn, dqkv, r.cuSeqlens(), attentionShape(r, layer));
    r.biasGradient(dqkv, b.qkvBias);
    if (!wantsInput) {
      r.weightGradient("attention.self", s.in, dqkv, b.qkvWeight, Layout.OUT_IN);
      return null;
    }
    return r.linearBackward("attention.self", s.in, dqkv, b.qkvWeight, Layout.OUT_IN, a.residual);
  }

  // ---- masked words
  // ------------------------------------------------------------------------------

  private Words words(Recording r, Tensor rows) {
    Words w = new Words();
    w.rows = rows;
    w.transform = r.linear("transform", rows, transformWeight, Layout.OUT_IN, null);
    w.gelu = r.activation("transform gelu", rows.size(0), config.channels());
    r.ops.activation(activation(), w.transform, transformBias.compute(), w.gelu);
    w.norm =
        norm(
            r,
            "transform norm",
            w.gelu,
            null,
            NormDropout.NONE,
            transformLnWeight,
            transformLnBias);
    return w;
  }

  /**
   * Only rows with a label go through the head; dh, unless it is null because nothing below trains,
   * becomes their gradient, zero elsewhere.
   */
  private void wordsLoss(Recording r, Tensor h, Tensor dh) {
    long count = r.spec.maskedRows();
    Tensor index = Recording.first(r.inputs.maskedRows, count);
    Tensor rows = r.activation("masked rows", count, config.channels());
    r.ops.gatherRows(h, index, rows);
    Words w = words(r, rows);
    Tensor dnorm =
        r.vocabularyLoss(
            w.norm.out,
            Recording.first(r.inputs.maskedLabels, count),
            word,
            decoderBias,
            config.vocabSize(),
            WORDS);
    if (!r.spec.backward()) {
      return;
    }
    Tensor dgelu = normBackward(r, w.norm, dnorm, null).residual;
    r.ops.activationBackward(
        activation(),
        w.transform,
        transformBias.compute(),
        dgelu,
        dgelu,
        transformBias.gradIfTrained());
    if (dh == null) {
      r.weightGradient("transform", w.rows, dgelu, transformWeight, Layout.OUT_IN);
      return;
    }
    Tensor drows =
        r.linearBackward("transform", w.rows, dgelu, transformWeight, Layout.OUT_IN, null);
    r.ops.scatterRows(drows, index, dh, false);
  }

  // ---- pooler, next sentence and classes
  // ---------------------------------------------------------

  private Pooled pool(Recording r, Tensor h) {
    long batch = r.spec.batch();
    Pooled p = new Pooled();
    p.first = r.activation("first rows", batch, config.channels());
    r.ops.gatherRows(h, Recording.first(r.inputs.firstRows, batch), p.first);
    p.before = r.linear("pooler", p.first, poolerWeight, Layout.OUT_IN, null);
    p.pooled = r.activation("pooled", batch, config.channels());
    r.ops.activation(Ops.Activation.TANH, p.before, poolerBias.compute(), p.pooled);
    if (classesWeight == null) {
      return p;
    }
    int dropout = classifierDropout(r);
    p.dropped = p.pooled;
    if (dropout > 0) {
      p.dropped = r.activation("pooled dropout", batch, config.channels());
      r.ops.dropout(p.pooled, p.dropped, dropout, CLASSIFIER_DROPOUT);
    }
    p.logits = r.linear("classes", p.dropped, classesWeight, Layout.OUT_IN, classesBias);
    return p;
  }

  /** The published next-sentence head has no dropout, the classifier has. */
  private int classifierDropout(Recording r) {
    return task() == Task.SEQUENCE_CLASSIFICATION ? r.dropout(config.classifierDropout()) : 0;
  }

  private void sentencesLoss(Recording r, Pooled p, Tensor dh, boolean accumulate) {
    long batch = r.spec.batch();
    int slot = task() == Task.PRETRAINING ? SENTENCES : WORDS;
    r.ops.classifier(
        p.logits,
        Recording.first(r.inputs.sequenceLabels, batch),
        null,
        p.logits.size(1),
        slot,
        !r.spec.backward());
    if (!r.spec.backward()) {
      return;
    }
    r.biasGradient(p.logits, classesBias);
    Tensor dpooled =
        r.linearBackward("classes", p.dropped, p.logits, classesWeight, Layout.OUT_IN, null);
    int dropout = classifierDropout(r);
    if (dropout > 0) {
      r.ops.dropout(dpooled, dpooled, dropout, CLASSIFIER_DROPOUT);
    }
    r.ops.activationBackward(
        Ops.Activation.TANH,
        p.before,
        poolerBias.compute(),
        dpooled,
        dpooled,
        poolerBias.gradIfTrained());
    if (dh == null) {
      r.weightGradient("pooler", p.first, dpooled, poolerWeight, Layout.OUT_IN);
      return;
    }
    Tensor dfirst = r.linearBackward("pooler", p.first, dpooled, poolerWeight, Layout.OUT_IN, null);
    r.ops.scatterRows(dfirst, Recording.first(r.inputs.firstRows, batch), dh, accumulate);
  }
}
