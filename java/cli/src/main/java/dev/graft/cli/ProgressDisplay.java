package dev.graft.cli;

import dev.graft.train.EvalEvent;
import dev.graft.train.StepEvent;
import dev.graft.train.TrainingListener;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Optional;
import me.tongfei.progressbar.ConsoleProgressBarConsumer;
import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressBarStyle;

/**
 * A run's course on standard error: a bar on a terminal, elsewhere a line every few seconds; with
 * loss, tokens a second and the time left.
 */
final class ProgressDisplay implements TrainingListener, AutoCloseable {
  private static final long LINE_EVERY_NANOS = 5_000_000_000L;
  private static final int REDRAW_MILLIS = 250;

  private final PrintWriter err;
  private final boolean terminal;
  private final int width;
  private ProgressBar bar;
  private PrintStream screen;
  private StepEvent shown;
  private StepEvent last;
  private long shownAt;

  ProgressDisplay(PrintWriter err) {
    this.err = err;
    this.terminal = Terminal.isStandardError();
    this.width = terminal ? Terminal.width() : 0;
  }

  @Override
  public void onPrepare(String what) {
    line(what);
  }

  @Override
  public void onResume(Path checkpoint, long step) {
    line(String.format("going on after step %,d from %s", step, checkpoint));
  }

  @Override
  public void onStep(StepEvent event) {
    last = event;
    if (terminal) {
      if (bar == null) {
        open(event);
      }
      bar.setExtraMessage(
          String.format(" loss %.4f, %s tokens/s", event.loss(), rate(event.tokensPerSecond())));
      bar.stepTo(event.step());
    } else {
      long now = System.nanoTime();
      boolean ends = event.step() == event.totalSteps();
      if (shown == null || ends || now - shownAt >= LINE_EVERY_NANOS) {
        show(event);
        shownAt = now;
      }
    }
  }

  private void show(StepEvent event) {
    shown = event;
    line(
        String.format(
            "step %,d/%,d  loss %.4f  %s tokens/s%s",
            event.step(),
            event.totalSteps(),
            event.loss(),
            rate(event.tokensPerSecond()),
            event.step() == event.totalSteps()
                ? "  after " + time(event.elapsedSeconds())
                : Double.isNaN(event.secondsLeft())
                    ? ""
                    : "  " + time(event.secondsLeft()) + " left"));
  }

  @Override
  public void onEvaluation(EvalEvent event) {
    StringBuilder text = new StringBuilder(String.format("step %,d  validation:", event.step()));
    event.metrics().forEach((name, value) -> text.append("  ").append(metric(name, value)));
    line(text.append(event.best() ? "  (best)" : "").toString());
  }

  /** {@code "accuracy 0.9134"}; counts without decimals. */
  static String metric(String name, double value) {
    return name
        + " "
        + (value == Math.rint(value) && Math.abs(value) > 1
            ? String.format("%,.0f", value)
            : String.format("%.4f", value));
  }

  private void open(StepEvent event) {
    screen =
        new PrintStream(new FileOutputStream(FileDescriptor.err), true, StandardCharsets.UTF_8);
    bar =
        new ProgressBarBuilder()
            .setTaskName("training")
            .setInitialMax(event.totalSteps())
            .setStyle(ProgressBarStyle.ASCII)
            .setUpdateIntervalMillis(REDRAW_MILLIS)
            .setEtaFunction(state -> left())
            .setConsumer(new ConsoleProgressBarConsumer(screen, width - 1))
            .startsFrom(event.step(), Duration.ofSeconds((long) event.elapsedSeconds()))
            .build();
  }

  private Optional<Duration> left() {
    StepEvent event = last;
    return event == null || Double.isNaN(event.secondsLeft())
        ? Optional.empty()
        : Optional.of(Duration.ofSeconds((long) event.secondsLeft()));
  }

  /** A line above the bar. */
  private void line(String text) {
    if (bar != null) {
      // One write, so that a redraw from the bar's own thread cannot fall between.
      screen.print("\r" + text + " ".repeat(Math.max(0, width - 1 - text.length())) + "\n");
      bar.refresh();
    } else {
      err.println(text);
      err.flush();
    }
  }

  private static String rate(double perSecond) {
    return Double.isNaN(perSecond) ? "?" : String.format("%,.0f", perSecond);
  }

  /** {@code 1:02:03} or {@code 2:03}. */
  static String time(double seconds) {
    long s = Math.round(seconds);
    return s >= 3600
        ? String.format("%d:%02d:%02d", s / 3600, s / 60 % 60, s % 60)
        : String.format("%d:%02d", s / 60, s % 60);
  }

  @Override
  public void close() {
    if (bar != null) {
      bar.close();
    } else if (last != null && last != shown) {
      show(last);
    }
  }
}
