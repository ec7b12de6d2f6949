package dev.graft.data;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import java.nio.file.Path;
import java.util.Objects;

/**
 * Where a labelled set comes from: a file, or a query.
 *
 * @param file a .csv, .tsv, .jsonl or .parquet file; null for a query
 * @param sql one SELECT statement; null for a file
 * @param database a DuckDB file the query reads from; null for none, for a query that names its
 *     files itself
 */
public record LabelledSource(Path file, String sql, Path database) {
  public LabelledSource {
    if ((file == null) == (sql == null) || (database != null && sql == null)) {
      throw new IllegalArgumentException("a labelled source is a file or a query");
    }
  }

  public static LabelledSource of(Path file) {
    return new LabelledSource(Objects.requireNonNull(file, "file"), null, null);
  }

  /**
   * A query.
   *
   * @param database may be null
   */
  public static LabelledSource of(String sql, Path database) {
    return new LabelledSource(null, Objects.requireNonNull(sql, "sql"), database);
  }

  /** What messages call it. */
  public Path name() {
    return file != null ? file : Path.of("SQL query");
  }

  /** Its form in settings files, paths made absolute: a text for a file, else an object. */
  public JsonNode toJson() {
    if (file != null) {
      return Json.MAPPER.getNodeFactory().textNode(file.toAbsolutePath().toString());
    }
    ObjectNode json = Json.object().put("sql", sql);
    return database == null ? json : json.put("database", database.toAbsolutePath().toString());
  }

  /**
   * Reads {@link #toJson} back.
   *
   * @param settings the file it stands in, for messages
   */
  public static LabelledSource fromJson(Path settings, String field, JsonNode json) {
    if (json.isTextual()) {
      return of(Path.of(json.asText()));
    }
    if (!json.path("sql").isTextual()) {
      throw InvalidInputException.of(settings, field + ": expected a file or a query, got " + json);
    }
    return of(
        json.get("sql").asText(),
        json.has("database") ? Path.of(json.get("database").asText()) : null);
  }

  @Override
  public String toString() {
    return name().toString();
  }
}
