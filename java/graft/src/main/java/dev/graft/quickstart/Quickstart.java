package dev.graft.quickstart;

import dev.graft.data.LabelledExample;
import dev.graft.io.AtomicFiles;
import dev.graft.io.Json;
import dev.graft.model.TrainStep;
import dev.graft.quickstart.QuickstartResult.Arm;
import dev.graft.quickstart.QuickstartResult.Bert;
import dev.graft.quickstart.QuickstartResult.Gpt;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.text.Tokenizer;
import dev.graft.text.WordPieceTrainer;
import dev.graft.train.CancellationToken;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Collectors;

/**
 * Trains a GPT that writes and a BERT that reads, on texts that come with the library, and keeps
 * models, curves and figures in a folder:
 *
 * <pre>
 *   data/          the texts and the labelled questions, as files
 *   gpt/           run of the GPT: metrics.jsonl, loss.png, model/ …
 *   pretraining/   run of BERT's pretraining, the same
 *   transfer/      the pretrained BERT, fine-tuned: a model directory
 *   scratch/       the same network without pretraining, fine-tuned: a model directory
 *   fine-tuning.png, result.json
 * </pre>
 *
 * <p>Networks this small leave the threads of one product waiting for each other, so that two jobs
 * run side by side and each takes half of the threads. Their results do not depend on each other's
 * pace.
 */
public final class Quickstart {
  private final QuickstartOptions options;
  private final QuickstartListener listener;

  private Quickstart(QuickstartOptions options, QuickstartListener listener) {
    this.options = options;
    this.listener = new SerialListener(listener);
  }

  /**
   * Runs it.
   *
   * @return empty if it was cancelled
   * @throws dev.graft.io.InvalidInputException if the folder is not empty or cannot be written
   */
  public static Optional<QuickstartResult> run(
      QuickstartOptions options, QuickstartListener listener) {
    Corpora.requireEmpty(options.directory());
    try (CancellationToken.Listening listening = options.cancellation().listen()) {
      return new Quickstart(options, listener).run();
    }
  }

  private Optional<QuickstartResult> run() {
    int threads =
        options.threads() > 0 ? options.threads() : Runtime.getRuntime().availableProcessors();
    int jobs = Math.min(2, threads);
    DType dtype;
    String gemm;
    try (Device device = Device.cpu(1)) {
      dtype = TrainStep.defaultDType(device);
      gemm = device.gemm().description();
    }
    QuickstartRun run = new QuickstartRun(options, threads / jobs, dtype, listener);

    Path data = run.directory("data");
    GptJob gptJob = new GptJob(run, Corpora.tinyShakespeare(data));
    Banking77 banking = Banking77.load(data);
    Banking77.FewLabels few =
        banking.fewLabels(
            options.scale().labelsPerClass(), options.scale().validationPerClass(), run.seed());
    LabelledFiles.write(data.resolve("few-labels.csv"), few.train());
    LabelledFiles.write(data.resolve("few-labels-validation.csv"), few.validation());
    Path questions = data.resolve("questions.txt");
    AtomicFiles.write(
        questions,
        banking.train().stream()
            .map(LabelledExample::text)
            .collect(Collectors.joining("\n", "", "\n")));
    Path tokenizer = run.directory("tokenizer");
    try (Tokenizer words =
        WordPieceTrainer.train(List.of(questions), BertJobs.VOCABULARY, 2, true)) {
      words.savePretrained(tokenizer);
    }
    BertJobs bertJobs = new BertJobs(run, questions, tokenizer, banking, few);
    listener.onPrepared(
        new QuickstartPlan(
            options.directory(),
            run.seed(),
            threads,
            jobs,
            dtype.label(),
            gemm,
            data.resolve("tiny-shakespeare.txt").toFile().length(),
            banking.train().size(),
            banking.labels().size(),
            few.train().size(),
            few.validation().size(),
            banking.test().size(),
            options.scale()));
    return train(jobs, gptJob, bertJobs);
  }

  private Optional<QuickstartResult> train(int jobs, GptJob gptJob, BertJobs bertJobs) {
    ExecutorService workers = Executors.newFixedThreadPool(jobs);
    try {
      // Jobs begin in this order, so that none waits for one that has not begun.
      final Future<Gpt> gpt = workers.submit(guarded(() -> gpt(gptJob)));
      long start = System.nanoTime();
      final Future<Path> pretraining = workers.submit(guarded(bertJobs::pretrain));
      final Future<Arm> scratch =
          workers.submit(guarded(() -> cancelled() ? null : bertJobs.scratch()));
      final Future<Arm> transfer =
          workers.submit(
              guarded(
                  () -> {
                    Path pretrained = pretraining.get();
                    return pretrained == null || cancelled() ? null : bertJobs.transfer(pretrained);
                  }));
      Path pretrained = get(pretraining);
      Arm transferred = get(transfer);
      Arm fresh = get(scratch);
      double seconds = (System.nanoTime() - start) / 1e9;
      Gpt written = get(gpt);
      return written == null || pretrained == null || transferred == null || fresh == null
          ? Optional.empty()
          : Optional.of(finish(written, pretrained, transferred, fresh, seconds));
    } finally {
      workers.shutdown();
    }
  }

  private Gpt gpt(GptJob job) {
    Gpt gpt = cancelled() ? null : job.call();
    if (gpt != null) {
      listener.onGpt(gpt);
    }
    return gpt;
  }

  private boolean cancelled() {
    return options.cancellation().isCancelled();
  }

  /** A failed job ends the others, too. */
  private <T> Callable<T> guarded(Callable<T> job) {
    return () -> {
      try {
        return job.call();
      } catch (Exception | Error e) {
        options.cancellation().cancel();
        throw e;
      }
    };
  }

  private static <T> T get(Future<T> job) {
    try {
      return job.get();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException("interrupted", e);
    } catch (ExecutionException e) {
      Throwable cause = e.getCause();
      // One job waits for another: the failure is the first one's.
      while (cause instanceof ExecutionException) {
        cause = cause.getCause();
      }
      if (cause instanceof RuntimeException failure) {
        throw failure;
      }
      if (cause instanceof Error failure) {
        throw failure;
      }
      throw new IllegalStateException(cause);
    }
  }

  private QuickstartResult finish(
      Gpt gpt, Path pretrained, Arm transfer, Arm scratch, double seconds) {
    Path directory = options.directory();
    Path picture = directory.resolve("fine-tuning.png");
    FineTuningCurves.write(transfer, scratch, picture);
    Bert bert =
        new Bert(
            transfer,
            scratch,
            seconds,
            pretrained,
            directory.resolve("pretraining").resolve("loss.png"),
            picture);
    QuickstartResult result = new QuickstartResult(gpt, bert, directory);
    AtomicFiles.write(directory.resolve("result.json"), Json.pretty(result.toJson()));
    return result;
  }
}
