package dev.graft.cli;

import dev.graft.quickstart.Job;
import dev.graft.quickstart.QuickstartListener;
import dev.graft.quickstart.QuickstartPlan;
import dev.graft.quickstart.QuickstartResult;
import dev.graft.quickstart.QuickstartResult.Answer;
import dev.graft.quickstart.QuickstartResult.Arm;
import dev.graft.quickstart.QuickstartResult.Bert;
import dev.graft.quickstart.QuickstartResult.Gpt;
import dev.graft.train.StepEvent;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

/** A quickstart told to a person: what happens, why, how far it is, what came of it. */
final class QuickstartStory implements QuickstartListener {
  private static final long EVERY_NANOS = 8_000_000_000L;

  private final PrintWriter out;
  private final Map<Job, Long> shownAt = new EnumMap<>(Job.class);
  private final long start = System.nanoTime();
  private long stepsOfGpt;
  private double validation = Double.NaN;

  QuickstartStory(PrintWriter out) {
    this.out = out;
  }

  private void say(String format, Object... arguments) {
    out.println(String.format(format, arguments));
    out.flush();
  }

  @Override
  public void onPrepared(QuickstartPlan plan) {
    say("");
    say(
        "Two small transformers learn side by side (%d thread%s, %s, %s, seed %d).",
        plan.threads(), plan.threads() == 1 ? "" : "s", plan.dtype(), plan.gemm(), plan.seed());
    say("On two quiet cores this takes about three minutes.");
    say("");
    say("(a) A GPT learns to write. It reads 90 %% of the %,d letters of tiny", plan.characters());
    say(
        "    Shakespeare, 64 at a time, and guesses each next one. Knowing nothing costs a loss of");
    say(
        "    ln 66 = 4.19 a letter; what counts is the loss on the last 10 %%, which it never reads.");
    say("");
    say(
        "(b) A BERT learns to read. First it reads %,d questions put to a bank, none",
        plan.questions());
    say(
        "    with a label, and guesses words that were hidden. Then it learns to tell %d",
        plan.intents());
    say(
        "    intents from %d labelled questions each. The same network without that reading learns",
        plan.scale().labelsPerClass());
    say("    from the same labels: the difference is what transfer learning is for.");
    say("");
    stepsOfGpt = plan.scale().gptSteps();
  }

  private String elapsed() {
    return ProgressDisplay.time((System.nanoTime() - start) / 1e9);
  }

  private static String name(Job job) {
    return switch (job) {
      case GPT -> "(a) GPT";
      case PRETRAINING -> "(b) BERT, reading";
      case SCRATCH -> "(b) BERT, from scratch";
      case TRANSFER -> "(b) BERT, pretrained";
    };
  }

  @Override
  public void onStep(Job job, StepEvent event) {
    if (job == Job.SCRATCH || job == Job.TRANSFER) {
      return; // seconds each: their outcome is told
    }
    long now = System.nanoTime();
    Long before = shownAt.get(job);
    if (before != null && now - before < EVERY_NANOS && event.step() < event.totalSteps()) {
      return;
    }
    shownAt.put(job, now);
    say(
        "%6s  %-22s  step %,6d of %,6d   loss %.3f%s",
        elapsed(),
        name(job),
        event.step(),
        event.totalSteps(),
        event.loss(),
        event.step() == event.totalSteps() || Double.isNaN(event.secondsLeft())
            ? ""
            : "   " + ProgressDisplay.time(event.secondsLeft()) + " left");
  }

  @Override
  public void onValidation(long step, double loss) {
    validation = loss;
    if (step < stepsOfGpt) {
      say("%6s  %-22s  on text it never read: loss %.3f", elapsed(), name(Job.GPT), loss);
    }
  }

  @Override
  public void onTrial(Job arm, double learningRate, double validationAccuracy) {
    say(
        "%6s  %-22s  learning rate %.0e: %.1f %% of the validation questions right",
        elapsed(), name(arm), learningRate, 100 * validationAccuracy);
  }

