package dev.graft.bench;

import dev.graft.model.BertConfig;
import dev.graft.model.EncoderFamily;
import dev.graft.model.Network;
import dev.graft.model.Task;
import java.util.EnumMap;
import java.util.Map;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** {@link dev.graft.model.Bert}, every family and head, from libtorch's ops. */
final class EncoderTwin extends Twin {
  private static final int EMBEDDING_DROPOUT = 1;
  private static final int HEAD_DROPOUT = 2;

  private final BertConfig config;
  private final TwinNames names;
  private final Task task;

  EncoderTwin(Network network, BertConfig config, ScalarType precision) {
    super(network, precision);
    this.config = config;
    this.names = TwinNames.of(config.family());
    this.task = network.task();
  }

  /**
   * The network's numbering of its dropouts: 0 attention's, 1 of its output, 2 of the MLP's; the
   * place 0 behind the last layer is RoBERTa's in front of its dense layer.
   */
  private static int opId(int layer, int place) {
    return HEAD_DROPOUT + 1 + 4 * layer + place;
  }

  private boolean is(EncoderFamily family) {
    return config.family() == family;
  }

  private Tensor norm(String name, Tensor x) {
    return norm(name, x, config.layerNormEps());
  }

  @Override
  Pass forward(PaddedBatch batch, Masks masks) {
    Tensor h = encode(batch, masks);
    Map<Rows, Tensor> logits = new EnumMap<>(Rows.class);
    Tensor loss = null;
    if (task == Task.MASKED_LM || task == Task.PRETRAINING) {
      Tensor words = words(batch, h);
      logits.put(Rows.LABELLED, words);
      loss = losses.classes(words, batch.labelledTargets, batch.labelledCells.numel());
    }
    if (task == Task.TOKEN_CLASSIFICATION || task == Task.QUESTION_ANSWERING) {
      Tensor scores = tokens(h, masks);
      logits.put(Rows.TOKENS, scores);
      loss =
          task == Task.QUESTION_ANSWERING
              ? losses.answers(scores, batch)
              : losses.classes(scores, batch.labels, batch.labelledCells.numel());
    } else if (task != Task.MASKED_LM) {
      Tensor scores = sequences(batch, h, masks);
      logits.put(Rows.SEQUENCES, scores);
      Tensor own = sequenceLoss(batch, scores);
      loss = loss == null ? own : loss.add(own);
    }
    return new Pass(loss, logits);
  }

  private Tensor sequenceLoss(PaddedBatch batch, Tensor scores) {
    if (task == Task.MULTIPLE_CHOICE) {
      return losses.choices(scores, batch);
    }
    if (task == Task.PRETRAINING) {
      return losses.classes(scores, batch.sequenceLabels, batch.sequenceLabelCount);
    }
    return switch (config.problemType()) {
      case SINGLE_LABEL_CLASSIFICATION ->
          losses.classes(scores, batch.sequenceLabels, batch.sequenceLabelCount);
      case MULTI_LABEL_CLASSIFICATION -> losses.labels(scores, batch);
      case REGRESSION -> losses.numbers(scores, batch);
    };
  }

  private Tensor embeddings(PaddedBatch batch) {
    String at = names.body() + "embeddings.";
    Tensor positions = batch.positions;
    if (is(EncoderFamily.ROBERTA)) {
      positions = positions.add(new Scalar(config.padTokenId() + 1L)); // the table's first rows
    }
    Tensor sum =
        embedding(at + "word_embeddings.weight", batch.ids)
            .add(embedding(at + "position_embeddings.weight", positions));
    if (config.typeVocabSize() > 0) {
      // A model of one segment has every token in it.
      Tensor types = config.typeVocabSize() == 1 ? batch.types.mul(new Scalar(0L)) : batch.types;
      sum = sum.add(embedding(at + "token_type_embeddings.weight", types));
    }
    return norm(at + "LayerNorm", sum);
  }

  private Tensor encode(PaddedBatch batch, Masks masks) {
    double dropout = config.hiddenDropout();
    Tensor h = dropTokens(masks, EMBEDDING_DROPOUT, dropout, embeddings(batch));
    for (int l = 0; l < config.layers(); l++) {
      String at = names.layers() + l + ".";
      Tensor attended =
          attention(
              batch,
              linear(at + names.query(), h),
              linear(at + names.key(), h),
              linear(at + names.value(), h),
              config.heads(),
              false,
              masks,
              opId(l, 0),
              config.attentionDropout());
      Tensor projected = linear(at + names.attentionOut(), attended);
      if (!is(EncoderFamily.DISTILBERT)) {
        projected = dropTokens(masks, opId(l, 1), dropout, projected);
      }
      h = norm(at + names.attentionNorm(), h.add(projected));
      Tensor inner = activation(config.activation(), linear(at + names.inner(), h));
      Tensor outer = dropTokens(masks, opId(l, 2), dropout, linear(at + names.outer(), inner));
      h = norm(at + names.outputNorm(), h.add(outer));
    }
    return h;
  }

  /** Logits of the masked-word head at the rows that carry a label. */
  private Tensor words(PaddedBatch batch, Tensor h) {
    String gelu = is(EncoderFamily.ROBERTA) ? "gelu" : config.activation();
    Tensor transformed = activation(gelu, linear(names.transform(), rows(h, batch.labelledCells)));
    boolean tied = config.tiedHead();
    String words = names.body() + "embeddings.word_embeddings.weight";
    return torch.linear(
        norm(names.transformNorm(), transformed),
        weight(tied ? words : names.decoder() + ".weight"),
        new TensorOptional(weight(tied ? names.tiedBias() : names.decoder() + ".bias")));
  }

  /** What each token is, or how much an answer begins and ends with it. */
  private Tensor tokens(Tensor h, Masks masks) {
    boolean answers = task == Task.QUESTION_ANSWERING;
    double dropout =
        answers
            ? config.answerDropout()
            : is(EncoderFamily.DISTILBERT) ? config.hiddenDropout() : config.classifierDropout();
    return linear(
        answers ? "qa_outputs" : "classifier", dropTokens(masks, HEAD_DROPOUT, dropout, h));
  }

  /** The head over the first token: next sentence, classes, or the score of a choice. */
  private Tensor sequences(PaddedBatch batch, Tensor h, Masks masks) {
    boolean classes = task == Task.SEQUENCE_CLASSIFICATION;
    boolean choices = task == Task.MULTIPLE_CHOICE;
    double dropout =
        choices && is(EncoderFamily.ROBERTA)
            ? config.hiddenDropout()
            : task == Task.PRETRAINING ? 0 : config.classifierDropout();
    Tensor first = rows(h, batch.firstCells);
    if (classes && is(EncoderFamily.ROBERTA)) {
      first = dropSequences(masks, opId(config.layers(), 0), dropout, first);
    }
    boolean pooled = !classes && names.pooler() != null;
    Tensor dense = linear(pooled ? names.pooler() : names.sequenceDense(), first);
    Tensor active = activation(is(EncoderFamily.DISTILBERT) ? "relu" : "tanh", dense);
    String head =
        classes ? names.sequenceClasses() : choices ? "classifier" : "cls.seq_relationship";
    return linear(head, dropSequences(masks, HEAD_DROPOUT, dropout, active));
  }
}
