package dev.graft;

import dev.graft.data.Example;
import dev.graft.data.ExampleSource;
import dev.graft.io.InvalidInputException;
import dev.graft.io.ModelDirectory;
import dev.graft.model.ModelConfig;
import dev.graft.model.Network;
import dev.graft.model.Task;
import dev.graft.train.Evaluator;
import dev.graft.train.Trainer;
import dev.graft.train.TrainingOptions;
import dev.graft.train.TrainingResult;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * An encoder (BERT, RoBERTa, DistilBERT) with the head of one task. A directory whose model has
 * that head gives it; of any other the encoder is taken, and {@code fit} trains a new head.
 */
public abstract sealed class TaskModel extends PreTrainedModel
    permits BertForTokenClassification, BertForQuestionAnswering, BertForMultipleChoice {
  /** Examples computed together where nothing is trained. */
  static final int BATCH_SIZE = 16;

  private final Task task;

  TaskModel(Parts parts, Task task) {
    super(parts);
    this.task = task;
  }

  /**
   * Reads a model directory, with the head if it has the one of the task.
   *
   * @param task null to leave any head behind
   */
  static Parts parts(Path directory, Task task, ModelOptions options) {
    Path path = ModelDirectory.resolve(directory).path();
    Task stored = task != null && taskOf(path) == task ? task : Task.BASE;
    return Parts.read(
        options,
        path,
        ENCODERS,
        device -> Network.load(device, path, stored, options.dtype(), null, options.seed()));
  }

  /** Whether there is a head to apply. */
  final boolean hasHead() {
    return network().task() == task;
  }

  final void requireHead() {
    if (!hasHead()) {
      throw new IllegalStateException(
          "this model has no trained head yet: fit it first, or read a model that has one");
    }
  }

  /**
   * Trains on examples.
   *
   * @param evaluator may be null
   * @param truncated texts that were cut
   */
  final FitResult train(
      ModelConfig config,
      List<? extends Example> examples,
      Evaluator evaluator,
      TrainingOptions options,
      long truncated) {
    ExampleSource source =
        new ExampleSource(task.name(), examples, options.batchSize(), 0, true, options.seed());
    become(config, task, options.dtype(), options.seed());
    try (Evaluator judge = evaluator) {
      TrainingResult result =
          new Trainer(network(), source, tokenizer()::savePretrained, judge, options).run();
      return new FitResult(result, truncated, config.labels());
    } finally {
      network().disableTraining();
    }
  }

  /** Judges the model; {@code truncated} is one of the metrics. */
  final Map<String, Double> judge(Evaluator evaluator, long truncated) {
    synchronized (network().device()) {
      try (Evaluator judge = evaluator) {
        Map<String, Double> metrics = new LinkedHashMap<>(judge.evaluate(network()));
        metrics.put("truncated", (double) truncated);
        return metrics;
      }
    }
  }

  /** Refuses an empty set. */
  static void requireAny(List<?> examples) {
    if (examples.isEmpty()) {
      throw new InvalidInputException("the data set: there are no examples in it");
    }
  }
}
