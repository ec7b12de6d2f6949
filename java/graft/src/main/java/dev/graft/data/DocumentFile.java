package dev.graft.data;

import dev.graft.io.AtomicFiles;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.UUID;

/**
 * Documents on their way into a file; any of them can be read again. The file is there once {@link
 * #finish} has run, and not before. 8 bytes of memory a document.
 */
final class DocumentFile implements AutoCloseable {
  private static final int BUFFER = 1 << 18;

  private final Path file;
  private final Path temporary;
  private final DocumentMode mode;
  private final FileChannel channel;
  private final ByteBuffer buffer = ByteBuffer.allocate(BUFFER);
  private long[] starts = new long[1024];
  private int count;
  private long written;
  private boolean finished;

  /**
   * @param mode how documents are told apart; not {@link DocumentMode#FILE}
   */
  DocumentFile(Path file, DocumentMode mode) {
    this.file = file;
    this.mode = mode;
    Path absolute = file.toAbsolutePath();
    temporary = absolute.resolveSibling("." + absolute.getFileName() + "." + UUID.randomUUID());
    try {
      Files.createDirectories(absolute.getParent());
      channel =
          FileChannel.open(
              temporary,
              StandardOpenOption.CREATE_NEW,
              StandardOpenOption.READ,
              StandardOpenOption.WRITE);
    } catch (IOException e) {
      throw InvalidInputException.of(file, e);
    }
  }

  /** Documents so far. */
  int count() {
    return count;
  }

  void add(String text) {
    if (count + 1 >= starts.length) {
      starts = Arrays.copyOf(starts, Math.multiplyExact(2, starts.length));
    }
    String form =
        switch (mode) {
          case JSONL -> Json.line(Json.object().put("text", text)) + "\n";
          case BLANK_LINE -> text + "\n\n";
          default -> text + "\n";
        };
    byte[] bytes = form.getBytes(StandardCharsets.UTF_8);
    try {
      for (int at = 0; at < bytes.length; ) {
        if (!buffer.hasRemaining()) {
          flush();
        }
        int part = Math.min(buffer.remaining(), bytes.length - at);
        buffer.put(bytes, at, part);
        at += part;
      }
    } catch (IOException e) {
      throw InvalidInputException.of(file, e);
    }
    starts[++count] = starts[count - 1] + bytes.length;
  }

  private void flush() throws IOException {
    buffer.flip();
    written += buffer.remaining();
    AtomicFiles.writeFully(channel, buffer);
    buffer.clear();
  }

  /** A document of this file, from 0. */
  String read(int document) {
    long start = starts[document];
    ByteBuffer bytes = ByteBuffer.allocate((int) (starts[document + 1] - start));
    try {
      if (starts[document + 1] > written) {
        flush();
      }
      while (bytes.hasRemaining()) {
        if (channel.read(bytes, start + bytes.position()) < 0) {
          throw new IOException("ends too early");
        }
      }
    } catch (IOException e) {
      throw InvalidInputException.of(file, e);
    }
    String form = new String(bytes.array(), StandardCharsets.UTF_8);
    return mode == DocumentMode.JSONL
        ? Json.parseObject(file, bytes.array()).get("text").asText()
        : form.substring(0, form.length() - (mode == DocumentMode.BLANK_LINE ? 2 : 1));
  }

  /** Makes it durable under its name. */
  void finish() {
    try {
      flush();
      channel.force(true);
      Files.move(
          temporary,
          file.toAbsolutePath(),
          StandardCopyOption.ATOMIC_MOVE,
          StandardCopyOption.REPLACE_EXISTING);
      finished = true;
      AtomicFiles.syncDirectory(temporary.getParent());
    } catch (IOException e) {
      throw InvalidInputException.of(file, e);
    }
  }

  @Override
  public void close() {
    try {
      channel.close();
      if (!finished) {
        Files.deleteIfExists(temporary);
      }
    } catch (IOException e) {
      throw InvalidInputException.of(file, e);
    }
  }
}
