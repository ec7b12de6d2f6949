package dev.graft;

import dev.graft.train.TrainingOptions;
import java.util.List;
import java.util.Optional;
import java.util.function.DoubleFunction;
import java.util.function.Supplier;

/**
 * Fine-tunes a classifier once with each of some learning rates, and keeps the one with the best
 * accuracy on the validation set.
 */
public final class RateSearch {
  /** Hears of each fit. */
  public interface Listener {
    void onTrial(double rate, double accuracy);
  }

  /**
   * The best of them.
   *
   * @param model the caller's to close
   * @param rate its learning rate
   * @param accuracy on the validation set
   */
  public record Best(BertForSequenceClassification model, double rate, double accuracy)
      implements AutoCloseable {
    @Override
    public void close() {
      model.close();
    }
  }

  private RateSearch() {}

  /**
   * Runs the fits one after the other.
   *
   * @param beginning makes the model each fit begins with
   * @param rates at least one
   * @param options of the fit with a rate
   * @return empty if a fit was cancelled
   */
  public static Optional<Best> run(
      Supplier<BertForSequenceClassification> beginning,
      Dataset train,
      Dataset validation,
      List<Double> rates,
      DoubleFunction<TrainingOptions> options,
      Listener listener) {
    Best best = null;
    boolean done = false;
    try {
      for (double rate : rates) {
        BertForSequenceClassification model = beginning.get();
        Best trial = new Best(model, rate, -1);
        try {
          FitResult result = model.fit(train, validation, options.apply(rate));
          if (result.cancelled()) {
            return Optional.empty();
          }
          double accuracy = result.validation().get("accuracy");
          listener.onTrial(rate, accuracy);
          if (best == null || accuracy > best.accuracy()) {
            Best worse = best;
            best = new Best(model, rate, accuracy);
            trial = worse;
          }
        } finally {
          if (trial != null) {
            trial.close();
          }
        }
      }
      done = true;
      return Optional.of(best);
    } finally {
      if (!done && best != null) {
        best.close();
      }
    }
  }
}
