package dev.graft.quickstart;

import dev.graft.BertForMaskedLM;
import dev.graft.BertForSequenceClassification;
import dev.graft.Dataset;
import dev.graft.FitResult;
import dev.graft.RateSearch;
import dev.graft.apply.Prediction;
import dev.graft.data.Corpus;
import dev.graft.data.DocumentMode;
import dev.graft.model.BertConfig;
import dev.graft.quickstart.QuickstartResult.Answer;
import dev.graft.quickstart.QuickstartResult.Arm;
import dev.graft.quickstart.QuickstartResult.Point;
import dev.graft.text.Tokenizer;
import dev.graft.train.CorpusOptions;
import dev.graft.train.EvalEvent;
import dev.graft.train.Schedule;
import dev.graft.train.StepEvent;
import dev.graft.train.TrainingListener;
import dev.graft.train.TrainingOptions;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Supplier;

/**
 * A small BERT on Banking77: pretrained on all training questions without their labels, then
 * fine-tuned on a few labelled ones; beside it the same network from fresh weights, with the same
 * questions, steps and choice of learning rates.
 */
final class BertJobs {
  static final int VOCABULARY = 2_000;

  /** The longest question has 88 tokens. */
  private static final int POSITIONS = 96;

  private static final String MASKED_QUESTION = "my new [MASK] has not arrived yet";

  static final List<String> QUESTIONS =
      List.of(
          "Someone stole my wallet, please block my card!",
          "The machine gave me less money than I asked for",
          "Which currencies do you handle?");

  private final QuickstartRun run;
  private final Path questions;
  private final Path tokenizer;
  private final Banking77 data;
  private final Dataset train;
  private final Dataset validation;

  /**
   * @param questions file of the unlabelled questions, one a line
   * @param tokenizer directory of the tokenizer
   */
  BertJobs(
      QuickstartRun run, Path questions, Path tokenizer, Banking77 data, Banking77.FewLabels few) {
    this.run = run;
    this.questions = questions;
    this.tokenizer = tokenizer;
    this.data = data;
    this.train = Dataset.of(few.train());
    this.validation = Dataset.of(few.validation());
  }

  private static BertConfig shape() {
    return BertConfig.of(0, POSITIONS, 128, 2, 4, 512);
  }

  /** Pretrains by masked words; the model directory, or null if cancelled. */
  Path pretrain() {
    Path directory = run.directory("pretraining");
    TrainingOptions training =
        TrainingOptions.pretraining()
            .epochs(run.scale().pretrainingEpochs())
            .batchSize(64)
            .learningRate(1.5e-3)
            .minLearningRate(7.5e-5)
            .schedule(Schedule.LINEAR)
            .warmupRatio(0.05)
            .weightDecay(0.01)
            .beta2(0.98)
            .seed(run.seed())
            .dtype(run.dtype())
            .logEvery(100)
            .runDirectory(directory)
            .cancellation(run.cancellation())
            .listener(steps(Job.PRETRAINING))
            .build();
    try (Tokenizer words = Tokenizer.fromPretrained(tokenizer);
        BertForMaskedLM model = BertForMaskedLM.create(shape(), words, run.modelOptions())) {
      FitResult result =
          model.fit(
              Corpus.of(questions).documents(DocumentMode.LINE),
              null,
              CorpusOptions.defaults(),
              training);
      if (result.cancelled()) {
        return null;
      }
      Map<String, Double> guesses = new LinkedHashMap<>();
      for (Prediction.Scored word : model.fillMask(MASKED_QUESTION, 3).get(0)) {
        guesses.put(word.name(), word.probability());
      }
      run.listener().onPretrained(result.loss(), MASKED_QUESTION, guesses);
      return result.training().modelDirectory();
    }
  }

  private TrainingListener steps(Job job) {
    return new TrainingListener() {
      @Override
      public void onStep(StepEvent event) {
        run.listener().onStep(job, event);
      }
    };
  }

  /** Fine-tunes a fresh network; null if cancelled. */
  Arm scratch() {
    try (Tokenizer words = Tokenizer.fromPretrained(tokenizer)) {
      return fineTune(
          Job.SCRATCH,
          () -> BertForSequenceClassification.create(shape(), words, run.modelOptions()));
    }
  }

  /** Fine-tunes the pretrained network; null if cancelled. */
  Arm transfer(Path pretrained) {
    return fineTune(
        Job.TRANSFER,
        () -> BertForSequenceClassification.fromPretrained(pretrained, run.modelOptions()));
  }

  /** Once with each learning rate; the best on the validation questions goes to the test. */
  private Arm fineTune(Job job, Supplier<BertForSequenceClassification> beginning) {
    Map<Double, List<Point>> curves = new HashMap<>();
    Optional<RateSearch.Best> found =
        RateSearch.run(
            beginning,
            train,
            validation,
            run.scale().learningRates(),
            rate -> fineTuning(job, rate, curves.computeIfAbsent(rate, r -> new ArrayList<>())),
            (rate, accuracy) -> run.listener().onTrial(job, rate, accuracy));
    if (found.isEmpty()) {
      return null;
    }
    try (RateSearch.Best best = found.get()) {
      Path directory = run.directory(job.label());
      best.model().savePretrained(directory);
      return new Arm(
          best.rate(),
          best.accuracy(),
          best.model().evaluate(Dataset.of(data.test())).get("accuracy"),
          List.copyOf(curves.get(best.rate())),
          directory,
          answers(best.model()));
    }
  }

  private TrainingOptions fineTuning(Job job, double rate, List<Point> curve) {
    int batch = 32;
    double stepsInAll =
        run.scale().fineTuningEpochs() * (train.size() / Math.min(batch, train.size()));
    return TrainingOptions.finetuning()
        .epochs(run.scale().fineTuningEpochs())
        .batchSize(batch)
        .learningRate(rate)
        .seed(run.seed())
        .dtype(run.dtype())
        .logEvery(100)
        .evalEvery(Math.max(1, Math.round(stepsInAll / 10)))
        .loadBest(false)
        .cancellation(run.cancellation())
        .listener(
            new TrainingListener() {
              @Override
              public void onStep(StepEvent event) {
                run.listener().onStep(job, event);
              }

              @Override
              public void onEvaluation(EvalEvent event) {
                curve.add(new Point(event.step(), event.metrics().get("accuracy")));
              }
            })
        .build();
  }

  private static List<Answer> answers(BertForSequenceClassification model) {
    List<Answer> answers = new ArrayList<>();
    for (String question : QUESTIONS) {
      answers.add(new Answer(question, model.predict(question).classes().get(0)));
    }
    return answers;
  }
}
