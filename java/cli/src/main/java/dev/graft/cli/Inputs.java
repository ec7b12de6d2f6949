package dev.graft.cli;

import dev.graft.text.LineReader;
import java.io.PrintWriter;
import java.nio.file.Path;

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
