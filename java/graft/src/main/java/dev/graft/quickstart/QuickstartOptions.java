package dev.graft.quickstart;

import dev.graft.train.CancellationToken;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;

/**
 * A quickstart.
 *
 * @param directory where everything goes: a new or empty folder
 * @param seed of weights, batches, masks and the choice of labelled questions
 * @param threads CPU threads; 0 for all
 * @param scale how much is trained
 * @param cancellation ends it early
 */
public record QuickstartOptions(
    Path directory, long seed, int threads, Scale scale, CancellationToken cancellation) {

  public QuickstartOptions {
    Objects.requireNonNull(directory, "directory");
    Objects.requireNonNull(scale, "scale");
    Objects.requireNonNull(cancellation, "cancellation");
    if (threads < 0) {
      throw new IllegalArgumentException(
          "quickstart: threads: expected at least 0, got " + threads);
    }
  }

  /** The whole of it with all threads. */
  public static QuickstartOptions of(Path directory, long seed) {
    return new QuickstartOptions(directory, seed, 0, Scale.full(), new CancellationToken());
  }

  /**
   * How much is trained.
   *
   * @param gptSteps steps of the GPT
   * @param pretrainingEpochs passes of BERT over the unlabelled questions
   * @param fineTuningEpochs passes over the labelled ones
   * @param labelsPerClass labelled questions an intent to train on
   * @param validationPerClass labelled questions an intent to choose the learning rate by
   * @param learningRates of fine-tuning, to choose from
   * @param sampleLength characters the GPT writes
   */
  public record Scale(
      long gptSteps,
      double pretrainingEpochs,
      double fineTuningEpochs,
      int labelsPerClass,
      int validationPerClass,
      List<Double> learningRates,
      int sampleLength) {
    public Scale {
      learningRates = List.copyOf(learningRates);
      if (learningRates.isEmpty()) {
        throw new IllegalArgumentException("quickstart: expected at least one learning rate");
      }
    }

    /** What the README promises: a few minutes on two cores. */
    public static Scale full() {
      return new Scale(2_000, 34, 40, 10, 10, List.of(5e-4, 1e-3, 2e-3), 500);
    }
  }
}
