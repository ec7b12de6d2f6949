package dev.graft.text;

import dev.graft.io.InvalidInputException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.CoderResult;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.function.Consumer;

/** UTF-8 files of any size, a piece at a time. */
public final class TextReader {
  private static final int BYTES = 1 << 20;

  private TextReader() {}

  /**
   * Hands a file's text on in pieces of about a million characters, cut before white space that
   * follows something else (or where a piece would grow tenfold without any). A byte-order mark is
   * skipped.
   *
   * @throws InvalidInputException naming the byte if the file is not UTF-8
   */
  public static void pieces(Path file, Consumer<String> sink) {
    CharsetDecoder decoder =
        StandardCharsets.UTF_8
            .newDecoder()
            .onMalformedInput(CodingErrorAction.REPORT)
            .onUnmappableCharacter(CodingErrorAction.REPORT);
    ByteBuffer in = ByteBuffer.allocate(BYTES);
    CharBuffer out = CharBuffer.allocate(BYTES + 16);
    StringBuilder held = new StringBuilder();
    long consumed = 0;
    boolean first = true;
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
      boolean end = false;
      while (!end) {
        end = channel.read(in) < 0;
        in.flip();
        int before = in.position();
        CoderResult result = decoder.decode(in, out, end);
        consumed += in.position() - before;
        if (result.isError()) {
          throw InvalidInputException.of(file, consumed, "not valid UTF-8");
        }
        if (end) {
          decoder.flush(out);
        }
        out.flip();
        if (first && out.hasRemaining()) {
          if (out.get(0) == '\uFEFF') {
            out.get();
          }
          first = false;
        }
        held.append(out);
        out.clear();
        in.compact();
        if (!end && held.length() >= BYTES) {
          emit(held, sink);
        }
      }
    } catch (IOException e) {
      throw InvalidInputException.of(file, e);
    }
    if (held.length() > 0) {
      sink.accept(held.toString());
    }
  }

  private static void emit(StringBuilder held, Consumer<String> sink) {
    int at = held.length() - 1;
    while (at > 0 && !(isSpace(held.charAt(at)) && !Character.isWhitespace(held.charAt(at - 1)))) {
      at--;
    }
    if (at == 0) {
      if (held.length() < 10 * BYTES) {
        return;
      }
      at = held.length();
      if (Character.isHighSurrogate(held.charAt(at - 1))) {
        at--;
      }
    }
    sink.accept(held.substring(0, at));
    held.delete(0, at);
  }

  private static boolean isSpace(char c) {
    return c == ' ' || c == '\n';
  }
}
