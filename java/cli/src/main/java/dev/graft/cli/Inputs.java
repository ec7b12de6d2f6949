package dev.graft.cli;

import dev.graft.text.LineReader;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;

/** Texts a line, from a file or from standard input. */
final class Inputs {
  private Inputs() {}

  /** The lines of a file; {@code -} names standard input. */
  static LineReader lines(Path input) {
    return input.toString().equals("-")
        ? new LineReader(System.in, Path.of("standard input"))
        : LineReader.open(input);
  }

  /**
   * Hands on the lines of a file some at a time: as many as wait, at most {@code size}, so that who
   * writes line by line is answered line by line. The list is the callee's until it returns.
   */
  static void batches(Path input, int size, Consumer<List<String>> sink) {
    try (LineReader lines = lines(input)) {
      List<String> waiting = new ArrayList<>();
      for (String line = lines.next(); line != null; line = lines.next()) {
        waiting.add(line);
        if (waiting.size() == size || !lines.ready()) {
          sink.accept(waiting);
          waiting.clear();
        }
      }
      if (!waiting.isEmpty()) {
        sink.accept(waiting);
      }
    }
  }

  /**
   * Prints the answer to a line; at once where whoever writes the lines may be waiting for it, else
   * in large blocks.
   */
  static void answer(PrintWriter out, LineReader lines, CharSequence text) {
    out.append(text).append('\n');
    if (!lines.ready()) {
      out.flush();
    }
  }
}
