package dev.graft.io;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;

/** A range of a file read byte after byte; its end, and the limit of pickles, are errors. */
final class PickleInput {
  private static final int BUFFER = 1 << 16;

  private final Path file;
  private final FileChannel channel;
  private final long end;
  private final ByteBuffer buffer =
      ByteBuffer.allocate(BUFFER).order(ByteOrder.LITTLE_ENDIAN).limit(0);
  private long bufferAt;
  private long budget = InputLimits.PICKLE;

  PickleInput(Path file, FileChannel channel, long begin, long end) {
    this.file = file;
    this.channel = channel;
    this.end = end;
    this.bufferAt = begin;
  }

  /** Offset in the file of the byte that comes next. */
  long position() {
    return bufferAt + buffer.position();
  }

  InvalidInputException error(String what) {
    return InvalidInputException.of(file, position(), what);
  }

  private void need(int bytes) throws IOException {
    budget -= bytes;
    if (budget < 0) {
      throw error("the pickle is larger than " + (InputLimits.PICKLE >> 20) + " MiB");
    }
    if (bytes > end - position()) {
      throw error("the pickle ends too early (truncated?)");
    }
    if (buffer.remaining() < bytes) {
      long at = position();
      buffer.clear().limit((int) Math.min(BUFFER, end - at));
      bufferAt = at;
      Safetensors.readFully(file, channel, at, buffer);
      buffer.flip();
    }
  }

  int unsignedByte() throws IOException {
    need(1);
    return Byte.toUnsignedInt(buffer.get());
  }

  int unsignedShort() throws IOException {
    need(2);
    return Short.toUnsignedInt(buffer.getShort());
  }

  int int32() throws IOException {
    need(4);
    return buffer.getInt();
  }

  long int64() throws IOException {
    need(8);
    return buffer.getLong();
  }

  /** As pickles write floats. */
  double bigEndianDouble() throws IOException {
    return Double.longBitsToDouble(Long.reverseBytes(int64()));
  }

  byte[] bytes(long length) throws IOException {
    if (length < 0 || length > Math.min(budget, end - position())) {
      throw error("a text of " + length + " bytes does not fit into the pickle");
    }
    byte[] out = new byte[(int) length];
    for (int at = 0; at < out.length; ) {
      int part = Math.min(out.length - at, BUFFER);
      need(part);
      buffer.get(out, at, part);
      at += part;
    }
    return out;
  }

  String text(long length) throws IOException {
    return new String(bytes(length), StandardCharsets.UTF_8);
  }

  /** Up to a line end, as the names of classes stand. */
  String line() throws IOException {
    StringBuilder line = new StringBuilder();
    for (int c = unsignedByte(); c != '\n'; c = unsignedByte()) {
      if (line.length() == 200) {
        throw error("the name of a class is longer than 200 characters");
      }
      line.append((char) c);
    }
    return line.toString();
  }
}
