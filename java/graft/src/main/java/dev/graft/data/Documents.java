package dev.graft.data;

import com.fasterxml.jackson.databind.JsonNode;
import dev.graft.io.InvalidInputException;
import dev.graft.text.LineReader;
import dev.graft.text.TextPieces;
import dev.graft.text.TextReader;
import java.nio.file.Path;
import java.util.List;

/** Documents of text files, one after the other; a document may be larger than memory. */
public final class Documents {
  private Documents() {}

  /** Takes a document in pieces, cut as {@link TextPieces} does; concatenated they are its text. */
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
        case LINE -> lines(file, sink);
        default -> throw new AssertionError(mode);
      }
    }
  }

  private static void lines(Path file, Sink sink) {
    try (LineReader lines = LineReader.open(file)) {
      for (String line = lines.next(); line != null; line = lines.next()) {
        if (!line.isBlank()) {
          sink.text(line);
          sink.endOfDocument();
        }
      }
    }
  }

  private static void blocks(Path file, Sink sink) {
    // Not a piece a line: a token may hold a line end and the white space before it.
    TextPieces pieces = new TextPieces(sink::text);
    boolean open = false;
    try (LineReader lines = LineReader.open(file)) {
      for (String line = lines.next(); line != null; line = lines.next()) {
        if (!line.isBlank()) {
          pieces.append(open ? "\n" + line : line);
          open = true;
        } else if (open) {
          pieces.end();
          sink.endOfDocument();
          open = false;
        }
      }
    }
    if (open) {
      pieces.end();
      sink.endOfDocument();
    }
  }

  private static void jsonLines(Path file, String field, Sink sink) {
    try (LineReader lines = LineReader.open(file)) {
      for (String line = lines.next(); line != null; line = lines.next()) {
        if (line.isBlank()) {
          continue;
        }
        JsonNode text = LabelledJson.object(file, lines.number(), line).path(field);
        if (!text.isTextual()) {
          throw InvalidInputException.ofLine(
              file, lines.number(), "there is no text field '" + field + "'");
        }
        if (!text.asText().isEmpty()) {
          sink.text(text.asText());
          sink.endOfDocument();
        }
      }
    }
  }
}
