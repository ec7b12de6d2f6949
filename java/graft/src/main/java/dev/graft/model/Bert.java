package dev.graft.model;

import dev.graft.io.InvalidInputException;
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
 * BERT (Devlin et al., arXiv:1810.04805) and the families of its body, {@link EncoderFamily}:
 * post-LN blocks,
 *
 * <pre>
 *   h = dropout(LN(word[ids] + position[p] + type[s]))
 *   h = LN(h + dropout(attention(h)));  h = LN(h + dropout(mlp(h)))          for each block
 * </pre>
 *
 * and the heads: {@link WordsHead} and {@link SequenceHead}. Batches count positions from 0 in
 * every family: RoBERTa's table is read from its first text position on.
 *
 * <p>Legend: T tokens, C channels, F intermediate channels, V vocabulary.
 */
public final class Bert extends Network {
  private static final int OPS_A_LAYER = 4;
  private static final int EMBEDDING_DROPOUT = 1;
  private static final int CLASSIFIER_DROPOUT = 2;

  private static final class Block {
    Parameter qkvWeight;
    Parameter qkvBias;
    Parameter outWeight;
    Parameter outBias;
    EncoderNorm.Weights norm1;
    Parameter innerWeight;
    Parameter innerBias;
    Parameter outerWeight;
    Parameter outerBias;
    EncoderNorm.Weights norm2;
  }

  /** A block's activations that its backward pass reads. */
  private static final class Saved {
    EncoderNorm before; // whose output is the block's input
    Tensor in; //      [T, C]
    Tensor qkv; //     [T, 3C]
    Tensor attnOut; // [T, C]
    Tensor lse; //     [H, T]
    EncoderNorm norm1;
    Activated inner; // [T, F]
    EncoderNorm norm2;
  }

  private final BertConfig config;
  private final EncoderNames names;
  private final Parameter word;
  private final Parameter position;
  private final Parameter type; // null where there are no segments
  private final EncoderNorm.Weights embeddingNorm;
  private final List<Block> blocks = new ArrayList<>();
  private final WordsHead words; // null if the task has none
  private final SequenceHead sequence; // the same
  private final TokenHead tokens; // the same

  Bert(Device device, BertConfig config, Task task, DType dtype, Parameters shared) {
    super(device, config, task, dtype, shared);
    if (!config.family().does(task)) {
      throw new InvalidInputException(
          "a " + config.modelType() + " network has no head for " + task);
    }
    if (task.hasLabels() && config.labels().isEmpty()) {
      throw new IllegalArgumentException(task + " needs the names of its classes");
    }
    this.config = config;
    this.names = EncoderNames.of(config.family());
    long c = config.channels();
    long v = config.vocabSize();
    double std = config.initializerRange();
    String at = names.prefix() + "embeddings.";
    word = parameters.addPadded(names.words(), paddedVocabulary(v), true, Init.NORMAL, std, v, c);
    position =
        parameters.add(
            at + "position_embeddings.weight",
            true,
            Init.NORMAL,
            std,
            config.maxPositions() + config.positionOffset(),
            c);
    type =
        config.typeVocabSize() == 0
            ? null
            : parameters.add(
                at + "token_type_embeddings.weight",
                true,
                Init.NORMAL,
                std,
                config.typeVocabSize(),
                c);
    embeddingNorm = EncoderNorm.Weights.add(parameters, at + "LayerNorm", c, config.layerNormEps());
    for (int l = 0; l < config.layers(); l++) {
      blocks.add(block(names.layers() + l + "."));
    }
    boolean everyToken = task == Task.TOKEN_CLASSIFICATION || task == Task.QUESTION_ANSWERING;
    boolean reads = task == Task.BASE ? config.pooler() : task != Task.MASKED_LM && !everyToken;
    sequence =
        reads
            ? new SequenceHead(
                parameters, config, names, task, opId(config.layers(), 0), CLASSIFIER_DROPOUT)
            : null;
    boolean masks = task == Task.MASKED_LM || task == Task.PRETRAINING;
    words = masks ? new WordsHead(parameters, config, names, word) : null;
    tokens = everyToken ? new TokenHead(parameters, config, task, CLASSIFIER_DROPOUT) : null;
  }

