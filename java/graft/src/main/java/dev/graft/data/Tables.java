package dev.graft.data;

import dev.graft.io.InputLimits;
import dev.graft.io.InvalidInputException;
import dev.graft.text.LineReader;
import dev.graft.text.Utf8Reader;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.ServiceConfigurationError;
import java.util.ServiceLoader;
import org.apache.commons.csv.CSVFormat;
import org.apache.commons.csv.CSVParser;
import org.apache.commons.csv.CSVRecord;

/**
 * Rows of CSV (RFC 4180), TSV (a tab between fields, quotes are ordinary characters) and Parquet
 * files, by the file's ending, and of queries. Parquet and queries need the module graft-duckdb.
 */
final class Tables {
  private Tables() {}

  /** Takes a table, row by row; it may be larger than memory. */
  interface Rows {
    /** The first row: the names of the columns, or without names the first of the data. */
    void first(List<String> row);

    /**
     * A row of data.
     *
     * @param line where it ends in its file, from 1; its number where there are no lines
     * @param row as text, maybe not as long as the first; a null where there is no value
     */
    void row(long line, List<String> row);
  }

  /** Whether a file's ending is that of a table. */
  static boolean isTable(Path file) {
    String ending = ending(file);
    return ending.equals("csv")
        || ending.equals("tsv")
        || ending.equals("txt")
        || ending.equals("parquet");
  }

  private static String ending(Path file) {
    String name = file.getFileName().toString().toLowerCase(Locale.ROOT);
    return name.substring(name.lastIndexOf('.') + 1);
  }

  /**
   * Hands on every row.
   *
   * @param header whether the first row names the columns; otherwise it is handed on as data, too
   */
  static void forEach(LabelledSource source, boolean header, Rows rows) {
    Path file = source.file();
    if (file == null || ending(file).equals("parquet")) {
      engine(source, header, rows);
    } else if (ending(file).equals("csv")) {
      csv(file, header, rows);
    } else {
      tsv(file, header, rows);
    }
  }

  private static void csv(Path file, boolean header, Rows rows) {
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
      boolean first = true;
      for (CSVRecord record : parser) {
        reader.allow(InputLimits.LINE, tooLong);
        hand(rows, first, header, parser.getCurrentLineNumber(), record.toList());
        first = false;
      }
    } catch (UncheckedIOException e) {
      throw InvalidInputException.of(file, e.getCause());
    } catch (IOException e) {
      throw InvalidInputException.of(file, e);
    }
  }

  private static void tsv(Path file, boolean header, Rows rows) {
    try (LineReader lines = LineReader.open(file)) {
      boolean first = true;
      for (String line = lines.next(); line != null; line = lines.next()) {
        if (!line.isEmpty()) {
          hand(rows, first, header, lines.number(), Arrays.asList(line.split("\t", -1)));
          first = false;
        }
      }
    }
  }

  private static void hand(Rows rows, boolean first, boolean header, long line, List<String> row) {
    if (first) {
      rows.first(row);
    }
    if (!first || !header) {
      rows.row(line, row);
    }
  }

  private static void engine(LabelledSource source, boolean header, Rows rows) {
    if (!header) {
      throw InvalidInputException.of(source.name(), "columns have names here, not numbers");
    }
    engine(source.name())
        .read(
            source,
            new TableEngine.Rows() {
              private long number;

              @Override
              public void columns(List<String> names) {
                rows.first(names);
              }

              @Override
              public void row(List<String> values) {
                rows.row(++number, values);
              }
            });
  }

  private static TableEngine engine(Path name) {
    try {
      return ServiceLoader.load(TableEngine.class)
          .findFirst()
          .orElseThrow(
              () ->
                  InvalidInputException.of(
                      name,
                      "Parquet and SQL are read by the module graft-duckdb, which is not on the"
                          + " class path"));
    } catch (ServiceConfigurationError e) {
      throw InvalidInputException.of(name, "the table engine cannot be used: " + e.getMessage());
    }
  }
}
