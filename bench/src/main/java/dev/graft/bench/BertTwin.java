package dev.graft.bench;

import dev.graft.model.BertConfig;
import dev.graft.model.Network;
import dev.graft.model.Task;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** {@link dev.graft.model.Bert} from libtorch's ops. */
final class BertTwin extends Twin {
  private static final int EMBEDDING_DROPOUT = 1;
  private static final int CLASSIFIER_DROPOUT = 2;

  private final BertConfig config;
  private final Task task;

  BertTwin(Network network, BertConfig config, ScalarType precision) {
    super(network, precision);
    this.config = config;
    this.task = network.task();
  }

  /** The network's numbering of its dropouts: 0 attention's, 1 of its output, 2 of the MLP's. */
  private static int opId(int layer, int place) {
    return CLASSIFIER_DROPOUT + 1 + 4 * layer + place;
  }

  private Tensor norm(String name, Tensor x) {
    return norm(name, x, config.layerNormEps());
  }

  @Override
  Tensor loss(PaddedBatch batch, Masks masks) {
    Tensor h = encode(batch, masks);
    Tensor loss = null;
    if (task == Task.MASKED_LM || task == Task.PRETRAINING) {
      loss = words(batch, h);
    }
    if (task == Task.PRETRAINING || task == Task.SEQUENCE_CLASSIFICATION) {
      Tensor sentences = sentences(batch, h, masks);
      loss = loss == null ? sentences : loss.add(sentences);
    }
    return loss;
  }

  private Tensor encode(PaddedBatch batch, Masks masks) {
    String at = "bert.embeddings.";
    Tensor sum =
        embedding(at + "word_embeddings.weight", batch.ids)
            .add(embedding(at + "position_embeddings.weight", batch.positions))
            .add(embedding(at + "token_type_embeddings.weight", batch.types));
    double dropout = config.hiddenDropout();
    Tensor h = dropTokens(masks, EMBEDDING_DROPOUT, dropout, norm(at + "LayerNorm", sum));
    for (int l = 0; l < config.layers(); l++) {
      at = "bert.encoder.layer." + l + ".";
      Tensor attended =
          attention(
              batch,
              linear(at + "attention.self.query", h),
              linear(at + "attention.self.key", h),
              linear(at + "attention.self.value", h),
              config.heads(),
              false,
              masks,
              opId(l, 0),
              config.attentionDropout());
      Tensor projected = linear(at + "attention.output.dense", attended);
      Tensor dropped = dropTokens(masks, opId(l, 1), dropout, projected);
      h = norm(at + "attention.output.LayerNorm", h.add(dropped));
      Tensor inner = activation(config.activation(), linear(at + "intermediate.dense", h));
      Tensor outer = dropTokens(masks, opId(l, 2), dropout, linear(at + "output.dense", inner));
      h = norm(at + "output.LayerNorm", h.add(outer));
    }
    return h;
  }

  /** The masked-word head, on the rows that carry a label. */
  private Tensor words(PaddedBatch batch, Tensor h) {
    String at = "cls.predictions.";
    Tensor transformed =
        activation(
            config.activation(), linear(at + "transform.dense", rows(h, batch.labelledCells)));
    Tensor logits =
        torch.linear(
            norm(at + "transform.LayerNorm", transformed),
            weight("bert.embeddings.word_embeddings.weight"),
            new TensorOptional(weight(at + "bias")));
    return crossEntropy(logits, batch.labelledTargets, batch.labelledCells.numel());
  }

  /** The pooler and the head over it: next sentence, or classes. */
  private Tensor sentences(PaddedBatch batch, Tensor h, Masks masks) {
    Tensor pooled = torch.tanh(linear("bert.pooler.dense", rows(h, batch.firstCells)));
    boolean classes = task == Task.SEQUENCE_CLASSIFICATION;
    if (classes && masks != null && config.classifierDropout() > 0) {
      pooled =
          pooled.mul(
              masks.sequences(
                  CLASSIFIER_DROPOUT, config.classifierDropout(), config.channels(), precision));
    }
    Tensor logits = linear(classes ? "classifier" : "cls.seq_relationship", pooled);
    return crossEntropy(logits, batch.sequenceLabels, batch.sequenceLabelCount);
  }
}
