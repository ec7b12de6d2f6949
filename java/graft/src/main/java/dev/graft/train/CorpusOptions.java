package dev.graft.train;

import dev.graft.data.CausalSource.Packing;
import dev.graft.data.CausalSource.Sampling;

/**
 * How a corpus becomes training examples. {@link #defaults()} suits most; change what differs.
 *
 * @param contextLength tokens of a sequence; 0: as many as the model has positions
 * @param packing of the next-token objective: one stream of documents, or a sequence a document
 * @param sampling of {@link Packing#STREAM}: every window once an epoch, or random offsets
 * @param maskProbability part of the tokens that are predicted, for BERT's objectives
 * @param validationShare part of the corpus' end that is kept for validation when no validation
 *     corpus is given; 0: none
 * @param evalBatchSize sequences computed together in an evaluation; 0: as many as in training
 */
public record CorpusOptions(
    int contextLength,
    Packing packing,
    Sampling sampling,
    double maskProbability,
    double validationShare,
    int evalBatchSize) {

  public CorpusOptions {
    require(contextLength >= 0, "contextLength", "at least 0", contextLength);
    require(packing != null, "packing", "a value", null);
    require(sampling != null, "sampling", "a value", null);
    require(
        maskProbability > 0 && maskProbability < 1, "maskProbability", "(0, 1)", maskProbability);
    require(
        validationShare >= 0 && validationShare < 1, "validationShare", "[0, 1)", validationShare);
    require(evalBatchSize >= 0, "evalBatchSize", "at least 0", evalBatchSize);
  }

  private static void require(boolean right, String name, String expected, Object got) {
    if (!right) {
      throw new IllegalArgumentException(
          "corpus options: " + name + ": expected " + expected + ", got " + got);
    }
  }

  /** The model's whole length, one stream, an epoch's windows, 15 % masked, no validation part. */
  public static CorpusOptions defaults() {
    return new CorpusOptions(0, Packing.STREAM, Sampling.EPOCH, 0.15, 0, 0);
  }

  public CorpusOptions withContextLength(int value) {
    return new CorpusOptions(
        value, packing, sampling, maskProbability, validationShare, evalBatchSize);
  }

  public CorpusOptions withPacking(Packing value) {
    return new CorpusOptions(
        contextLength, value, sampling, maskProbability, validationShare, evalBatchSize);
  }

  public CorpusOptions withSampling(Sampling value) {
    return new CorpusOptions(
        contextLength, packing, value, maskProbability, validationShare, evalBatchSize);
  }

  public CorpusOptions withMaskProbability(double value) {
    return new CorpusOptions(
        contextLength, packing, sampling, value, validationShare, evalBatchSize);
  }

  public CorpusOptions withValidationShare(double value) {
    return new CorpusOptions(
        contextLength, packing, sampling, maskProbability, value, evalBatchSize);
  }

  public CorpusOptions withEvalBatchSize(int value) {
    return new CorpusOptions(
        contextLength, packing, sampling, maskProbability, validationShare, value);
  }
}
