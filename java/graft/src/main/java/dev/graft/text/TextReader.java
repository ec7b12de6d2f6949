package dev.graft.text;

import dev.graft.io.InvalidInputException;
import java.nio.file.Path;
import java.util.List;
import java.util.function.Consumer;

/** UTF-8 files of any size, a piece at a time. */
public final class TextReader {
  private TextReader() {}

  /**
   * Hands a file's text on in pieces of about a million characters, cut as {@link TextPieces} says.
   * A byte-order mark is skipped.
   *
   * @throws InvalidInputException naming the byte if the file is not UTF-8
   */
  public static void pieces(Path file, Consumer<String> sink) {
    try (Utf8Reader reader = new Utf8Reader(file)) {
      TextPieces pieces = new TextPieces(sink);
      char[] buffer = new char[1 << 15];
      for (int n = reader.read(buffer, 0, buffer.length);
          n >= 0;
          n = reader.read(buffer, 0, buffer.length)) {
        pieces.append(buffer, 0, n);
      }
      pieces.end();
    }
  }

  /** The pieces of some files, one file after the other. */
  static void pieces(List<Path> files, Consumer<String> sink) {
    if (files.isEmpty()) {
      throw new InvalidInputException("there is no file to read text from");
    }
    files.forEach(file -> pieces(file, sink));
  }

  /** A whole file of at most so many characters. */
  static String read(Path file, int largest) {
    StringBuilder text = new StringBuilder();
    try (Utf8Reader reader = new Utf8Reader(file)) {
      reader.allow(largest, "larger than this file may be (" + largest + " characters)");
      char[] buffer = new char[1 << 15];
      for (int n = reader.read(buffer, 0, buffer.length);
          n >= 0;
          n = reader.read(buffer, 0, buffer.length)) {
        text.append(buffer, 0, n);
      }
    }
    return text.toString();
  }
}
