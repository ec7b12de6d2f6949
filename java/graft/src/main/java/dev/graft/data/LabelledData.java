package dev.graft.data;

import dev.graft.io.InputLimits;
import dev.graft.io.InvalidInputException;
import dev.graft.text.LineReader;
import dev.graft.text.Utf8Reader;
import java.io.IOException;
import java.io.UncheckedIOException;
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
 * JSON Lines, by the file's ending. Every row of a table has as many fields as the first. Parquet
 * files and queries need the module graft-duckdb.
 */
public final class LabelledData {
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
    Consumer<LabelledExample> counted = counted(sink, count);
    if (name.endsWith(".jsonl") || name.endsWith(".ndjson")) {
      LabelledJson.forEach(file, columns, counted);
    } else if (name.endsWith(".csv")) {
      csv(file, columns, counted);
    } else if (name.endsWith(".tsv") || name.endsWith(".txt")) {
      tsv(file, columns, counted);
    } else if (name.endsWith(".parquet")) {
      LabelledTable.forEach(LabelledSource.of(file), columns, counted);
    } else {
      throw InvalidInputException.of(file, "expected a .csv, .tsv, .jsonl or .parquet file");
    }
    requireSome(file, count[0]);
  }

  /** Hands on one example of a file or a query after the other. */
  public static void forEach(
      LabelledSource source, Columns columns, Consumer<LabelledExample> sink) {
    if (source.file() != null) {
      forEach(source.file(), columns, sink);
      return;
    }
    long[] count = {0};
    LabelledTable.forEach(source, columns, counted(sink, count));
    requireSome(source.name(), count[0]);
  }

  private static Consumer<LabelledExample> counted(Consumer<LabelledExample> sink, long[] count) {
    return example -> {
      count[0]++;
      sink.accept(example);
    };
  }

  private static void requireSome(Path name, long count) {
    if (count == 0) {
      throw InvalidInputException.of(name, "there are no examples in it");
    }
  }

  private static void csv(Path file, Columns columns, Consumer<LabelledExample> sink) {
    try (Utf8Reader reader = new Utf8Reader(file);
        CSVParser parser =
            CSVParser.builder()
                .setReader(reader)
                .setFormat(CSVFormat.RFC4180.builder().setIgnoreEmptyLines(true).get())
                .get()) {
      String tooLong =
          "a record is longer than "
              + InputLimits.LINE
              + " characters; is a quotation mark left open?";
      reader.allow(InputLimits.LINE, tooLong);
      TableColumns positions = null;
      for (CSVRecord record : parser) {
        List<String> row = record.toList();
        reader.allow(InputLimits.LINE, tooLong);
        if (positions == null) {
          positions = first(file, row, columns);
          if (columns.header()) {
            continue;
          }
        }
        sink.accept(positions.example(file, parser.getCurrentLineNumber(), row));
      }
    } catch (UncheckedIOException e) {
      throw InvalidInputException.of(file, e.getCause());
    } catch (IOException e) {
      throw InvalidInputException.of(file, e);
    }
  }

  private static void tsv(Path file, Columns columns, Consumer<LabelledExample> sink) {
    try (LineReader lines = LineReader.open(file)) {
      TableColumns positions = null;
      for (String line = lines.next(); line != null; line = lines.next()) {
        if (line.isEmpty()) {
          continue;
        }
        List<String> row = Arrays.asList(line.split("\t", -1));
        if (positions == null) {
          positions = first(file, row, columns);
          if (columns.header()) {
            continue;
          }
        }
        sink.accept(positions.example(file, lines.number(), row));
      }
    }
  }

  private static TableColumns first(Path file, List<String> row, Columns columns) {
    return columns.header()
        ? TableColumns.named(file, row, columns)
        : TableColumns.numbered(file, row, columns);
  }
}