  private Block block(String at) {
    long c = config.channels();
    long f = config.intermediateChannels();
    double std = config.initializerRange();
    double eps = config.layerNormEps();
    Block b = new Block();
    List<String> qkv = List.of(at + names.query(), at + names.key(), at + names.value());
    b.qkvWeight =
        parameters.addJoined(
            at + "qkv.weight",
            qkv.stream().map(name -> name + ".weight").toList(),
            true,
            Init.NORMAL,
            std,
            c,
            c);
    b.qkvBias =
        parameters.addJoined(
            at + "qkv.bias",
            qkv.stream().map(name -> name + ".bias").toList(),
            false,
            Init.ZEROS,
            0,
            c);
    String out = at + names.attentionOut();
    b.outWeight = parameters.add(out + ".weight", true, Init.NORMAL, std, c, c);
    b.outBias = parameters.add(out + ".bias", false, Init.ZEROS, 0, c);
    b.norm1 = EncoderNorm.Weights.add(parameters, at + names.attentionNorm(), c, eps);
    b.innerWeight = parameters.add(at + names.inner() + ".weight", true, Init.NORMAL, std, f, c);
    b.innerBias = parameters.add(at + names.inner() + ".bias", false, Init.ZEROS, 0, f);
    b.outerWeight = parameters.add(at + names.outer() + ".weight", true, Init.NORMAL, std, c, f);
    b.outerBias = parameters.add(at + names.outer() + ".bias", false, Init.ZEROS, 0, c);
    b.norm2 = EncoderNorm.Weights.add(parameters, at + names.outputNorm(), c, eps);
    return b;
  }

