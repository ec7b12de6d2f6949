package dev.graft.data;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.function.Consumer;
import org.apache.commons.csv.CSVFormat;
import org.apache.commons.csv.CSVParser;
import org.apache.commons.csv.CSVRecord;

/**
 * Labelled sets from CSV (RFC 4180), TSV (a tab between fields, quotes are ordinary characters) and
 * JSON Lines, by the file's ending.
 */
public final class LabelledData {
  private static final List<String> TEXT_NAMES =
      List.of("text", "sentence", "text_a", "sentence1", "question", "title", "content");
  private static final List<String> SECOND_NAMES = List.of("text_b", "sentence2", "second_text");
  private static final List<String> LABEL_NAMES =
      List.of("label", "category", "class", "intent", "target");

  private LabelledData() {}

  /** Reads a whole set. */
  public static List<LabelledExample> read(Path file, Columns columns) {
    List<LabelledExample> examples = new ArrayList<>();
    forEach(file, columns, examples::add);
    return examples;
  }

  /** Hands on one example after the other; the file may be larger than memory. */
  public static void forEach(Path file, Columns columns, Consumer<LabelledExample> sink) {
    String name = file.getFileName().toString().toLowerCase(Locale.ROOT);
    long[] count = {0};
    Consumer<LabelledExample> counted =
        example -> {
          count[0]++;
          sink.accept(example);
        };
    try (BufferedReader reader = reader(file)) {
      if (name.endsWith(".jsonl") || name.endsWith(".ndjson")) {
        jsonLines(file, reader, columns, counted);
      } else if (name.endsWith(".csv")) {
        csv(file, reader, columns, counted);
      } else if (name.endsWith(".tsv") || name.endsWith(".txt")) {
        tsv(file, reader, columns, counted);
      } else {
        throw InvalidInputException.of(file, "expected a .csv, .tsv or .jsonl file");
      }
    } catch (CharacterCodingException e) {
      throw InvalidInputException.of(file, "not valid UTF-8");
    } catch (UncheckedIOException e) {
      throw e.getCause() instanceof CharacterCodingException
          ? InvalidInputException.of(file, "not valid UTF-8")
          : InvalidInputException.of(file, e.getCause());
    } catch (IOException e) {
      throw InvalidInputException.of(file, e);
    }
    if (count[0] == 0) {
      throw InvalidInputException.of(file, "there are no examples in it");
    }
  }

  private static BufferedReader reader(Path file) throws IOException {
    BufferedReader reader =
        new BufferedReader(
            new InputStreamReader(
                Files.newInputStream(file),
                StandardCharsets.UTF_8
                    .newDecoder()
                    .onMalformedInput(CodingErrorAction.REPORT)
                    .onUnmappableCharacter(CodingErrorAction.REPORT)),
            1 << 16);
    reader.mark(1);
    if (reader.read() != '\uFEFF') {
      reader.reset();
    }
    return reader;
  }

  /** Positions of the columns in a row. */
  private record Positions(int text, int second, int label, int needed) {
    static Positions of(Path file, List<String> header, Columns columns) {
      int text = find(file, header, columns.text(), TEXT_NAMES, true);
      int second = find(file, header, columns.secondText(), SECOND_NAMES, false);
      int label = find(file, header, columns.label(), LABEL_NAMES, false);
      return new Positions(text, second, label, Math.max(text, Math.max(second, label)) + 1);
    }

    private static int find(
        Path file, List<String> header, String asked, List<String> usual, boolean needed) {
      if (asked != null) {
        int at = header.indexOf(asked);
        if (at < 0) {
          throw InvalidInputException.of(
              file, "there is no column '" + asked + "'; the columns are " + header);
        }
        return at;
      }
      for (String name : usual) {
        for (int i = 0; i < header.size(); i++) {
          if (header.get(i).equalsIgnoreCase(name)) {
            return i;
          }
        }
      }
      if (needed) {
        throw InvalidInputException.of(
            file, "no column is named " + usual + "; name the text column: there are " + header);
      }
      return -1;
    }

