package dev.graft.data;

import dev.graft.io.InvalidInputException;
import java.nio.file.Path;
import java.util.List;
import java.util.ServiceConfigurationError;
import java.util.ServiceLoader;
import java.util.function.Consumer;

/** Labelled sets out of a {@link TableEngine}. */
final class LabelledTable implements TableEngine.Rows {
  private final Path name;
  private final Columns columns;
  private final Consumer<LabelledExample> sink;
  private TableColumns positions;
  private long number;

  private LabelledTable(LabelledSource source, Columns columns, Consumer<LabelledExample> sink) {
    this.name = source.name();
    this.columns = columns;
    this.sink = sink;
  }

  static void forEach(LabelledSource source, Columns columns, Consumer<LabelledExample> sink) {
    if (!columns.header()) {
      throw InvalidInputException.of(source.name(), "columns have names here, not numbers");
    }
    engine(source.name()).read(source, new LabelledTable(source, columns, sink));
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

  @Override
  public void columns(List<String> names) {
    positions = TableColumns.named(name, names, columns);
  }

  @Override
  public void row(List<String> values) {
    number++;
    if (values.get(positions.text()) == null) {
      throw InvalidInputException.of(name, "row " + number + ": the text is null");
    }
    sink.accept(positions.example(name, number, values));
  }
}
