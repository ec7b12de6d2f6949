package dev.graft.bench;

import dev.graft.model.BertConfig;
import dev.graft.model.Gpt2Config;
import dev.graft.model.ModelConfig;
import dev.graft.model.Network;
import dev.graft.model.Parameters.Parameter;
import dev.graft.model.Parameters.Part;
import java.util.LinkedHashMap;
import java.util.Map;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * A network built again from libtorch's ops, on a copy of its weights, with gradients by autograd:
 * in double the truth, in fp32 and bf16 what an eager user of libtorch gets.
 *
 * <p>In bf16 the leaves are fp32 and rounded where they are read, as mixed-precision training does;
 * the loss is taken in fp32, as the reference implementation takes it. Activations are [B · T, C].
 */
abstract class Twin {
  /** Which rows of a batch a head reads. */
  enum Rows {
    /** Every cell, padding included. */
    TOKENS,
    /** The cells that carry a label. */
    LABELLED,
    /** The sequences. */
    SEQUENCES
  }

  /**
   * A forward pass.
   *
   * @param loss what a step on this batch minimises: the mean over its labels, summed over the
   *     heads
   * @param logits [rows, outputs] of each head
   */
  record Pass(Tensor loss, Map<Rows, Tensor> logits) {}

  final ScalarType precision;
  final TwinLosses losses;
  private final Map<String, Tensor> leaves = new LinkedHashMap<>();

  Twin(Network network, ScalarType precision) {
    this.precision = precision;
    this.losses = new TwinLosses(precision);
    boolean wide = precision == Torch.F64;
    for (Parameter p : network.parameters().all()) {
      for (Part part : p.parts()) {
        float[] values = p.compute().floats(part.offset(), Math.toIntExact(part.count()));
        Tensor given = Tensor.create(values, part.shape());
        leaves.put(part.name(), (wide ? given.to(Torch.F64) : given).set_requires_grad(true));
      }
    }
  }

  /** The twin of a network, with the weights its kernels read. */
  static Twin of(Network network, ScalarType precision) {
    ModelConfig config = network.config();
    return config instanceof Gpt2Config gpt2
        ? new Gpt2Twin(network, gpt2, precision)
        : new EncoderTwin(network, (BertConfig) config, precision);
  }

  /** Leaves by checkpoint name. */
  Map<String, Tensor> leaves() {
    return leaves;
  }

  /**
   * Runs forward.
   *
   * @param masks the dropout to apply, or null for none
   */
  abstract Pass forward(PaddedBatch batch, Masks masks);

  /** The loss alone. */
  final Tensor loss(PaddedBatch batch, Masks masks) {
    return forward(batch, masks).loss();
  }

  /** A weight as the ops read it. */
  final Tensor weight(String name) {
    Tensor leaf = leaves.get(name);
    if (leaf == null) {
      throw new IllegalArgumentException("no weight " + name + " among " + leaves.keySet());
    }
    return precision == Torch.BF16 ? leaf.to(Torch.BF16) : leaf;
  }

  final boolean has(String name) {
    return leaves.containsKey(name);
  }

  final Tensor embedding(String name, Tensor ids) {
    return torch.embedding(weight(name), ids);
  }

  /** x · Wᵀ + b, of weights [out, in]. */
  final Tensor linear(String name, Tensor x) {
    return torch.linear(x, weight(name + ".weight"), new TensorOptional(weight(name + ".bias")));
  }

  /** LayerNorm over the channels. */
  final Tensor norm(String name, Tensor x, double eps) {
    return torch.layer_norm(
        x,
        new long[] {x.size(-1)},
        new TensorOptional(weight(name + ".weight")),
        new TensorOptional(weight(name + ".bias")),
        eps,
        false);
  }

  static Tensor activation(String name, Tensor x) {
    return switch (name) {
      case "gelu_new", "gelu_pytorch_tanh" -> torch.gelu(x, "tanh");
      case "gelu" -> torch.gelu(x, "none");
      case "relu" -> torch.relu(x);
      case "tanh" -> torch.tanh(x);
      default -> throw new IllegalArgumentException("no activation " + name + " in the twin");
    };
  }

  final Tensor dropTokens(Masks masks, int opId, double probability, Tensor x) {
    return masks == null || probability == 0
        ? x
        : x.mul(masks.tokens(opId, probability, (int) x.size(1), precision));
  }

  final Tensor dropSequences(Masks masks, int opId, double probability, Tensor x) {
    return masks == null || probability == 0
        ? x
        : x.mul(masks.sequences(opId, probability, (int) x.size(1), precision));
  }

  /** Multi-head attention of [B · T, C] operands. */
  final Tensor attention(
      PaddedBatch batch,
      Tensor q,
      Tensor k,
      Tensor v,
      int heads,
      boolean causal,
      Masks masks,
      int opId,
      double probability) {
    Tensor qh = heads(batch, q, heads);
    Tensor kh = heads(batch, k, heads);
    Tensor vh = heads(batch, v, heads);
    Tensor out;
    if (masks == null || probability == 0) {
      TensorOptional mask =
          batch.isFull()
              ? new TensorOptional()
              : new TensorOptional(batch.scoreMask(causal, precision));
      out =
          torch.scaled_dot_product_attention(
              qh, kh, vh, mask, 0, causal && batch.isFull(), new DoubleOptional(), false);
    } else {
      double scale = 1 / Math.sqrt(qh.size(3));
      Tensor scores =
          torch
              .matmul(qh.mul(Torch.scalar(scale)), kh.transpose(2, 3))
              .add(batch.scoreMask(causal, precision));
      Tensor kept = scores.softmax(-1).mul(masks.scores(opId, probability, heads, precision));
      out = torch.matmul(kept, vh);
    }
    return out.transpose(1, 2).reshape(q.size(0), q.size(1));
  }

  private static Tensor heads(PaddedBatch batch, Tensor x, int heads) {
    return x.reshape(batch.sequences, batch.columns, heads, x.size(1) / heads).transpose(1, 2);
  }

  static Tensor[] thirds(Tensor joined) {
    TensorVector parts = joined.chunk(3, 1);
    return new Tensor[] {parts.get(0), parts.get(1), parts.get(2)};
  }

  /** The rows of a [B · T, C] tensor at some cells. */
  static Tensor rows(Tensor x, Tensor cells) {
    return x.index_select(0, cells);
  }
}
