package dev.graft.cli;

import dev.graft.io.HubListener;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import me.tongfei.progressbar.ConsoleProgressBarConsumer;
import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressBarStyle;

/** A download's course on standard error: a bar on a terminal, elsewhere a line now and then. */
final class DownloadDisplay implements HubListener {
  private static final long LINE_EVERY_NANOS = 5_000_000_000L;
  private static final int REDRAW_MILLIS = 250;

  /** Bytes that come in a moment: nothing to show. */
  private static final long SMALL = 1_000_000;

  private final PrintWriter err;
  private final boolean terminal;
  private ProgressBar bar;
  private boolean silent;
  private long total;
  private long begin;
  private long shownAt;

  DownloadDisplay(PrintWriter err) {
    this.err = err;
    this.terminal = Terminal.isStandardError();
  }

  @Override
  public void onStart(String model, int files, long bytes, long done) {
    silent = bytes - done < SMALL;
    if (silent) {
      return;
    }
    total = bytes;
    begin = System.nanoTime();
    shownAt = begin;
    line(
        String.format(
            "fetching %s: %d %s, %s%s",
            model,
            files,
            files == 1 ? "file" : "files",
            size(bytes),
            done == 0 ? "" : ", of which " + size(done) + " are there"));
    if (terminal) {
      PrintStream screen =
          new PrintStream(new FileOutputStream(FileDescriptor.err), true, StandardCharsets.UTF_8);
      bar =
          new ProgressBarBuilder()
              .setTaskName("fetching")
              .setInitialMax(bytes)
              .setStyle(ProgressBarStyle.ASCII)
              .setUnit(" MB", 1_000_000)
              .showSpeed()
              .setUpdateIntervalMillis(REDRAW_MILLIS)
              .setConsumer(new ConsoleProgressBarConsumer(screen, Terminal.width() - 1))
              .build();
      bar.stepTo(done);
    }
  }

  @Override
  public void onProgress(String file, long done) {
    if (bar != null) {
      bar.setExtraMessage(" " + file);
      bar.stepTo(done);
    } else if (!silent && System.nanoTime() - shownAt >= LINE_EVERY_NANOS) {
      shownAt = System.nanoTime();
      line(String.format("fetched %s of %s (%s)", size(done), size(total), file));
    }
  }

  @Override
  public void onEnd(boolean complete) {
    if (bar != null) {
      bar.close();
      bar = null;
    }
    if (complete && !silent) {
      line(
          String.format(
              "fetched %s in %s",
              size(total), ProgressDisplay.time((System.nanoTime() - begin) / 1e9)));
    }
  }

  @Override
  public void onNote(String text) {
    line(text);
  }

  private void line(String text) {
    if (bar != null) {
      err.println(); // the bar's own line stays whole
    }
    err.println(text);
    err.flush();
  }

  /** {@code 440 MB} or {@code 1.5 MB}; 0.1 MB at the least. */
  private static String size(long bytes) {
    double mega = bytes / 1e6;
    return mega >= 10 ? String.format("%,.0f MB", mega) : String.format("%.1f MB", mega);
  }
}
