package dev.graft;

import dev.graft.io.InvalidInputException;
import dev.graft.io.ModelDirectory;
import dev.graft.model.BertConfig;
import dev.graft.text.Tokenizer;
import dev.graft.train.TrainingOptions;
import dev.graft.train.Tuning;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.function.Supplier;

/**
 * How much a pretrained model helps when labels are few: it is fine-tuned on k examples a class,
 * and so is the same network from fresh weights, with the same examples, steps and choice of
 * learning rates; each with several draws of the examples. The learning rate is chosen by other
 * examples of the training set, as many again, never by the test set.
 *
 * <pre>
 *   FewLabelsResult result =
 *       FewLabels.of(Path.of("my-bert"), train, test).perClass(16, 64).seeds(5).run(trial -&gt; {});
 *   System.out.println(result.table());
 * </pre>
 *
 * @param model a model directory
 * @param train labelled examples to draw from, at least twice as many a class as are used
 * @param test what the accuracy is taken on
 * @param perClass how many examples a class, each of them once
 * @param seeds how many draws of each
 * @param learningRates to choose from; empty: half, once and twice the rate of {@link
 *     TrainingOptions#resolved}
 * @param training all else of the fits; its tuning is the pretrained model's alone, a fresh network
 *     trains as a whole. Its run directory must not be given
 * @param options of the models
 */
public record FewLabels(
    Path model,
    Dataset train,
    Dataset test,
    List<Integer> perClass,
    int seeds,
    List<Double> learningRates,
    TrainingOptions training,
    ModelOptions options) {

  /** What a network begins with. */
  public enum Beginning {
    PRETRAINED,
    FRESH
  }

  /**
   * One fit that has ended.
   *
   * @param seed 1, 2 …
   * @param accuracy on the validation examples
   */
  public record Trial(
      int perClass, int seed, Beginning beginning, double learningRate, double accuracy) {}

  /** Hears of each fit. */
  public interface Listener {
    void onTrial(Trial trial);
  }

  public FewLabels {
    Objects.requireNonNull(model, "model");
    Objects.requireNonNull(train, "train");
    Objects.requireNonNull(test, "test");
    Objects.requireNonNull(options, "options");
    perClass = List.copyOf(perClass);
    learningRates = List.copyOf(learningRates);
    require(
        !perClass.isEmpty() && perClass.stream().allMatch(k -> k >= 1),
        "perClass: expected numbers of at least 1, got " + perClass);
    require(seeds >= 1, "seeds: expected at least 1, got " + seeds);
    require(
        learningRates.stream().allMatch(rate -> rate > 0 && Double.isFinite(rate)),
        "learningRates: expected rates above 0, got " + learningRates);
    require(training.runDirectory() == null, "training: expected no runDirectory");
  }

  private static void require(boolean right, String what) {
    if (!right) {
      throw new InvalidInputException("few labels: " + what);
    }
  }

  /** With 16, 64 and 256 examples a class, 5 seeds. */
  public static FewLabels of(Path model, Dataset train, Dataset test) {
    return new FewLabels(
        model,
        train,
        test,
        List.of(16, 64, 256),
        5,
        List.of(),
        TrainingOptions.finetuning().build(),
        ModelOptions.defaults());
  }

  public FewLabels perClass(Integer... value) {
    return new FewLabels(
        model, train, test, List.of(value), seeds, learningRates, training, options);
  }

  public FewLabels seeds(int value) {
    return new FewLabels(model, train, test, perClass, value, learningRates, training, options);
  }

  public FewLabels learningRates(Double... value) {
    return new FewLabels(model, train, test, perClass, seeds, List.of(value), training, options);
  }

  public FewLabels training(TrainingOptions value) {
    return new FewLabels(model, train, test, perClass, seeds, learningRates, value, options);
  }

  public FewLabels options(ModelOptions value) {
    return new FewLabels(model, train, test, perClass, seeds, learningRates, training, value);
  }

  /**
   * Makes every fit.
   *
   * @return what was done when it was cancelled, or all of it
   * @throws InvalidInputException if a class has too few examples, or a file cannot be read
   */
  public FewLabelsResult run(Listener listener) {
    Path directory = ModelDirectory.resolve(model).path();
    List<String> classes = train.labels().names();
    // Every draw is looked at before the first fit: bad input costs no time.
    perClass.forEach(k -> train.perClass(k, k, 0));
    List<FewLabelsResult.Row> rows = new ArrayList<>();
    try (Tokenizer tokenizer = Tokenizer.fromPretrained(directory)) {
      BertConfig shape = shape(directory, classes);
      for (int k : perClass) {
        List<FewLabelsResult.Run> pretrained = new ArrayList<>();
        List<FewLabelsResult.Run> fresh = new ArrayList<>();
        for (int seed = 1; seed <= seeds; seed++) {
          ModelOptions seeded = options.withSeed(training.seed() + seed);
          Optional<FewLabelsResult.Run> one =
              fit(
                  k,
                  seed,
                  Beginning.PRETRAINED,
                  () -> BertForSequenceClassification.fromEncoder(directory, classes, seeded),
                  shape,
                  listener);
          Optional<FewLabelsResult.Run> other =
              one.flatMap(
                  run ->
                      fit(
                          k,
                          run.seed(),
                          Beginning.FRESH,
                          () -> BertForSequenceClassification.create(shape, tokenizer, seeded),
                          shape,
                          listener));
          if (other.isEmpty()) {
            return new FewLabelsResult(rows, true);
          }
          pretrained.add(one.get());
          fresh.add(other.get());
        }
        rows.add(new FewLabelsResult.Row(k, pretrained, fresh));
      }
    }
    return new FewLabelsResult(rows, false);
  }

  private BertConfig shape(Path directory, List<String> classes) {
    try (BertForSequenceClassification read =
        BertForSequenceClassification.fromEncoder(directory, classes, options)) {
      return (BertConfig) read.config();
    }
  }

  private Optional<FewLabelsResult.Run> fit(
      int k,
      int seed,
      Beginning beginning,
      Supplier<BertForSequenceClassification> begin,
      BertConfig shape,
      Listener listener) {
    Dataset.Split few = train.perClass(k, k, training.seed() + seed);
    TrainingOptions.Builder common =
        training.toBuilder().seed(training.seed() + seed).dtype(options.dtype());
    if (beginning == Beginning.FRESH) {
      common.tuning(Tuning.NONE);
    }
    int batches = Math.max(1, few.train().size() / training.batchSize());
    double usual = common.build().resolved(shape.channels(), batches).learningRate();
    List<Double> rates =
        learningRates.isEmpty() ? List.of(usual / 2, usual, 2 * usual) : learningRates;
    Optional<RateSearch.Best> best =
        RateSearch.run(
            begin,
            few.train(),
            few.validation(),
            rates,
            rate -> common.learningRate(rate).build(),
            (rate, accuracy) -> listener.onTrial(new Trial(k, seed, beginning, rate, accuracy)));
    if (best.isEmpty()) {
      return Optional.empty();
    }
    try (RateSearch.Best chosen = best.get()) {
      double accuracy = chosen.model().evaluate(test).get("accuracy");
      return Optional.of(new FewLabelsResult.Run(seed, chosen.rate(), chosen.accuracy(), accuracy));
    }
  }
}
