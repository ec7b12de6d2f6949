package dev.graft.train;

import dev.graft.io.InvalidInputException;
import dev.graft.model.Network;
import dev.graft.model.Parameters.Parameter;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Judges a network while it trains, keeps its best weights, and tells when it gets no better. What
 * a resume needs of it is in {@link Progress}; the best weights are in {@code best/}, or in memory
 * where there is no run directory.
 */
final class ModelSelection {
  private static final String LOSS = "loss";

  private final Network network;
  private final Evaluator evaluator;
  private final TrainingOptions options;
  private final RunFiles files;
  private final Selection selection;
  private Map<String, Double> evaluation = Map.of();
  private Map<String, Double> bestEvaluation = Map.of();
  private Map<String, float[]> bestWeights = Map.of();

  /**
   * @param evaluator null: nothing is judged
   */
  ModelSelection(Network network, Evaluator evaluator, TrainingOptions options, RunFiles files) {
    this.network = network;
    this.evaluator = evaluator;
    this.options = options;
    this.files = files;
    this.selection = options.selection();
  }

  /** Whether an evaluation is due after a step. */
  boolean due(Progress progress, long batchesPerEpoch, boolean last) {
    if (evaluator == null) {
      return false;
    }
    if (options.evalEvery() >= 0) {
      return last || options.evalEvery() > 0 && progress.step % options.evalEvery() == 0;
    }
    long before = progress.microStep - options.batchesPerStep();
    return last || progress.microStep / batchesPerEpoch > before / batchesPerEpoch;
  }

  /** Metrics of the weights the network has; empty if they were not judged. */
  Map<String, Double> evaluation() {
    return evaluation;
  }

  private String metric() {
    return selection.metric().isEmpty() ? evaluator.mainMetric() : selection.metric();
  }

  private boolean better(double value, double than, double by) {
    if (Double.isNaN(value)) {
      return false;
    }
    String metric = metric();
    boolean higher =
        metric.equals(evaluator.mainMetric())
            ? evaluator.higherIsBetter()
            : !metric.equals(LOSS) && !metric.endsWith("_loss") && !metric.equals("perplexity");
    return Double.isNaN(than) || (higher ? value > than + by : value < than - by);
  }

  /** Judges the network and keeps it if it is the best so far. */
  void evaluate(Progress progress) {
    evaluation = evaluator.evaluate(network);
    network.device().lossReset();
    Double main = evaluation.get(metric());
    if (main == null) {
      throw new InvalidInputException(
          "metric: expected one of " + evaluation.keySet() + ", got " + metric());
    }
    // After a resume at the last step this repeats an evaluation that was reported already.
    if (progress.evaluatedStep == progress.step) {
      return;
    }
    double loss = evaluation.getOrDefault(LOSS, Double.NaN);
    boolean best =
        better(main, progress.bestMetric, 0)
            || main == progress.bestMetric && loss < progress.bestLoss;
    if (best) {
      progress.bestMetric = main;
      progress.bestLoss = loss;
      progress.bestStep = progress.step;
      bestEvaluation = evaluation;
      keep();
    }
    if (better(main, progress.gainedMetric, selection.minDelta())) {
      progress.gainedMetric = main;
      progress.withoutGain = 0;
    } else {
      progress.withoutGain++;
    }
    progress.evaluatedStep = progress.step;
    EvalEvent event = new EvalEvent(progress.step, evaluation, metric(), best);
    files.log(event);
    options.listener().onEvaluation(event);
  }

  /** Whether patience is at its end. */
  boolean wantsToStop(Progress progress) {
    return selection.patience() > 0 && progress.withoutGain >= selection.patience();
  }

  private void keep() {
    if (files.writes()) {
      files.saveBest();
    } else if (selection.loadBest() && options.exchange().rank() == 0) {
      bestWeights = new LinkedHashMap<>();
      for (Parameter p : network.parameters().all()) {
        if (p.trainable()) {
          bestWeights.put(p.name(), p.weight().floats());
        }
      }
    }
  }

  /**
   * Puts the best weights into the network, in all processes.
   *
   * @return steps done when the network had the weights it has now
   */
  long takeBest(Progress progress) {
    GradientExchange exchange = options.exchange();
    boolean wanted =
        selection.loadBest()
            && evaluator != null
            && progress.bestStep >= 0
            && progress.bestStep != progress.step;
    long[] taken = {wanted ? progress.bestStep : progress.step};
    exchange.broadcast(taken);
    if (taken[0] == progress.step) {
      return progress.step;
    }
    if (files.writes()) {
      files.loadBest();
    } else {
      for (Parameter p : network.parameters().all()) {
        float[] kept = bestWeights.get(p.name());
        if (kept != null) {
          p.weight().put(0, kept);
        }
      }
    }
    for (Parameter p : network.parameters().all()) {
      if (p.trainable()) {
        exchange.broadcast(p.weight());
      }
    }
    network.parameters().syncCompute();
    evaluation = bestEvaluation;
    if (evaluation.isEmpty() && evaluator != null) {
      evaluation = evaluator.evaluate(network); // a process before this one judged it
      network.device().lossReset();
    }
    return taken[0];
  }
}
