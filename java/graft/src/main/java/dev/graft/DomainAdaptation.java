package dev.graft;

import dev.graft.data.Corpus;
import dev.graft.model.Task;
import dev.graft.runtime.DType;
import dev.graft.train.Pretraining;
import dev.graft.train.PretrainingSettings;
import dev.graft.train.RunSettings;
import dev.graft.train.Schedule;
import dev.graft.train.TrainingListener;
import dev.graft.train.TrainingOptions;
import dev.graft.train.TrainingResult;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;

/**
 * Continued pretraining before a fine-tuning (Gururangan et al., "Don't stop pretraining",
 * arXiv:2004.10964): the model reads texts of its new field, unlabelled, by masked words, at the
 * rate of a fine-tuning.
 *
 * <pre>
 *   Path adapted = DomainAdaptation.of(Path.of("bert-base-uncased"), Corpus.of(texts), out).run();
 *   try (var model = BertForSequenceClassification.fromPretrained(adapted)) { … }
 * </pre>
 *
 * @param model a BERT's directory
 * @param texts to read, in files
 * @param epochs passes over them
 * @param directory of the run; what was begun there is gone on with, what is done there is not done
 *     again
 * @param training how it trains, its run directory replaced by {@code directory}
 * @param threads CPU threads; 0 for all
 */
public record DomainAdaptation(
    Path model,
    Corpus texts,
    double epochs,
    Path directory,
    TrainingOptions training,
    int threads) {

  /** Three passes. */
  public static DomainAdaptation of(Path model, Corpus texts, Path directory) {
    return new DomainAdaptation(model, texts, 3, directory, recipe(DType.FLOAT32).build(), 0);
  }

  /** Batches of 32, a rate by the network's width that falls linearly to 0, decay 0.01. */
  public static TrainingOptions.Builder recipe(DType dtype) {
    return TrainingOptions.pretraining()
        .minLearningRate(0)
        .learningRate(0)
        .schedule(Schedule.LINEAR)
        .warmupRatio(0.06)
        .weightDecay(0.01)
        .saveEvery(500)
        .dtype(dtype);
  }

  public DomainAdaptation epochs(double value) {
    return new DomainAdaptation(model, texts, value, directory, training, threads);
  }

  public DomainAdaptation training(TrainingOptions value) {
    return new DomainAdaptation(model, texts, epochs, directory, value, threads);
  }

  public DomainAdaptation threads(int value) {
    return new DomainAdaptation(model, texts, epochs, directory, training, value);
  }

  /**
   * Runs it.
   *
   * @return the adapted model's directory, or null if it was cancelled
   * @throws dev.graft.io.InvalidInputException if a file cannot be used, or the directory holds a
   *     run by other settings
   */
  public Path run() {
    return read().map(TrainingResult::cancelled).orElse(false)
            || training.cancellation().isCancelled()
        ? null
        : modelDirectory();
  }

  /** Where the adapted model lies once it is there. */
  public Path modelDirectory() {
    return directory.resolve("model");
  }

  /**
   * As {@link #run}, telling how the reading ended; empty if it was done before.
   *
   * @throws dev.graft.io.InvalidInputException as there
   */
  public Optional<TrainingResult> read() {
    boolean begun = Files.isRegularFile(RunSettings.file(directory));
    TrainingListener listener = training.listener();
    PretrainingSettings settings =
        PretrainingSettings.further(
                model,
                Task.MASKED_LM,
                texts,
                training.toBuilder().epochs(epochs).runDirectory(directory).resume(begun).build())
            .withThreads(threads);
    if (begun) {
      settings.requireSame(directory);
      if (Files.isDirectory(modelDirectory())) {
        return Optional.empty();
      }
    }
    listener.onPrepare("reading " + texts + " before the fine-tuning");
    return Optional.of(Pretraining.run(settings));
  }
}
