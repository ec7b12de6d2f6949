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
      if (mode == DocumentMode.FILE) {
        TextReader.pieces(file, sink::text);
        sink.endOfDocument();
      } else {
        read(LineReader.open(file), mode, field, sink);
      }
    }
  }

  /** Reads the documents between lines, and closes them. */
  static void read(LineReader reader, DocumentMode mode, String field, Sink sink) {
    try (LineReader lines = reader) {
      switch (mode) {
        case JSONL -> jsonLines(lines, field, sink);
        case BLANK_LINE -> blocks(lines, sink);
        case LINE -> lines(lines, sink);
        default -> throw new AssertionError(mode);
      }
    }
  }

  private static void lines(LineReader lines, Sink sink) {
    for (String line = lines.next(); line != null; line = lines.next()) {
      if (!line.isBlank()) {
        sink.text(line);
        sink.endOfDocument();
      }
    }
  }

  private static void blocks(LineReader lines, Sink sink) {
    // Not a piece a line: a token may hold a line end and the white space before it.
    TextPieces pieces = new TextPieces(sink::text);
    boolean open = false;
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
    if (open) {
      pieces.end();
      sink.endOfDocument();
    }
  }

  private static void jsonLines(LineReader lines, String field, Sink sink) {
    for (String line = lines.next(); line != null; line = lines.next()) {
      if (line.isBlank()) {
        continue;
      }
      JsonNode text = LabelledJson.object(lines.source(), lines.number(), line).path(field);
      if (!text.isTextual()) {
        throw InvalidInputException.ofLine(
            lines.source(), lines.number(), "there is no text field '" + field + "'");
      }
      if (!text.asText().isEmpty()) {
        sink.text(text.asText());
        sink.endOfDocument();
      }
    }
  }
}