  @Override
  boolean isHead(String name) {
    return names.isHead(name);
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

  @Override
  Outputs record(Recording r) {
    Outputs outputs = new Outputs();
    boolean keep = r.spec.keepHidden();

    // ---- forward
    EncoderNorm embedded = embeddings(r);
    Tensor h = r.keepIf(keep, embedded.out);
    outputs.hidden.add(h);
    List<Saved> saved = new ArrayList<>();
    for (int l = 0; l < blocks.size(); l++) {
      Saved s = forward(r, l, blocks.get(l), h);
      s.before = l == 0 ? embedded : saved.get(l - 1).norm2;
      saved.add(s);
      h = r.keepIf(keep, s.norm2.out);
      outputs.hidden.add(h);
    }
    outputs.last = h;
    if (r.spec.keepLogits() && words != null) {
      outputs.logits = words.logits(r, h);
    }
    SequenceHead.Pass pass = sequence == null ? null : sequence.forward(r, h);
    if (pass != null) {
      keep(r, pass, outputs);
    }
    TokenHead.Pass scores = tokens == null ? null : tokens.forward(r, h);
    if (scores != null) {
      outputs.tokenLogits = r.keepLogits("token logits", scores.logits());
    }
    if (!r.spec.loss()) {
      return outputs;
    }

    // ---- losses, and the gradient of the last hidden state
    boolean backward = r.spec.backward();
    // Nothing is computed below the lowest parameter that trains.
    int lowest = lowestTrained();
    boolean below = backward && lowest <= blocks.size();
    Tensor dh = below && scores == null ? r.activation("dh", r.rows, config.channels()) : null;
    if (words != null) {
      words.loss(r, h, dh);
    }
    if (pass != null && pass.logits != null) {
      sequence.loss(r, pass, dh, words != null);
    }
    if (scores != null) {
      dh = tokens.loss(r, scores, below);
    }
    if (!backward) {
      return outputs;
    }

    // ---- backward, last to first
    for (int l = blocks.size() - 1; l >= 0 && lowest <= l + 1; l--) {
      Saved s = saved.get(l);
      if (r.recomputes(Recompute.BLOCK)) {
        s = again(r, l, blocks.get(l), s);
      }
      dh = backward(r, l, blocks.get(l), s, dh, lowest <= l);
    }
    if (lowest == 0) {
      embeddingsBackward(r, embedded, dh);
    }
    return outputs;
  }

  private static void keep(Recording r, SequenceHead.Pass pass, Outputs outputs) {
    outputs.pooled = r.keepIf(!r.spec.loss() || r.spec.keepHidden(), pass.pooled);
    if (pass.logits != null) {
      outputs.sequenceLogits = r.keepLogits("sequence logits", pass.logits);
    }
  }

  /** The rows of a position table that texts use. */
  private Tensor textPositions(Tensor table) {
    long c = config.channels();
    return table.view(config.positionOffset() * c, config.maxPositions(), c);
  }

  /** A model of one segment has every token in it, whatever the tokenizer says of pairs. */
  private Tensor segments(Recording r) {
    Tensor ids = config.typeVocabSize() == 1 ? r.inputs.zeros : r.inputs.types;
    return Recording.first(ids, r.rows);
  }

  private EncoderNorm embeddings(Recording r) {
    Tensor sum = r.activation("embedding", r.rows, config.channels());
    r.ops.embedding(
        r.ids(),
        Recording.first(r.inputs.positions, r.rows),
        type == null ? null : segments(r),
        word.compute(),
        textPositions(position.compute()),
        type == null ? null : type.compute(),
        sum);
    NormDropout after = new NormDropout(0, 0, r.dropout(config.hiddenDropout()), EMBEDDING_DROPOUT);
    return new EncoderNorm(r, "embedding norm", sum, null, after, embeddingNorm);
  }

  private void embeddingsBackward(Recording r, EncoderNorm embedded, Tensor dh) {
    Tensor dsum = embedded.backward(r, dh, null).residual();
    r.tableGradient(r.ids(), Recording.first(r.inputs.tokenOrder, r.rows), dsum, word);
    if (position.trains()) {
      r.ops.embeddingBackward(
          Recording.first(r.inputs.positions, r.rows),
          Recording.first(r.inputs.positionOrder, r.rows),
          dsum,
          textPositions(position.grad()));
    }
    if (type != null) {
      Tensor order = config.typeVocabSize() == 1 ? r.inputs.rows : r.inputs.typeOrder;
      r.tableGradient(segments(r), Recording.first(order, r.rows), dsum, type);
    }
  }

  private Saved forward(Recording r, int layer, Block b, Tensor h) {
    Saved s = inside(r, layer, b, h);
    Tensor outer = r.linear("output", s.inner.after(), b.outerWeight, Layout.OUT_IN, b.outerBias);
    int dropout = r.dropout(config.hiddenDropout());
    NormDropout second = new NormDropout(dropout, opId(layer, 2), 0, 0);
    s.norm2 = new EncoderNorm(r, "output norm", outer, s.norm1.out, second, b.norm2);
    return s;
  }

  /** What the backward pass of a block reads, from the sums on both sides of it. */
  private Saved again(Recording r, int layer, Block b, Saved kept) {
    Saved s = inside(r, layer, b, kept.before.outAgain(r));
    s.before = kept.before;
    s.norm2 = kept.norm2;
    return s;
  }

  /** A block as far as its last product. */
  private Saved inside(Recording r, int layer, Block b, Tensor h) {
    Saved s = new Saved();
    s.in = h;
    s.qkv = r.linear("attention.self", h, b.qkvWeight, Layout.OUT_IN, b.qkvBias);
    s.attnOut = r.activation("attention", r.rows, config.channels());
    s.lse = r.statistics("lse", config.heads(), r.rows);
    r.ops.attention(s.qkv, s.attnOut, s.lse, r.cuSeqlens(), attentionShape(r, layer));
    Tensor attended =
        r.linear("attention.output", s.attnOut, b.outWeight, Layout.OUT_IN, b.outBias);
    int dropout = r.dropout(config.hiddenDropout());
    boolean drops = config.family() != EncoderFamily.DISTILBERT;
    NormDropout first = new NormDropout(drops ? dropout : 0, opId(layer, 1), 0, 0);
    s.norm1 = new EncoderNorm(r, "attention norm", attended, h, first, b.norm1);
    s.inner =
        r.linearActivated(
            "intermediate", s.norm1.out, b.innerWeight, Layout.OUT_IN, b.innerBias, activation());
    return s;
  }

  /** The gradient of the block's input, or null if nothing below wants it. */
  private Tensor backward(Recording r, int layer, Block b, Saved s, Tensor dh, boolean wantsInput) {
    EncoderNorm.Gradient g = s.norm2.backward(r, dh, b.outerBias);
    Tensor dinner =
        r.activatedBackward(
            "output",
            s.inner,
            g.sublayer(),
            b.outerWeight,
            Layout.OUT_IN,
            activation(),
            b.innerBias);
    // Without dropout both sides of the addition share one gradient, which the product above has
    // read.
    Tensor norm1 = r.recomputesInputOf(b.innerWeight) ? s.norm1.outAgain(r) : s.norm1.out;
    Tensor dnorm =
        r.linearBackward(
            "intermediate", norm1, dinner, b.innerWeight, null, Layout.OUT_IN, g.residual());
    EncoderNorm.Gradient a = s.norm1.backward(r, dnorm, b.outBias);
    Tensor dattn =
        r.linearBackward(
            "attention.output", s.attnOut, a.sublayer(), b.outWeight, null, Layout.OUT_IN, null);
    Tensor dqkv = r.activation("dqkv", r.rows, 3L * config.channels());
    r.ops.attentionBackward(
        s.qkv, s.attnOut, s.lse, dattn, dqkv, r.cuSeqlens(), attentionShape(r, layer));
    Tensor in = r.recomputesInputOf(b.qkvWeight) ? s.before.outAgain(r) : s.in;
    if (!wantsInput) {
      r.lastLinearBackward("attention.self", in, dqkv, b.qkvWeight, b.qkvBias, Layout.OUT_IN);
      return null;
    }
    return r.linearBackward(
        "attention.self", in, dqkv, b.qkvWeight, b.qkvBias, Layout.OUT_IN, a.residual());
  }
}
