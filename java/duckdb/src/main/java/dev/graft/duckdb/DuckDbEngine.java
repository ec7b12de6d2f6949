package dev.graft.duckdb;

import dev.graft.data.LabelledSource;
import dev.graft.data.TableEngine;
import dev.graft.io.InvalidInputException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Properties;
import java.util.regex.Pattern;
import org.duckdb.DuckDBDriver;

/**
 * Reads Parquet files and the rows of a SELECT by DuckDB, in this process.
 *
 * <p>The engine is shut in before it sees a query: a database is opened for reading only, no
 * extension is installed or loaded, nothing spills to disk, and the settings are locked. Of a query
 * it takes what {@link SelectStatement} lets through; a Parquet file is the only file it may open.
 * Rows are streamed.
 */
public final class DuckDbEngine implements TableEngine {
  private static final Pattern GLOB = Pattern.compile("[*?\\[]");

  private final String memory;

  /** With at most a quarter of the machine's memory; the model needs some too. */
  public DuckDbEngine() {
    this("25%");
  }

  DuckDbEngine(String memory) {
    this.memory = memory;
  }

  @Override
  public void read(LabelledSource source, Rows rows) {
    try (Connection connection = connect(source, true)) {
      shutIn(connection, source);
      if (source.sql() != null) {
        SelectStatement.require(connection, source.name(), source.sql());
      }
      try (PreparedStatement statement = connection.prepareStatement(select(source));
          ResultSet results = execute(statement, source)) {
        handOn(results, rows);
      }
    } catch (SQLException e) {
      throw InvalidInputException.of(source.name(), message(e));
    }
  }

  /**
   * Of a query that fails before its first row a streaming driver only says that there is no
   * result. The whole result, within the same memory, fails with the cause.
   */
  private ResultSet execute(PreparedStatement statement, LabelledSource source)
      throws SQLException {
    try {
      return statement.executeQuery();
    } catch (SQLException e) {
      if (!message(e).contains("Invalid result set")) {
        throw e;
      }
      try (Connection again = connect(source, false)) {
        shutIn(again, source);
        try (PreparedStatement whole = again.prepareStatement(select(source))) {
          whole.executeQuery().close();
        }
      }
      throw e;
    }
  }

  private static Connection connect(LabelledSource source, boolean stream) throws SQLException {
    Path file = source.database() != null ? source.database() : source.file();
    if (file != null && !Files.isRegularFile(file)) {
      throw InvalidInputException.of(file, "no such file");
    }
    Properties properties = new Properties();
    properties.put("jdbc_stream_results", String.valueOf(stream));
    String url = "jdbc:duckdb:";
    if (source.database() != null) {
      String path = source.database().toAbsolutePath().toString();
      if (path.indexOf(';') >= 0) {
        throw InvalidInputException.of(source.database(), "a database's path has no semicolon");
      }
      url += path;
      properties.put("access_mode", "READ_ONLY");
    }
    return new DuckDBDriver().connect(url, properties);
  }

  private void shutIn(Connection connection, LabelledSource source) throws SQLException {
    List<String> settings =
        new ArrayList<>(
            List.of(
                "autoinstall_known_extensions = false",
                "autoload_known_extensions = false",
                "allow_community_extensions = false",
                "allow_persistent_secrets = false",
                "temp_directory = ''",
                "memory_limit = '" + memory + "'"));
    if (source.file() != null) {
      // The pattern too: it is what is asked for, and it matches this file alone.
      String path = source.file().toAbsolutePath().toString();
      settings.add("allowed_paths = [" + quote(path) + ", " + quote(pattern(path)) + "]");
      settings.add("enable_external_access = false");
    }
    settings.add("lock_configuration = true");
    try (Statement statement = connection.createStatement()) {
      for (String setting : settings) {
        statement.execute("SET " + setting);
      }
    }
  }

  private static String select(LabelledSource source) {
    if (source.sql() != null) {
      return source.sql();
    }
    String path = source.file().toAbsolutePath().toString();
    return "SELECT * FROM read_parquet(" + quote(pattern(path)) + ")";
  }

  /** The pattern that matches one file: its signs for any character taken literally. */
  private static String pattern(String path) {
    return GLOB.matcher(path).replaceAll("[$0]");
  }

  private static String quote(String text) {
    return "'" + text.replace("'", "''") + "'";
  }

  private static void handOn(ResultSet results, Rows rows) throws SQLException {
    String[] values = new String[results.getMetaData().getColumnCount()];
    List<String> view = Arrays.asList(values);
    for (int c = 0; c < values.length; c++) {
      values[c] = results.getMetaData().getColumnLabel(c + 1);
    }
    rows.columns(List.copyOf(view));
    while (results.next()) {
      for (int c = 0; c < values.length; c++) {
        values[c] = results.getString(c + 1);
      }
      rows.row(view);
    }
  }

  /** The first line; the rest repeats the query and advises to install things. */
  static String message(SQLException e) {
    String text = String.valueOf(e.getMessage()).strip();
    return text.lines().findFirst().orElse("failed without a message");
  }
}
