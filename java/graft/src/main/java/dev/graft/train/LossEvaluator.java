package dev.graft.train;

import dev.graft.data.BatchSource;
import dev.graft.metrics.Perplexity;
import dev.graft.model.EvalStep;
import dev.graft.model.Network;
import dev.graft.model.Task;
import dev.graft.runtime.Device;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * The mean loss a label over one whole pass of a source, dropout off. Metrics: {@code loss} (the
 * one judged by), {@code perplexity} = e to the loss of the words, {@code tokens}, the labels
 * counted; for BERT's pretraining with next sentences {@code loss} is the sum of {@code
 * masked_lm_loss} and {@code next_sentence_loss}.
 */
public final class LossEvaluator implements Evaluator {
  private static final int WORDS = 0;
  private static final int SENTENCES = 1;

  private final JudgedBatches batches;

  public LossEvaluator(BatchSource source) {
    this.batches = new JudgedBatches(source);
  }

  @Override
  public Map<String, Double> evaluate(Network evaluated) {
    Device device = evaluated.device();
    EvalStep step = batches.on(evaluated);
    device.lossReset();
    for (long i = 0; i < batches.count(); i++) {
      step.loss(batches.get(i));
    }
    device.stepRead();
    double words = device.lossSum(WORDS) / device.lossCount(WORDS);
    Map<String, Double> metrics = new LinkedHashMap<>();
    if (evaluated.task() == Task.PRETRAINING && device.lossCount(SENTENCES) > 0) {
      double sentences = device.lossSum(SENTENCES) / device.lossCount(SENTENCES);
      metrics.put("loss", words + sentences);
      metrics.put("masked_lm_loss", words);
      metrics.put("next_sentence_loss", sentences);
    } else {
      metrics.put("loss", words);
    }
    metrics.put("perplexity", Perplexity.of(words));
    metrics.put("tokens", (double) device.lossCount(WORDS));
    device.lossReset();
    return metrics;
  }

  @Override
  public String mainMetric() {
    return "loss";
  }

  @Override
  public boolean higherIsBetter() {
    return false;
  }

  @Override
  public void close() {
    batches.close();
  }
}
