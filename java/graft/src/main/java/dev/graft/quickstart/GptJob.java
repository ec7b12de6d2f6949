package dev.graft.quickstart;

import dev.graft.FitResult;
import dev.graft.GPT2LMHeadModel;
import dev.graft.ModelOptions;
import dev.graft.apply.GenerationOptions;
import dev.graft.data.CausalSource.Sampling;
import dev.graft.data.Corpus;
import dev.graft.model.Gpt2Config;
import dev.graft.quickstart.QuickstartResult.Gpt;
import dev.graft.text.CharTrainer;
import dev.graft.text.Tokenizer;
import dev.graft.train.CorpusOptions;
import dev.graft.train.EvalEvent;
import dev.graft.train.Schedule;
import dev.graft.train.StepEvent;
import dev.graft.train.TrainingListener;
import dev.graft.train.TrainingOptions;
import java.nio.file.Path;
import java.util.List;

/**
 * A character GPT on tiny Shakespeare by the CPU recipe of <a
 * href="https://github.com/karpathy/nanoGPT">nanoGPT</a>: 4 layers, 4 heads, 128 channels, 64
 * characters of context, batches of 12, no dropout. Trained on the first 90 % of the text, judged
 * on all of the rest.
 */
final class GptJob {
  private static final int CONTEXT = 64;
  private static final String PROMPT = "ROMEO:";

  private final QuickstartRun run;
  private final Path text;

  GptJob(QuickstartRun run, Path text) {
    this.run = run;
    this.text = text;
  }

  /** Trains and writes; null if cancelled. */
  Gpt call() {
    long start = System.nanoTime();
    Path directory = run.directory("gpt");
    Gpt2Config shape = Gpt2Config.of(0, CONTEXT, 128, 4, 4).withDropout(0, 0, 0);
    CorpusOptions corpus =
        CorpusOptions.defaults()
            .withSampling(Sampling.RANDOM)
            .withValidationShare(0.1)
            .withEvalBatchSize(64);
    long steps = run.scale().gptSteps();
    TrainingOptions training =
        TrainingOptions.pretraining()
            .steps(steps)
            .batchSize(12)
            .learningRate(1e-3)
            .minLearningRate(1e-4)
            .schedule(Schedule.COSINE)
            .warmupSteps(100)
            .weightDecay(0.1)
            .beta2(0.99)
            .clip(1)
            .seed(run.seed())
            .dtype(run.dtype())
            .logEvery((int) Math.max(1, steps / 20))
            .evalEvery(500)
            .runDirectory(directory)
            .cancellation(run.cancellation())
            .listener(
                new TrainingListener() {
                  @Override
                  public void onStep(StepEvent event) {
                    run.listener().onStep(Job.GPT, event);
                  }

                  @Override
                  public void onEvaluation(EvalEvent event) {
                    run.listener().onValidation(event.step(), event.metrics().get("loss"));
                  }
                })
            .build();
    ModelOptions options = run.modelOptions();
    try (Tokenizer tokenizer = CharTrainer.train(List.of(text), 0);
        GPT2LMHeadModel model = GPT2LMHeadModel.create(shape, tokenizer, options)) {
      FitResult result = model.fit(Corpus.of(text), null, corpus, training);
      if (result.cancelled()) {
        return null;
      }
      String written =
          model.generate(
              PROMPT,
              new GenerationOptions(
                  run.scale().sampleLength(), 0.8, 0, 1, 1, run.seed(), List.of()));
      return new Gpt(
          model.parameterCount(),
          result.validation().get("loss"),
          (System.nanoTime() - start) / 1e9,
          PROMPT,
          written,
          result.training().modelDirectory(),
          directory.resolve("loss.png"));
    }
  }
}
