package dev.graft.model;

/**
 * What one recorded step does.
 *
 * @param tokens rows of the bucket, T
 * @param maskedRows rows with a label in their bucket, M (masked words)
 * @param batch most sequences, B
 * @param maxSeqlen longest sequence
 * @param loss whether the loss is computed
 * @param backward whether gradients are (then dropout acts, too)
 * @param dropout whether dropout acts
 * @param keepHidden whether every hidden state stays readable
 * @param keepLogits whether logits of all rows are computed and stay readable
 * @param recompute what the backward pass computes again
 */
record StepSpec(
    int tokens,
    int maskedRows,
    int batch,
    int maxSeqlen,
    boolean loss,
    boolean backward,
    boolean dropout,
    boolean keepHidden,
    boolean keepLogits,
    Recompute recompute) {
  StepSpec {
    if (backward && !loss) {
      throw new IllegalArgumentException("a backward pass needs a loss");
    }
  }
}
