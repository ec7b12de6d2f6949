package dev.graft.cli;

import java.io.BufferedOutputStream;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.OutputStreamWriter;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;

/**
 * Standard output and error in UTF-8 whatever the locale. A failed write to standard output ends
 * the command; a {@link PrintWriter} would swallow the IOException.
 */
final class StandardStreams {
  private StandardStreams() {}

  /** Standard output cannot be written. */
  static final class OutputFailed extends RuntimeException {
    private static final long serialVersionUID = 1L;

    OutputFailed(IOException cause) {
      super("standard output: " + cause.getMessage(), cause);
    }

    /** Whether the reader of a pipe went away, which is its right. */
    boolean readerGone() {
      return String.valueOf(getCause().getMessage()).contains("Broken pipe");
    }
  }

  static PrintWriter out() {
    return writer(new Strict(new FileOutputStream(FileDescriptor.out)));
  }

  static PrintWriter err() {
    return writer(new FileOutputStream(FileDescriptor.err));
  }

  private static PrintWriter writer(OutputStream stream) {
    return new PrintWriter(
        new OutputStreamWriter(new BufferedOutputStream(stream, 1 << 16), StandardCharsets.UTF_8),
        true);
  }

  private static final class Strict extends OutputStream {
    private final OutputStream out;
    private boolean failed;

    Strict(OutputStream out) {
      this.out = out;
    }

    @Override
    public void write(int b) {
      write(new byte[] {(byte) b}, 0, 1);
    }

    @Override
    public void write(byte[] bytes, int offset, int length) {
      if (failed) {
        return; // reported already; what follows is the flush of an ending process
      }
      try {
        out.write(bytes, offset, length);
      } catch (IOException e) {
        failed = true;
        throw new OutputFailed(e);
      }
    }
  }
}
