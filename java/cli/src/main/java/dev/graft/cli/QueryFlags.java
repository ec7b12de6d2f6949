package dev.graft.cli;

import dev.graft.data.LabelledSource;
import dev.graft.io.InvalidInputException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import picocli.CommandLine.Option;

/** Where queries read from. */
final class QueryFlags {
  @Option(
      names = "--database",
      paramLabel = "FILE",
      order = 6,
      description = "DuckDB file that SQL reads from; without it SQL names its files itself.")
  Path database;

  /** Refuses a database that none of the command's queries would read. */
  void require(String... queries) {
    if (database != null && Arrays.stream(queries).allMatch(Objects::isNull)) {
      throw new InvalidInputException("--database: there is no SQL to read from it");
    }
  }

  /** The one labelled set an option and its form with -sql name; null if neither was given. */
  LabelledSource source(String option, List<Path> files, String sql) {
    if (files != null && sql != null) {
      throw new InvalidInputException(option + " and " + option + "-sql: give one of them");
    }
    if (sql != null) {
      return LabelledSource.of(sql, database);
    }
    if (files == null) {
      return null;
    }
    if (files.size() != 1) {
      throw new InvalidInputException(
          option + ": labelled texts are one file, got " + files.size());
    }
    return LabelledSource.of(files.get(0));
  }
}
