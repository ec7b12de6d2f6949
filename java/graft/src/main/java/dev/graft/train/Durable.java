package dev.graft.train;

import dev.graft.io.AtomicFiles;
import dev.graft.io.InvalidInputException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HexFormat;
import java.util.List;
import java.util.function.Consumer;

/** Directories that are there in full or not at all, and the small file work around them. */
final class Durable {
  private Durable() {}

  /**
   * Replaces a directory: {@code fill} writes its files into a temporary one beside it, these are
   * made durable, and one rename puts it in place. An older directory of that name is moved aside
   * before and deleted after.
   *
   * @param fill writes the files, the one that declares the others complete last
   */
  static void replaceDirectory(Path target, Consumer<Path> fill) {
    Path parent = target.toAbsolutePath().getParent();
    Path temporary = parent.resolve("." + target.getFileName() + ".tmp");
    Path aside = parent.resolve("." + target.getFileName() + ".old");
    try {
      createDirectories(parent);
      deleteTree(temporary);
      Files.createDirectory(temporary);
      fill.accept(temporary);
      for (Path file : list(temporary)) {
        syncFile(file);
      }
      AtomicFiles.syncDirectory(temporary);
      if (Files.exists(target, LinkOption.NOFOLLOW_LINKS)) {
        deleteTree(aside);
        Files.move(target, aside, StandardCopyOption.ATOMIC_MOVE);
      }
      Files.move(temporary, target, StandardCopyOption.ATOMIC_MOVE);
      AtomicFiles.syncDirectory(parent);
      deleteTree(aside);
    } catch (IOException e) {
      deleteQuietly(temporary);
      throw InvalidInputException.of(target, e);
    } catch (RuntimeException e) {
      // A full disk: give back what the half-written directory holds, and report the first failure.
      deleteQuietly(temporary);
      throw e;
    }
  }

  /** Creates directories and makes the entry of each new one durable. */
  static void createDirectories(Path directory) throws IOException {
    Path absolute = directory.toAbsolutePath();
    List<Path> missing = new ArrayList<>();
    for (Path at = absolute; at != null && !Files.isDirectory(at); at = at.getParent()) {
      missing.add(at);
    }
    Files.createDirectories(absolute);
    for (Path created : missing) {
      AtomicFiles.syncDirectory(created.getParent());
    }
  }

  /** Makes a file's bytes durable. */
  static void syncFile(Path file) throws IOException {
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
      channel.force(true);
    }
  }

  /**
   * Deletes a directory and what it holds, first moved out of sight so that no half of it is seen.
   */
  static void deleteDirectory(Path directory) throws IOException {
    Path aside = directory.resolveSibling("." + directory.getFileName() + ".old");
    deleteTree(aside);
    Files.move(directory, aside, StandardCopyOption.ATOMIC_MOVE);
    deleteTree(aside);
  }

  /** Deletes a file or directory tree, if there. */
  static void deleteTree(Path path) throws IOException {
    if (Files.isDirectory(path, LinkOption.NOFOLLOW_LINKS)) {
      for (Path child : list(path)) {
        deleteTree(child);
      }
    }
    Files.deleteIfExists(path);
  }

  private static void deleteQuietly(Path path) {
    try {
      deleteTree(path);
    } catch (IOException e) {
      // The failure that brought us here is the one to report; the next save clears the rest.
    }
  }

  /** What a directory holds, by name; empty if it is not there. */
  static List<Path> list(Path directory) throws IOException {
    List<Path> files = new ArrayList<>();
    try (DirectoryStream<Path> stream = Files.newDirectoryStream(directory)) {
      stream.forEach(files::add);
    } catch (NoSuchFileException e) {
      return files;
    } catch (java.nio.file.DirectoryIteratorException e) {
      throw e.getCause();
    }
    Collections.sort(files);
    return files;
  }

  /** SHA-256 of a file, in hexadecimal. */
  static String sha256(Path file) throws IOException {
    MessageDigest digest = sha256();
    ByteBuffer buffer = ByteBuffer.allocateDirect(1 << 20);
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
      while (channel.read(buffer) >= 0) {
        digest.update(buffer.flip());
        buffer.clear();
      }
    }
    return HexFormat.of().formatHex(digest.digest());
  }

  static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e);
    }
  }
}
