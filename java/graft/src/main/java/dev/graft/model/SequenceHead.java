package dev.graft.model;

import dev.graft.model.Parameters.Init;
import dev.graft.model.Parameters.Parameter;
import dev.graft.model.Recording.Layout;
import dev.graft.program.Ops;
import dev.graft.runtime.Tensor;

/**
 * What reads the first token of each sequence: a dense layer with an activation (BERT's pooler),
 * and over it the classes of a sequence, the score of a choice, or BERT's next sentence.
 *
 * <pre>
 *   BERT, next sentence  tanh(h · W + b)                    · classes
 *   BERT, classes        dropout(tanh(h · W + b))           · classes
 *   RoBERTa              dropout(tanh(dropout(h) · W + b))  · classes
 *   DistilBERT           dropout(relu(h · W + b))           · classes
 *   choices              as BERT's or DistilBERT's classes, one output
 * </pre>
 *
 * <p>Losses: cross-entropy, by {@link ProblemType} also binary cross-entropy or squared error; for
 * choices cross-entropy over the sequences of a question.
 *
 * <p>Legend: B sequences, C channels.
 */
final class SequenceHead {
  private static final int FIRST_LOSS_SLOT = 0;
  private static final int SENTENCES_LOSS_SLOT = 1;

  private final BertConfig config;
  private final Task task;
  private final Ops.Activation activation;
  private final int inputDropoutId;
  private final int dropoutId;
  private final Parameter weight;
  private final Parameter bias;
  private Parameter classesWeight;
  private Parameter classesBias;

  /** A pass's activations. */
  static final class Pass {
    private Tensor first; //  [B, C] what the dense layer reads
    private Tensor before; // before bias and activation
    private Tensor dropped; // what the classes read
    Tensor pooled; // [B, C]
    Tensor logits; // [B, classes], null without classes
  }

  /**
   * @param inputDropoutId of the dropout in front of the dense layer
   * @param dropoutId of the one behind it
   */
  SequenceHead(
      Parameters parameters,
      BertConfig config,
      EncoderNames names,
      Task task,
      int inputDropoutId,
      int dropoutId) {
    this.config = config;
    this.task = task;
    this.inputDropoutId = inputDropoutId;
    this.dropoutId = dropoutId;
    boolean classes = task == Task.SEQUENCE_CLASSIFICATION;
    boolean choices = task == Task.MULTIPLE_CHOICE;
    activation =
        config.family() == EncoderFamily.DISTILBERT ? Ops.Activation.RELU : Ops.Activation.TANH;
    long c = config.channels();
    double std = config.initializerRange();
    // Choices are read by the pooler, and by what DistilBERT has in its place.
    boolean own = classes || choices && names.pooler() == null;
    String dense = own ? names.sequenceDense() : names.pooler();
    weight = parameters.add(dense + ".weight", true, Init.NORMAL, std, c, c);
    bias = parameters.add(dense + ".bias", false, Init.ZEROS, 0, c);
    if (classes || choices || task == Task.PRETRAINING) {
      String head =
          classes
              ? names.sequenceClasses()
              : choices ? EncoderNames.CLASSIFIER : EncoderNames.NEXT_SENTENCE;
      long count = classes ? config.labels().size() : choices ? 1 : 2;
      classesWeight = parameters.add(head + ".weight", true, Init.NORMAL, std, count, c);
      classesBias = parameters.add(head + ".bias", false, Init.ZEROS, 0, count);
    }
  }

  /** The published next-sentence head has no dropout, the classifiers have. */
  private int dropout(Recording r) {
    return switch (task) {
      case SEQUENCE_CLASSIFICATION -> r.dropout(config.classifierDropout());
      case MULTIPLE_CHOICE ->
          r.dropout(
              config.family() == EncoderFamily.ROBERTA
                  ? config.hiddenDropout()
                  : config.classifierDropout());
      default -> 0;
    };
  }

