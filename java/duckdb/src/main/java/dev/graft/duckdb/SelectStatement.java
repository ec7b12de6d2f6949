package dev.graft.duckdb;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.graft.io.InvalidInputException;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Lets one SELECT through and nothing else. DuckDB's own parser takes the text apart, so what is
 * judged is what will run; the tree may hold selections only, and of functions that make tables
 * those that read.
 */
final class SelectStatement {
  /** Nodes of a query that only read; a WITH may also hold an INSERT, UPDATE or DELETE. */
  private static final Set<String> NODES =
      Set.of("SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE");

  /** Not query: its text would escape this check. Not arrow_scan: it reads bare addresses. */
  private static final Set<String> TABLE_FUNCTIONS =
      Set.of(
          "generate_series",
          "glob",
          "json_each",
          "json_tree",
          "parquet_file_metadata",
          "parquet_kv_metadata",
          "parquet_metadata",
          "parquet_scan",
          "parquet_schema",
          "range",
          "read_blob",
          "read_csv",
          "read_csv_auto",
          "read_json",
          "read_json_auto",
          "read_json_objects",
          "read_json_objects_auto",
          "read_ndjson",
          "read_ndjson_auto",
          "read_ndjson_objects",
          "read_parquet",
          "read_text",
          "repeat",
          "repeat_row",
          "unnest");

  private static final Set<String> REFUSED_FUNCTIONS =
      Set.of("nextval", "setseed", "setval", "write_log");

  private static final ObjectMapper JSON = new ObjectMapper();
  private static final Pattern CALL = Pattern.compile("([A-Za-z_][A-Za-z_0-9]*)\"?\\s*\\(");

  private static final Pattern DATABASE =
      Pattern.compile("\\.(db|ddb|duckdb)\\s*$", Pattern.CASE_INSENSITIVE);

  private SelectStatement() {}

  /**
   * @throws InvalidInputException if {@code sql} is anything but one SELECT that only reads
   */
  static void require(Connection connection, Path name, String sql) throws SQLException {
    JsonNode tree = parse(connection, name, sql);
    if (tree.path("error").asBoolean(true)) {
      String why = tree.path("error_message").asText("cannot be parsed");
      throw InvalidInputException.of(
          name,
          tree.path("error_type").asText().equals("parser")
              ? why.lines().findFirst().orElse(why)
              : "expected one SELECT statement and nothing else");
    }
    if (tree.path("statements").size() != 1) {
      throw InvalidInputException.of(
          name, "expected one SELECT statement, got " + tree.path("statements").size());
    }
    walk(name, tree);
    views(connection, name);
  }

  private static JsonNode parse(Connection connection, Path name, String sql) throws SQLException {
    try (PreparedStatement statement =
        connection.prepareStatement("SELECT json_serialize_sql(?::VARCHAR)")) {
      statement.setString(1, sql);
      try (ResultSet result = statement.executeQuery()) {
        result.next();
        return JSON.readTree(result.getString(1));
      }
    } catch (JsonProcessingException e) {
      throw InvalidInputException.of(name, "too deeply nested to be checked");
    }
  }

  private static void walk(Path name, JsonNode node) {
    String type = node.path("type").asText();
    if (type.endsWith("_NODE") && !NODES.contains(type)) {
      throw InvalidInputException.of(
          name,
          "only reads: "
              + type.replaceAll("(_QUERY)?_NODE$", "").replace('_', ' ')
              + " is not allowed");
    }
    if (type.equals("TABLE_FUNCTION")) {
      JsonNode function = node.path("function");
      String called = function.path("function_name").asText().toLowerCase(Locale.ROOT);
      if (!TABLE_FUNCTIONS.contains(called)) {
        throw InvalidInputException.of(name, "the table function " + called + " is not allowed");
      }
    }
    // A database named as a table is opened with all its views, and not for reading only.
    if (type.equals("BASE_TABLE") && DATABASE.matcher(node.path("table_name").asText()).find()) {
      throw InvalidInputException.of(
          name, "another database is read by --database, not as a table: " + oneLine(node));
    }
    String function = node.path("function_name").asText().toLowerCase(Locale.ROOT);
    if (REFUSED_FUNCTIONS.contains(function)) {
      throw InvalidInputException.of(name, "the function " + function + " is not allowed");
    }
    if (type.equals("VALUE_PARAMETER")) {
      throw InvalidInputException.of(name, "a parameter (?, $1) has no value here");
    }
    node.forEach(child -> walk(name, child));
  }

  private static String oneLine(JsonNode table) {
    return table.path("table_name").asText().replaceAll("\\R", " ");
  }

  /** A database brings views and macros of its own, which the query's tree does not show. */
  private static void views(Connection connection, Path name) throws SQLException {
    List<String> definitions = new ArrayList<>();
    Set<String> own = new HashSet<>();
    try (PreparedStatement statement =
            connection.prepareStatement(
                "SELECT sql, NULL FROM duckdb_views() WHERE NOT internal UNION ALL SELECT"
                    + " macro_definition, function_name FROM duckdb_functions() WHERE NOT internal"
                    + " AND macro_definition IS NOT NULL");
        ResultSet result = statement.executeQuery()) {
      while (result.next()) {
        definitions.add(result.getString(1));
        own.add(result.getString(2));
      }
    }
    if (definitions.isEmpty()) {
      return;
    }
    Set<String> makesTables = new HashSet<>(REFUSED_FUNCTIONS);
    try (PreparedStatement statement =
            connection.prepareStatement(
                "SELECT function_name FROM duckdb_functions() WHERE function_type IN ('table',"
                    + " 'pragma')");
        ResultSet result = statement.executeQuery()) {
      while (result.next()) {
        makesTables.add(result.getString(1));
      }
    }
    makesTables.removeAll(TABLE_FUNCTIONS);
    for (String definition : definitions) {
      Matcher call = CALL.matcher(definition);
      while (call.find()) {
        String called = call.group(1).toLowerCase(Locale.ROOT);
        if (makesTables.contains(called) && !own.contains(called)) {
          throw InvalidInputException.of(
              name, "a view or macro of the database calls " + called + ", which is not allowed");
        }
      }
    }
  }
}
