package dev.graft.model;

import dev.graft.model.Parameters.Init;
import dev.graft.model.Parameters.Parameter;
import dev.graft.model.Recording.Layout;
import dev.graft.runtime.Tensor;

/**
 * What reads every token: its class, or how much an answer begins and how much it ends with it.
 *
 * <pre>
 *   classes  dropout(h) · W + b                  cross-entropy of the rows with a label
 *   answers  h · W + b (DistilBERT: dropout(h))  the mean of two cross-entropies over the rows of a
 *                                                sequence: where it begins, where it ends
 * </pre>
 *
 * <p>Legend: T tokens, C channels, K classes (answers: 2).
 */
final class TokenHead {
  private static final int CLASSES_SLOT = 0;
  private static final int START = 0;
  private static final int END = 1;

  private final BertConfig config;
  private final boolean answers;
  private final int dropoutId;
  private final Parameter weight;
  private final Parameter bias;

  /** A pass's activations: what the projection reads [T, C], and its logits [T, K]. */
  record Pass(Tensor dropped, Tensor logits) {}

  TokenHead(Parameters parameters, BertConfig config, Task task, int dropoutId) {
    this.config = config;
    this.answers = task == Task.QUESTION_ANSWERING;
    this.dropoutId = dropoutId;
    String name = answers ? EncoderNames.ANSWERS : EncoderNames.CLASSIFIER;
    long columns = answers ? 2 : config.labels().size();
    long c = config.channels();
    weight =
        parameters.add(name + ".weight", true, Init.NORMAL, config.initializerRange(), columns, c);
    bias = parameters.add(name + ".bias", false, Init.ZEROS, 0, columns);
  }

  private int dropout(Recording r) {
    if (answers) {
      return r.dropout(config.answerDropout());
    }
    boolean distilBert = config.family() == EncoderFamily.DISTILBERT;
    return r.dropout(distilBert ? config.hiddenDropout() : config.classifierDropout());
  }

  Pass forward(Recording r, Tensor h) {
    Tensor dropped = h;
    if (dropout(r) > 0) {
      dropped = r.activation("tokens dropout", r.rows, config.channels());
      r.ops.dropout(h, dropped, dropout(r), dropoutId);
    }
    return new Pass(dropped, r.linear("tokens", dropped, weight, Layout.OUT_IN, bias));
  }

  /**
   * The loss of a pass, and its gradient towards the hidden states.
   *
   * @param below whether something below trains
   * @return [T, C], or null without a backward pass or if nothing below trains
   */
  Tensor loss(Recording r, Pass p, boolean below) {
    boolean forwardOnly = !r.spec.backward();
    if (answers) {
      long batch = r.spec.batch();
      Tensor starts = Recording.first(r.inputs.sequenceLabels, batch);
      Tensor ends = Recording.first(r.inputs.endPositions, batch);
      r.ops.segmentClassifier(p.logits, START, r.cuSeqlens(), starts, START, forwardOnly);
      r.ops.segmentClassifier(p.logits, END, r.cuSeqlens(), ends, END, forwardOnly);
    } else {
      Tensor labels = Recording.first(r.inputs.labels, r.rows);
      r.classLoss(p.logits, labels, CLASSES_SLOT);
    }
    if (forwardOnly) {
      return null;
    }
    if (!below) {
      r.lastLinearBackward("tokens", p.dropped, p.logits, weight, bias, Layout.OUT_IN);
      return null;
    }
    Tensor dh = r.linearBackward("tokens", p.dropped, p.logits, weight, bias, Layout.OUT_IN, null);
    if (dropout(r) > 0) {
      r.ops.dropout(dh, dh, dropout(r), dropoutId);
    }
    return dh;
  }
}
