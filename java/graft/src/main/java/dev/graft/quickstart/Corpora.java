package dev.graft.quickstart;

import dev.graft.io.AtomicFiles;
import dev.graft.io.InvalidInputException;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.zip.GZIPInputStream;

/** The texts that come with the library, as files: any other command can then read them, too. */
final class Corpora {
  private Corpora() {}

  /**
   * Tiny Shakespeare: 40,000 lines of his plays (public domain; compiled by A. Karpathy for <a
   * href="https://github.com/karpathy/char-rnn">char-rnn</a>, MIT).
   */
  static Path tinyShakespeare(Path folder) {
    return unpack("tiny-shakespeare.txt.gz", folder.resolve("tiny-shakespeare.txt"));
  }

  /** Writes a resource to a file. */
  static Path unpack(String resource, Path file) {
    try (InputStream packed = Corpora.class.getResourceAsStream(resource)) {
      if (packed == null) {
        throw new IllegalStateException(
            "the resource " + resource + " is missing from the library");
      }
      byte[] bytes = new GZIPInputStream(packed).readAllBytes();
      AtomicFiles.write(file, bytes);
      return file;
    } catch (IOException e) {
      throw new UncheckedIOException("resource " + resource, e);
    }
  }

  /** Says so if the folder holds anything. */
  static void requireEmpty(Path folder) {
    String[] files = folder.toFile().list();
    if (folder.toFile().isFile() || (files != null && files.length > 0)) {
      throw InvalidInputException.of(folder, "is there and not empty; name another folder");
    }
  }
}
