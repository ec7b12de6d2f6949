package dev.graft.train;

import dev.graft.data.Batch;
import dev.graft.data.ExampleSource;
import dev.graft.model.EvalStep;
import dev.graft.model.Network;
import dev.graft.runtime.Device;
import java.util.LinkedHashMap;
import java.util.Map;

/** Runs over a set once, dropout off: {@code loss}, then what a task makes of the logits. */
abstract class HeadEvaluator implements Evaluator {
  private final ExampleSource source;
  private final JudgedBatches batches;

  HeadEvaluator(ExampleSource source) {
    this.source = source;
    this.batches = new JudgedBatches(source);
  }

  /** Starts a new pass. */
  abstract void begin(Network evaluated);

  /**
   * Takes a batch.
   *
   * @param first its first example in the set
   * @param logits of its sequences or tokens; see {@link EvalStep#judge}
   */
  abstract void add(Batch judged, int first, float[][] logits);

  /** What the pass came to. */
  abstract Map<String, Double> metrics();

  /** How many examples people would count. */
  abstract long examples();

  @Override
  public final Map<String, Double> evaluate(Network evaluated) {
    Device device = evaluated.device();
    EvalStep step = batches.on(evaluated);
    begin(evaluated);
    device.lossReset();
    for (long b = 0; b < batches.count(); b++) {
      Batch batch = batches.get(b);
      add(batch, source.firstOf(b), step.judge(batch));
    }
    device.stepRead();
    double loss = 0;
    for (int slot = 0; slot < 2; slot++) {
      if (device.lossWeight(slot) > 0) {
        loss += evaluated.lossShare() * device.lossSum(slot) / device.lossWeight(slot);
      }
    }
    device.lossReset();
    Map<String, Double> metrics = new LinkedHashMap<>();
    metrics.put("loss", loss);
    metrics.putAll(metrics());
    metrics.put("examples", (double) examples());
    return metrics;
  }

  @Override
  public boolean higherIsBetter() {
    return true;
  }

  @Override
  public void close() {
    batches.close();
  }
}
