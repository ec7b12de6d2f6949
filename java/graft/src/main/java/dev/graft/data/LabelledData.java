package dev.graft.data;

import dev.graft.io.InvalidInputException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.function.Consumer;

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
    forEach(LabelledSource.of(file), columns, sink);
  }

  /** Hands on one example of a file or a query after the other. */
  public static void forEach(
      LabelledSource source, Columns columns, Consumer<LabelledExample> sink) {
    long[] count = {0};
    Consumer<LabelledExample> counted =
        example -> {
          count[0]++;
          sink.accept(example);
        };
    Path file = source.file();
    if (file != null && isJsonLines(file)) {
      LabelledJson.forEach(file, columns, counted);
    } else if (file == null || Tables.isTable(file)) {
      Tables.forEach(source, columns.header(), new Table(source.name(), columns, counted));
    } else {
      throw InvalidInputException.of(file, "expected a .csv, .tsv, .jsonl or .parquet file");
    }
    if (count[0] == 0) {
      throw InvalidInputException.of(source.name(), "there are no examples in it");
    }
  }

  static boolean isJsonLines(Path file) {
    String name = file.getFileName().toString().toLowerCase(Locale.ROOT);
    return name.endsWith(".jsonl") || name.endsWith(".ndjson");
  }

  /** Rows as examples. */
  private static final class Table implements Tables.Rows {
    private final Path name;
    private final Columns columns;
    private final Consumer<LabelledExample> sink;
    private TableColumns positions;

    Table(Path name, Columns columns, Consumer<LabelledExample> sink) {
      this.name = name;
      this.columns = columns;
      this.sink = sink;
    }

    @Override
    public void first(List<String> row) {
      positions =
          columns.header()
              ? TableColumns.named(name, row, columns)
              : TableColumns.numbered(name, row, columns);
    }

    @Override
    public void row(long line, List<String> row) {
      LabelledExample example = positions.example(name, line, row);
      if (example.text() == null) {
        throw InvalidInputException.of(name, "row " + line + ": the text is null");
      }
      sink.accept(example);
    }
  }
}
