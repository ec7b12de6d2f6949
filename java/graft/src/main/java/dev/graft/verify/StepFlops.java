package dev.graft.verify;

import dev.graft.data.Batch;
import dev.graft.model.BertConfig;
import dev.graft.model.Gpt2Config;
import dev.graft.model.ModelConfig;
import dev.graft.model.Task;

/**
 * Floating-point operations a training step cannot do without: two a multiply-add, the backward
 * pass twice the forward one. Counted are the products with weights and attention's two products
 * over the pairs a query sees; what an implementation computes again is not.
 */
public final class StepFlops {
  private static final double FORWARD_AND_BACKWARD = 3;

  private StepFlops() {}

  /** For one batch. */
  public static double of(ModelConfig config, Task task, Batch batch) {
    double c = config.channels();
    double inner =
        config instanceof Gpt2Config gpt2
            ? gpt2.innerChannels()
            : ((BertConfig) config).intermediateChannels();
    double perToken = config.layers() * (4 * c * c + 2 * c * inner);
    double multiplyAdds = perToken * batch.liveTokens + head(config, task, batch);
    double pairs = 0;
    for (int s = 0; s < batch.liveSequences; s++) {
      double n = batch.cuSeqlens[s + 1] - batch.cuSeqlens[s];
      pairs += task == Task.CAUSAL_LM ? n * (n + 1) / 2 : n * n;
    }
    multiplyAdds += 2 * pairs * c * config.layers();
    return FORWARD_AND_BACKWARD * 2 * multiplyAdds;
  }

  private static double head(ModelConfig config, Task task, Batch batch) {
    double c = config.channels();
    return switch (task) {
      case CAUSAL_LM -> c * config.vocabSize() * batch.liveTokens;
      case MASKED_LM -> (c * c + c * config.vocabSize()) * batch.labelCount();
      case PRETRAINING ->
          (c * c + c * config.vocabSize()) * batch.labelCount() + c * c * batch.liveSequences;
      case SEQUENCE_CLASSIFICATION, MULTIPLE_CHOICE -> c * c * batch.liveSequences;
      case TOKEN_CLASSIFICATION -> c * config.labels().size() * batch.liveTokens;
      case QUESTION_ANSWERING -> 2 * c * batch.liveTokens;
      case BASE -> 0;
    };
  }
}
