package dev.graft.data;

import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;

/** UTF-8 in which every malformed sequence is {@link #MARK}. */
final class Utf8Repair extends InputStream {
  /** A noncharacter: no text has it. */
  static final char MARK = '\uFDD0';

  private static final int BYTES = 1 << 16;

  private final InputStream in;
  private final CharsetDecoder decoder =
      StandardCharsets.UTF_8
          .newDecoder()
          .onMalformedInput(CodingErrorAction.REPLACE)
          .onUnmappableCharacter(CodingErrorAction.REPLACE)
          .replaceWith(String.valueOf(MARK));
  private final ByteBuffer raw = ByteBuffer.allocate(BYTES).flip();
  private final CharBuffer text = CharBuffer.allocate(BYTES);
  private ByteBuffer out = ByteBuffer.allocate(0);
  private boolean ended;

  Utf8Repair(InputStream in) {
    this.in = in;
  }

  @Override
  public int read() throws IOException {
    return fill() ? out.get() & 0xFF : -1;
  }

  @Override
  public int read(byte[] to, int offset, int length) throws IOException {
    if (length == 0) {
      return 0;
    }
    if (!fill()) {
      return -1;
    }
    int count = Math.min(length, out.remaining());
    out.get(to, offset, count);
    return count;
  }

  private boolean fill() throws IOException {
    while (!out.hasRemaining()) {
      if (ended) {
        return false;
      }
      raw.compact();
      int count = in.read(raw.array(), raw.position(), raw.remaining());
      ended = count < 0;
      raw.position(raw.position() + Math.max(0, count)).flip();
      text.clear();
      // A byte gives one character at most: this never overflows.
      decoder.decode(raw, text, ended);
      out = StandardCharsets.UTF_8.encode(text.flip());
    }
    return true;
  }

  @Override
  public void close() throws IOException {
    in.close();
  }
}
