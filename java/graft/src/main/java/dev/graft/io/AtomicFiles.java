package dev.graft.io;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.UUID;

/**
 * Writes that are there in full or not at all: a temporary file beside the target, fsync, one
 * atomic rename, fsync of the directory. A failure (disk full) leaves the old file and no temporary
 * one.
 */
public final class AtomicFiles {
  private AtomicFiles() {}

  /** Writes a file's content to a channel. */
  @FunctionalInterface
  public interface Content {
    void writeTo(FileChannel channel) throws IOException;
  }

  /** Replaces {@code file} by what {@code content} writes. */
  public static void write(Path file, Content content) {
    Path absolute = file.toAbsolutePath();
    Path directory = absolute.getParent();
    Path temporary = null;
    try {
      Files.createDirectories(directory);
      // Not by createTempFile: its files are their owner's alone, and the rename keeps that.
      Path unique = directory.resolve("." + absolute.getFileName() + "." + UUID.randomUUID());
      try (FileChannel channel =
          FileChannel.open(unique, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
        temporary = unique;
        content.writeTo(channel);
        channel.force(true);
      }
      Files.move(
          temporary, absolute, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
      temporary = null;
      syncDirectory(directory);
    } catch (IOException e) {
      throw InvalidInputException.of(file, e);
    } finally {
      deleteQuietly(temporary);
    }
  }

  /** Replaces {@code file} by UTF-8 text. */
  public static void write(Path file, String text) {
    write(file, text.getBytes(StandardCharsets.UTF_8));
  }

  /** Replaces {@code file} by bytes. */
  public static void write(Path file, byte[] bytes) {
    write(file, channel -> writeFully(channel, ByteBuffer.wrap(bytes)));
  }

  /** Writes all of the buffer. */
  public static void writeFully(FileChannel channel, ByteBuffer buffer) throws IOException {
    while (buffer.hasRemaining()) {
      channel.write(buffer);
    }
  }

  /** Makes the entries of a directory durable. */
  public static void syncDirectory(Path directory) throws IOException {
    try (FileChannel channel = FileChannel.open(directory, StandardOpenOption.READ)) {
      channel.force(true);
    }
  }

  private static void deleteQuietly(Path file) {
    if (file != null) {
      try {
        Files.deleteIfExists(file);
      } catch (IOException e) {
        // The failure that brought us here is the one to report.
      }
    }
  }
}
