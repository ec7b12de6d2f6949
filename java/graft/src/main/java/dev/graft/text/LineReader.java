package dev.graft.text;

import dev.graft.io.InputLimits;
import dev.graft.io.InvalidInputException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CoderResult;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;

/**
 * Lines of UTF-8, one after the other, however many there are. A line ends with {@code \n} or
 * {@code \r\n} and nothing else: the other line ends of Unicode are text. A byte-order mark before
 * the first is skipped.
 */
public final class LineReader implements AutoCloseable {
  private static final int BYTES = 1 << 16;

  private final InputStream in;
  private final Path source;
  private final byte[] buffer = new byte[BYTES];
  private int at;
  private int end;
  private byte[] line = new byte[256];
  private long number;
  private long offset;

  /**
   * Reads a stream.
   *
   * @param source what messages name
   */
  public LineReader(InputStream in, Path source) {
    this.in = in;
    this.source = source;
  }

  /** Opens a file. */
  public static LineReader open(Path file) {
    try {
      if (Files.isDirectory(file)) {
        throw InvalidInputException.of(file, "expected a file, this is a directory");
      }
      return new LineReader(Files.newInputStream(file), file);
    } catch (IOException e) {
      throw InvalidInputException.of(file, e);
    }
  }

  /**
   * The next line without its end, or null after the last.
   *
   * @throws InvalidInputException naming source and byte if it is not UTF-8, or the line if it is
   *     longer than {@link InputLimits#LINE}
   */
  public String next() {
    int length = 0;
    boolean any = false;
    boolean complete = false;
    while (!complete && (at < end || fill())) {
      any = true;
      int newline = at;
      while (newline < end && buffer[newline] != '\n') {
        newline++;
      }
      int part = newline - at;
      if (length + part > InputLimits.LINE) {
        throw InvalidInputException.ofLine(
            source, number + 1, "longer than a line may be (" + InputLimits.LINE + " bytes)");
      }
      if (length + part > line.length) {
        line = Arrays.copyOf(line, Math.addExact(length, Math.max(length, part)));
      }
      System.arraycopy(buffer, at, line, length, part);
      length += part;
      complete = newline < end;
      at = complete ? newline + 1 : end;
    }
    if (!any) {
      return null;
    }
    String text = decode(length);
    offset += complete ? length + 1 : length;
    return text;
  }

  private boolean fill() {
    try {
      at = 0;
      end = Math.max(0, in.read(buffer));
      return end > 0;
    } catch (IOException e) {
      throw InvalidInputException.of(source, e);
    }
  }

  private String decode(int length) {
    number++;
    int first = number == 1 && startsWithMark(length) ? 3 : 0;
    int size = length > first && line[length - 1] == '\r' ? length - 1 : length;
    // String's constructor would replace what is malformed.
    ByteBuffer bytes = ByteBuffer.wrap(line, first, size - first);
    CharBuffer text = CharBuffer.allocate(bytes.remaining());
    CoderResult result = StandardCharsets.UTF_8.newDecoder().decode(bytes, text, true);
    if (result.isError()) {
      throw InvalidInputException.of(source, offset + bytes.position(), "not valid UTF-8");
    }
    return text.flip().toString();
  }

  private boolean startsWithMark(int length) {
    return length >= 3
        && line[0] == (byte) 0xEF
        && line[1] == (byte) 0xBB
        && line[2] == (byte) 0xBF;
  }

  /** Number of the line {@link #next} gave last, from 1. */
  public long number() {
    return number;
  }

  /** What is read, for messages. */
  public Path source() {
    return source;
  }

  /** Whether the next line, or a part of it, is here without waiting. */
  public boolean ready() {
    try {
      return at < end || in.available() > 0;
    } catch (IOException e) {
      return false;
    }
  }

  @Override
  public void close() {
    try {
      in.close();
    } catch (IOException e) {
      throw InvalidInputException.of(source, e);
    }
  }
}
