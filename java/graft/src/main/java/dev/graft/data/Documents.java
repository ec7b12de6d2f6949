package dev.graft.data;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import dev.graft.text.TextReader;
import java.nio.file.Path;
import java.util.List;

/** Documents of text files, one after the other; a document may be larger than memory. */
public final class Documents {
  private Documents() {}

  /** Takes a document in pieces; concatenated they are its text. */
  public interface Sink {
    void text(String piece);

    void endOfDocument();
  }

  /**
   * Reads files in order.
   *
   * @param field the JSON field that holds the text; used by {@link DocumentMode#JSONL}
   */
  public static void read(List<Path> files, DocumentMode mode, String field, Sink sink) {
    for (Path file : files) {
      switch (mode) {
        case FILE -> {
          TextReader.pieces(file, sink::text);
          sink.endOfDocument();
        }
        case JSONL -> jsonLines(file, field, sink);
        case BLANK_LINE -> blocks(file, sink);
        case LINE ->
            lines(
                file,
                (number, line) -> {
                  if (!line.isBlank()) {
                    sink.text(line);
                    sink.endOfDocument();
                  }
                });
        default -> throw new AssertionError(mode);
      }
    }
  }

  private interface LineSink {
    void line(long number, String line);
  }

  /** Lines without their ends ({@code \n} or {@code \r\n}). */
  private static void lines(Path file, LineSink sink) {
    StringBuilder held = new StringBuilder();
    long[] number = {0};
    TextReader.pieces(
        file,
        piece -> {
          int from = 0;
          for (int end = piece.indexOf('\n'); end >= 0; end = piece.indexOf('\n', from)) {
            held.append(piece, from, end);
            sink.line(++number[0], chomp(held));
            held.setLength(0);
            from = end + 1;
          }
          held.append(piece, from, piece.length());
        });
    if (held.length() > 0) {
      sink.line(++number[0], chomp(held));
    }
  }

  private static String chomp(StringBuilder line) {
    int length = line.length();
    return length > 0 && line.charAt(length - 1) == '\r'
        ? line.substring(0, length - 1)
        : line.toString();
  }

  private static void blocks(Path file, Sink sink) {
    boolean[] open = {false};
    lines(
        file,
        (number, line) -> {
          if (line.isBlank()) {
            if (open[0]) {
              sink.endOfDocument();
              open[0] = false;
            }
          } else {
            sink.text(open[0] ? "\n" + line : line);
            open[0] = true;
          }
        });
    if (open[0]) {
      sink.endOfDocument();
    }
  }

  private static void jsonLines(Path file, String field, Sink sink) {
    lines(
        file,
        (number, line) -> {
          if (line.isBlank()) {
            return;
          }
          JsonNode node;
          try {
            node = Json.MAPPER.readTree(line);
          } catch (JsonProcessingException e) {
            throw InvalidInputException.ofLine(
                file, number, "not valid JSON: " + e.getOriginalMessage());
          }
          JsonNode text = node.path(field);
          if (!text.isTextual()) {
            throw InvalidInputException.ofLine(
                file, number, "there is no text field '" + field + "'");
          }
          if (!text.asText().isEmpty()) {
            sink.text(text.asText());
            sink.endOfDocument();
          }
        });
  }
}