  @Override
  public void onPretrained(double loss, String question, Map<String, Double> words) {
    say(
        "%6s  %-22s  \"%s\": %s",
        elapsed(),
        name(Job.PRETRAINING),
        question,
        words.entrySet().stream()
            .map(e -> String.format("%s %.0f %%", e.getKey(), 100 * e.getValue()))
            .collect(Collectors.joining(", ")));
  }

  @Override
  public void onGpt(Gpt gpt) {
    say("");
    say(
        "(a) The GPT (%,d numbers) is done: loss %.3f a letter on the whole validation text,",
        gpt.parameters(), validation);
    say("    after %s. It writes:", ProgressDisplay.time(gpt.seconds()));
    say("");
    for (String line : (gpt.prompt() + gpt.text()).split("\n", -1)) {
      out.println("      " + line);
    }
    say("");
  }

  /** What came of it, where it lies, what to try. */
  void end(QuickstartResult result) {
    Bert bert = result.bert();
    say("");
    say("(b) Both BERTs on the test questions, which no one has read:");
    say("");
    say("      %-14s  %13s  %10s  %6s", "", "learning rate", "validation", "test");
    row("pretrained", bert.transfer());
    row("from scratch", bert.scratch());
    say("      %-14s  %13s  %10s  %+5.1f points", "gain", "", "", bert.gain());
    say("");
    say("    Questions from outside the data set, and how sure each answer is:");
    say("");
    List<Answer> pretrained = bert.transfer().answers();
    List<Answer> scratch = bert.scratch().answers();
    for (int i = 0; i < pretrained.size(); i++) {
      say("      \"%s\"", pretrained.get(i).question());
      say("        pretrained    %s", answer(pretrained.get(i)));
      say("        from scratch  %s", answer(scratch.get(i)));
    }
    say("");
    Path directory = result.directory();
    say("Done in %s. All of it is in %s:", elapsed(), directory);
    say("");
    file(directory, result.gpt().picture(), "loss of the GPT, in training and validation");
    file(directory, bert.pretrainingPicture(), "loss of BERT's reading");
    file(directory, bert.picture(), "accuracy of both BERTs while they learn intents");
    file(directory, result.gpt().model(), "model that writes");
    file(directory, bert.pretrained(), "model that fills masks");
    file(directory, bert.transfer().model(), "model that tells intents");
    file(directory, bert.scratch().model(), "the same, which never read");
    file(directory, directory.resolve("data"), "the texts and labelled questions");
    file(directory, directory.resolve("result.json"), "the figures");
    say("");
    say("Next:");
    String graft = System.getProperty("graft.command", "graft");
    say("      %s generate --model %s \"JULIET:\"", graft, as(directory, result.gpt().model()));
    say(
        "      %s predict --model %s \"I cannot find my card\"",
        graft, as(directory, bert.transfer().model()));
    say(
        "      %s fill-mask --model %s \"when will my [MASK] arrive?\"",
        graft, as(directory, bert.pretrained()));
    say("      %s pretrain --help", graft);
  }

  private void row(String name, Arm arm) {
    say(
        "      %-14s  %13s  %8.1f %%  %4.1f %%",
        name,
        String.format("%.0e", arm.learningRate()),
        100 * arm.validationAccuracy(),
        100 * arm.testAccuracy());
  }

  private static String answer(Answer answer) {
    return String.format(
        "%s (%.0f %%)", answer.intent().name(), 100 * answer.intent().probability());
  }

  private void file(Path directory, Path file, String what) {
    say("      %-20s  %s", below(directory, file), what);
  }

  /** Files of trainings are absolute, whatever the folder was called by. */
  private static Path below(Path directory, Path file) {
    return directory.toAbsolutePath().relativize(file.toAbsolutePath());
  }

  /** The file by the folder's name as it was given. */
  private static Path as(Path directory, Path file) {
    return directory.resolve(below(directory, file));
  }
}