    static Positions numbered(Path file, Columns columns) {
      int text = number(file, columns.text(), 0);
      int second = columns.secondText() == null ? -1 : number(file, columns.secondText(), -1);
      int label = number(file, columns.label(), 1);
      return new Positions(text, second, label, Math.max(text, Math.max(second, label)) + 1);
    }

    private static int number(Path file, String column, int otherwise) {
      if (column == null) {
        return otherwise;
      }
      try {
        int number = Integer.parseInt(column);
        if (number >= 0) {
          return number;
        }
      } catch (NumberFormatException e) {
        // told below
      }
      throw InvalidInputException.of(
          file, "without a header columns are numbers from 0, not '" + column + "'");
    }

    LabelledExample example(Path file, long line, List<String> row) {
      if (row.size() < needed) {
        throw InvalidInputException.ofLine(
            file, line, "expected at least " + needed + " fields, got " + row.size());
      }
      return new LabelledExample(
          row.get(text),
          second < 0 ? null : row.get(second),
          label < 0 ? null : row.get(label).strip());
    }
  }

  private static void csv(
      Path file, BufferedReader reader, Columns columns, Consumer<LabelledExample> sink)
      throws IOException {
    try (CSVParser parser =
        CSVParser.builder()
            .setReader(reader)
            .setFormat(CSVFormat.RFC4180.builder().setIgnoreEmptyLines(true).get())
            .get()) {
      Positions positions = columns.header() ? null : Positions.numbered(file, columns);
      int width = -1;
      for (CSVRecord record : parser) {
        List<String> row = record.toList();
        if (positions == null) {
          positions = Positions.of(file, row, columns);
          width = row.size();
          continue;
        }
        if (width >= 0 && row.size() != width) {
          throw InvalidInputException.ofLine(
              file,
              parser.getCurrentLineNumber(),
              "expected " + width + " fields, got " + row.size());
        }
        sink.accept(positions.example(file, parser.getCurrentLineNumber(), row));
      }
    }
  }

  private static void tsv(
      Path file, BufferedReader reader, Columns columns, Consumer<LabelledExample> sink)
      throws IOException {
    Positions positions = columns.header() ? null : Positions.numbered(file, columns);
    long number = 0;
    for (String line = reader.readLine(); line != null; line = reader.readLine()) {
      number++;
      if (line.isEmpty()) {
        continue;
      }
      List<String> row = Arrays.asList(line.split("\t", -1));
      if (positions == null) {
        positions = Positions.of(file, row, columns);
        continue;
      }
      sink.accept(positions.example(file, number, row));
    }
  }

  private static void jsonLines(
      Path file, BufferedReader reader, Columns columns, Consumer<LabelledExample> sink)
      throws IOException {
    Positions positions = null;
    List<String> names = List.of();
    long number = 0;
    for (String line = reader.readLine(); line != null; line = reader.readLine()) {
      number++;
      if (line.isBlank()) {
        continue;
      }
      JsonNode node;
      try {
        node = Json.MAPPER.readTree(line);
      } catch (JsonProcessingException e) {
        throw InvalidInputException.ofLine(
            file, number, "not valid JSON: " + e.getOriginalMessage());
      }
      if (!node.isObject()) {
        throw InvalidInputException.ofLine(file, number, "expected a JSON object");
      }
      if (positions == null) {
        names = new ArrayList<>();
        node.fieldNames().forEachRemaining(names::add);
        positions = Positions.of(file, names, columns);
      }
      sink.accept(
          new LabelledExample(
              field(file, number, node, names, positions.text(), true),
              field(file, number, node, names, positions.second(), false),
              field(file, number, node, names, positions.label(), false)));
    }
  }

  private static String field(
      Path file, long line, JsonNode node, List<String> names, int at, boolean needed) {
    JsonNode value = at < 0 ? null : node.get(names.get(at));
    if (value == null || value.isNull()) {
      if (needed) {
        throw InvalidInputException.ofLine(file, line, "there is no field '" + names.get(at) + "'");
      }
      return null;
    }
    if (value.isContainerNode()) {
      throw InvalidInputException.ofLine(
          file, line, "field '" + names.get(at) + "' is not a text or number");
    }
    return value.asText();
  }
}