  private int inputDropout(Recording r) {
    return config.family() == EncoderFamily.ROBERTA && task == Task.SEQUENCE_CLASSIFICATION
        ? dropout(r)
        : 0;
  }

  Pass forward(Recording r, Tensor h) {
    long batch = r.spec.batch();
    Pass p = new Pass();
    p.first = r.activation("first rows", batch, config.channels());
    r.ops.gatherRows(h, Recording.first(r.inputs.firstRows, batch), p.first);
    if (inputDropout(r) > 0) {
      r.ops.dropout(p.first, p.first, inputDropout(r), inputDropoutId);
    }
    p.before = r.linear("pooler", p.first, weight, Layout.OUT_IN, null);
    p.pooled = r.activation("pooled", batch, config.channels());
    r.ops.activation(activation, p.before, bias.compute(), p.pooled);
    if (classesWeight == null) {
      return p;
    }
    p.dropped = p.pooled;
    if (dropout(r) > 0) {
      p.dropped = r.activation("pooled dropout", batch, config.channels());
      r.ops.dropout(p.pooled, p.dropped, dropout(r), dropoutId);
    }
    p.logits = r.linear("classes", p.dropped, classesWeight, Layout.OUT_IN, classesBias);
    return p;
  }

  /**
   * The loss of a pass with classes, and its gradient towards the hidden states.
   *
   * @param dh [T, C], added to if {@code accumulate}, otherwise zero but in the first rows; null if
   *     nothing below trains
   */
  void loss(Recording r, Pass p, Tensor dh, boolean accumulate) {
    long batch = r.spec.batch();
    lossAndGradient(r, p.logits);
    if (!r.spec.backward()) {
      return;
    }
    Tensor dpooled =
        r.linearBackward(
            "classes", p.dropped, p.logits, classesWeight, classesBias, Layout.OUT_IN, null);
    if (dropout(r) > 0) {
      r.ops.dropout(dpooled, dpooled, dropout(r), dropoutId);
    }
    r.ops.activationBackward(
        activation, p.before, bias.compute(), dpooled, dpooled, bias.gradIfTrained());
    if (dh == null) {
      r.lastLinearBackward("pooler", p.first, dpooled, weight, null, Layout.OUT_IN);
      return;
    }
    Tensor dfirst = r.linearBackward("pooler", p.first, dpooled, weight, null, Layout.OUT_IN, null);
    if (inputDropout(r) > 0) {
      r.ops.dropout(dfirst, dfirst, inputDropout(r), inputDropoutId);
    }
    r.ops.scatterRows(dfirst, Recording.first(r.inputs.firstRows, batch), dh, accumulate);
  }

  private void lossAndGradient(Recording r, Tensor logits) {
    long batch = r.spec.batch();
    boolean forwardOnly = !r.spec.backward();
    if (task == Task.MULTIPLE_CHOICE) {
      Tensor questions = Recording.first(r.inputs.cuChoices, batch + 1);
      Tensor right = Recording.first(r.inputs.choiceLabels, batch);
      r.ops.segmentClassifier(logits, 0, questions, right, FIRST_LOSS_SLOT, forwardOnly);
      return;
    }
    Tensor labels = Recording.first(r.inputs.sequenceLabels, batch);
    if (task == Task.PRETRAINING) {
      r.ops.classifier(logits, labels, null, logits.size(1), SENTENCES_LOSS_SLOT, forwardOnly);
      return;
    }
    switch (config.problemType()) {
      case SINGLE_LABEL_CLASSIFICATION -> r.classLoss(logits, labels, FIRST_LOSS_SLOT);
      case MULTI_LABEL_CLASSIFICATION ->
          r.ops.binaryCrossEntropy(logits, r.inputs.targets, null, FIRST_LOSS_SLOT, forwardOnly);
      case REGRESSION ->
          r.ops.meanSquaredError(logits, r.inputs.targets, FIRST_LOSS_SLOT, forwardOnly);
    }
  }
}
