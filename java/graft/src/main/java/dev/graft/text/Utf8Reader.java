package dev.graft.text;

import dev.graft.io.InvalidInputException;
import java.io.IOException;
import java.io.Reader;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.CoderResult;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/**
 * Characters of a UTF-8 file. A byte-order mark is skipped. Every failure is an {@link
 * InvalidInputException} that names the file, and the byte if it is not UTF-8.
 */
public final class Utf8Reader extends Reader {
  private final Path file;
  private final FileChannel channel;
  private final CharsetDecoder decoder =
      StandardCharsets.UTF_8
          .newDecoder()
          .onMalformedInput(CodingErrorAction.REPORT)
          .onUnmappableCharacter(CodingErrorAction.REPORT);
  private final ByteBuffer in = ByteBuffer.allocate(1 << 16);
  // A byte gives one character at most: the buffer never overflows.
  private final CharBuffer out = CharBuffer.allocate(1 << 16);
  private long consumed;
  private boolean begun;
  private boolean ended;
  private long allowance = Long.MAX_VALUE;
  private String allowanceMessage;

  public Utf8Reader(Path file) {
    this.file = file;
    try {
      channel = FileChannel.open(file, StandardOpenOption.READ);
    } catch (IOException e) {
      throw InvalidInputException.of(file, e);
    }
    in.flip();
    out.flip();
  }

  /**
   * Refuses to hand on more than so many characters from here on, until the next call.
   *
   * @param message what is wrong with a file that has more
   */
  public void allow(long characters, String message) {
    allowance = characters;
    allowanceMessage = message;
  }

  @Override
  public int read(char[] to, int offset, int length) {
    while (!out.hasRemaining()) {
      if (ended) {
        return -1;
      }
      fill();
    }
    int count = Math.min(length, out.remaining());
    if (count > allowance) {
      throw InvalidInputException.of(file, allowanceMessage);
    }
    allowance -= count;
    out.get(to, offset, count);
    return count;
  }

  private void fill() {
    in.compact();
    try {
      ended = channel.read(in) < 0;
    } catch (IOException e) {
      throw InvalidInputException.of(file, e);
    }
    in.flip();
    out.clear();
    CoderResult result = decoder.decode(in, out, ended);
    if (result.isError()) {
      throw InvalidInputException.of(file, consumed + in.position(), "not valid UTF-8");
    }
    consumed += in.position();
    out.flip();
    if (!begun && out.hasRemaining()) {
      begun = true;
      if (out.get(0) == '\uFEFF') {
        out.get();
      }
    }
  }

  @Override
  public void close() {
    try {
      channel.close();
    } catch (IOException e) {
      throw InvalidInputException.of(file, e);
    }
  }
}
