package dev.graft.duckdb;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.graft.Dataset;
import dev.graft.data.Columns;
import dev.graft.data.LabelledExample;
import dev.graft.data.LabelledSource;
import dev.graft.data.PromptData;
import dev.graft.data.PromptExample;
import dev.graft.data.TableEngine;
import dev.graft.io.InvalidInputException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class DuckDbEngineTest {
  private static final List<LabelledExample> ROWS =
      List.of(
          new LabelledExample("good 好 ‍ 'x'", null, "1", 1),
          new LabelledExample("line\nbreak\ttab", null, "0", 2),
          new LabelledExample("", null, null, 3));

  @TempDir Path folder;
  private Path parquet;
  private Path database;

  @BeforeEach
  void write() {
    parquet = folder.resolve("it's [1] *.parquet");
    database = folder.resolve("reviews.duckdb");
    String rows =
        "(VALUES ('good 好 ‍ ''x''', 1), ('line\nbreak\ttab', 0), ('', NULL)) AS t(text, label)";
    unguarded(
        "",
        "COPY (SELECT * FROM "
            + rows
            + ") TO '"
            + parquet.toString().replace("'", "''")
            + "' (FORMAT parquet)");
    unguarded(database.toString(), "CREATE TABLE reviews AS SELECT * FROM " + rows);
  }

  private static void unguarded(String database, String... statements) {
    try (Connection connection = DriverManager.getConnection("jdbc:duckdb:" + database);
        Statement statement = connection.createStatement()) {
      for (String sql : statements) {
        statement.execute(sql);
      }
    } catch (SQLException e) {
      throw new IllegalStateException(e);
    }
  }

  private List<Path> files() {
    try (Stream<Path> files = Files.walk(folder)) {
      return files.sorted().toList();
    } catch (IOException e) {
      throw new IllegalStateException(e);
    }
  }

  private static Dataset sql(String sql, Path database) {
    return Dataset.streamed(LabelledSource.of(sql, database), Columns.detect());
  }

  @Test
  void parquetFile() {
    assertThat(Dataset.fromFile(parquet).examples()).isEqualTo(ROWS);
    assertThat(Dataset.streamed(parquet, Columns.of("text", "label")).examples()).isEqualTo(ROWS);
    assertThatThrownBy(() -> Dataset.fromFile(parquet, Columns.of("words", "label")))
        .isInstanceOf(InvalidInputException.class)
        .hasMessage(parquet + ": there is no column 'words'; the columns are [text, label]");
    assertThatThrownBy(() -> Dataset.fromFile(parquet, new Columns("0", null, "1", false)))
        .isInstanceOf(InvalidInputException.class)
        .hasMessage(parquet + ": columns have names here, not numbers");
  }

  @Test
  void promptsFromParquet() {
    Path prompts = folder.resolve("prompts.parquet");
    unguarded(
        "",
        "COPY (SELECT * FROM (VALUES ('a\nb', 's', 1), ('c', NULL, 2)) AS t(document, summary, id)) TO '"
            + prompts
            + "' (FORMAT parquet)");
    assertThat(PromptData.readPrompts(prompts))
        .containsExactly(
            new PromptExample("a\nb", null, "s", 1), new PromptExample("c", null, null, 2));
    assertThatThrownBy(() -> PromptData.read(prompts))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining("line 2: there is no text to learn");
  }

  @Test
  void filesThatAreNone() throws IOException {
    Path missing = folder.resolve("none.parquet");
    assertThatThrownBy(() -> Dataset.fromFile(missing))
        .isInstanceOf(InvalidInputException.class)
        .hasMessage(missing + ": no such file");
    Path broken = Files.writeString(folder.resolve("broken.parquet"), "PAR1 and no more");
    Path cut = folder.resolve("cut.parquet");
    byte[] bytes = Files.readAllBytes(parquet);
    Files.write(cut, Arrays.copyOf(bytes, bytes.length / 2));
    for (Path file : List.of(broken, cut)) {
      assertThatThrownBy(() -> Dataset.fromFile(file))
          .isInstanceOf(InvalidInputException.class)
          .hasMessageStartingWith(file + ": ")
          .hasMessageNotContaining("\n");
    }
    Path text = Files.writeString(folder.resolve("text.duckdb"), "not a database ".repeat(2000));
    assertThatThrownBy(() -> sql("SELECT 1 AS text", text).examples())
        .isInstanceOf(InvalidInputException.class)
        .hasMessageNotContaining("\n");
  }

  @Test
  void nullTexts() {
    assertThatThrownBy(
            () -> sql("SELECT 'a' AS text UNION ALL SELECT NULL ORDER BY 1", null).examples())
        .isInstanceOf(InvalidInputException.class)
        .hasMessage("SQL query: row 2: the text is null");
    assertThatThrownBy(() -> sql("SELECT 'a' AS text WHERE false", null).examples())
        .isInstanceOf(InvalidInputException.class)
        .hasMessage("SQL query: there are no examples in it");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "SELECT text, label FROM reviews",
        "FROM reviews;",
        "WITH r AS (SELECT * FROM reviews) SELECT * FROM r -- done",
        "/* first */ SELECT text, CAST(label AS VARCHAR) AS label FROM reviews",
        "(SELECT * FROM reviews LIMIT 2) UNION ALL (SELECT * FROM reviews OFFSET 2)",
      })
  void queriesOfDatabase(String query) throws IOException {
    byte[] before = Files.readAllBytes(database);
    List<Path> files = files();
    assertThat(sql(query, database).examples()).isEqualTo(ROWS);
    assertThat(Files.readAllBytes(database)).isEqualTo(before);
    assertThat(files()).isEqualTo(files);
  }

  @Test
  void queriesOfFiles() throws IOException {
    Path csv = Files.writeString(folder.resolve("more.csv"), "text,label\nfine,1\n");
    String path = folder.toString().replace("'", "''");
    assertThat(
            sql(
                    "SELECT * FROM read_csv('"
                        + path
                        + "/more.csv') UNION ALL SELECT * FROM '"
                        + path
                        + "/it*.parquet' WHERE label = 0",
                    null)
                .examples())
        .extracting(LabelledExample::text)
        .containsExactlyInAnyOrder("fine", "line\nbreak\ttab");
    assertThat(csv).exists();
  }

  /** Fifty million rows, more than the heap holds; stopped behind the millionth. */
  @Test
  void streamed() {
    RuntimeException enough = new RuntimeException("enough");
    List<String> seen = new ArrayList<>();
    long[] count = {0};
    assertThatThrownBy(
            () ->
                sql(
                        "SELECT repeat('x', 300) || i AS text, i % 7 AS label FROM range(50000000)"
                            + " t(i)",
                        null)
                    .forEach(
                        example -> {
                          if (count[0]++ % 250_000 == 0) {
                            seen.add(example.text().substring(300) + " " + example.label());
                          }
                          if (count[0] == 1_000_000) {
                            throw enough;
                          }
                        }))
        .isSameAs(enough);
    assertThat(seen).containsExactly("0 0", "250000 2", "500000 4", "750000 6");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "ATTACH 'x.db' | one SELECT",
        "COPY reviews TO 'out.csv' | one SELECT",
        "COPY (SELECT 1) TO 'out.parquet' (FORMAT parquet) | one SELECT",
        "INSTALL httpfs | one SELECT",
        "LOAD httpfs | one SELECT",
        "PRAGMA database_list | one SELECT",
        "CALL enable_logging() | one SELECT",
        "SET threads = 1 | one SELECT",
        "CREATE TABLE t AS SELECT 1 | one SELECT",
        "INSERT INTO reviews VALUES ('x', 1) | one SELECT",
        "INSERT INTO reviews VALUES ('x', 1) RETURNING text | one SELECT",
        "DELETE FROM reviews | one SELECT",
        "DROP TABLE reviews | one SELECT",
        "EXPORT DATABASE 'out' | one SELECT",
        "EXPLAIN ANALYZE SELECT 1 | one SELECT",
        "EXECUTE x | one SELECT",
        "CHECKPOINT | one SELECT",
        "SELECT 1; SELECT 2 | one SELECT",
        "SELECT 1; DROP TABLE reviews | one SELECT",
        "SELECT 1;; COPY reviews TO 'out.csv' | one SELECT",
        "`` | one SELECT",
        "-- nothing | one SELECT",
        "SELEC 1 | syntax error",
        "SELECT 'open | unterminated",
        "WITH t AS (INSERT INTO reviews VALUES ('x', 1) RETURNING *) FROM t | INSERT is not allowed",
        "WITH t AS (DELETE FROM reviews RETURNING *) SELECT * FROM t | DELETE is not allowed",
        "SELECT * FROM enable_logging(storage_path = 'out') | enable_logging is not allowed",
        "SELECT * FROM system.main.ENABLE_PROFILING() | enable_profiling is not allowed",
        "SELECT 1 AS text WHERE 1 IN (SELECT * FROM checkpoint()) | checkpoint is not allowed",
        "SELECT * FROM query('SELECT 1') | query is not allowed",
        "SELECT * FROM arrow_scan(1, 2, 3) | arrow_scan is not allowed",
        "SELECT * FROM read_duckdb('reviews.duckdb') | read_duckdb is not allowed",
        "SELECT * FROM 'reviews.duckdb' | not as a table: reviews.duckdb",
        "SELECT 1 AS text UNION ALL SELECT text FROM '/tmp/x.DB' | not as a table: /tmp/x.DB",
        "SELECT * FROM 'dir/*.ddb' | not as a table: dir/*.ddb",
        "SELECT write_log('x') AS text | write_log is not allowed",
        "SELECT nextval('s') AS text | nextval is not allowed",
        "SELECT ? AS text | has no value",
        "SELECT * FROM 'http://localhost:1/x.parquet' | httpfs",
        "SELECT * FROM read_csv('s3://bucket/x.csv') | httpfs",
        "SELECT * FROM nowhere | nowhere",
      })
  void refused(String query, String cause) {
    List<Path> files = files();
    for (Path from : new Path[] {database, null}) {
      assertThatThrownBy(() -> sql(query == null ? "" : query, from).examples())
          .isInstanceOf(InvalidInputException.class)
          .hasMessageStartingWith("SQL query: ")
          .hasMessageContaining(cause)
          .hasMessageNotContaining("\n");
    }
    assertThat(files()).isEqualTo(files);
    assertThat(Path.of("out.csv")).doesNotExist();
    assertThat(Path.of("out.parquet")).doesNotExist();
    assertThat(Path.of("x.db")).doesNotExist();
    assertThat(Path.of(".tmp")).doesNotExist();
  }

  /** Nothing goes to disk, so what does not fit into memory fails. */
  @Test
  void nothingSpills() {
    List<Path> files = files();
    LabelledSource sort =
        LabelledSource.of(
            "SELECT repeat('x', 1000) || i AS text FROM range(1000000) t(i) ORDER BY text", null);
    TableEngine.Rows none =
        new TableEngine.Rows() {
          @Override
          public void columns(List<String> names) {}

          @Override
          public void row(List<String> values) {}
        };
    assertThatThrownBy(() -> new DuckDbEngine("100MB").read(sort, none))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageStartingWith("SQL query: Out of Memory Error")
        .hasMessageNotContaining("\n");
    assertThat(files()).isEqualTo(files);
    assertThat(Path.of(".tmp")).doesNotExist();
  }

  @Test
  void viewsAndMacros() {
    unguarded(
        database.toString(),
        "CREATE VIEW logs AS SELECT * FROM duckdb_logs",
        "CREATE MACRO twice(x) AS x || x",
        "CREATE VIEW doubled AS SELECT twice(text) AS text FROM reviews");
    assertThat(sql("SELECT text FROM doubled WHERE text <> '' LIMIT 1", database).examples())
        .hasSize(1);
    unguarded(database.toString(), "CREATE VIEW bad AS SELECT * FROM pragma_user_agent()");
    assertThatThrownBy(() -> sql("SELECT 'x' AS text", database).examples())
        .isInstanceOf(InvalidInputException.class)
        .hasMessage(
            "SQL query: a view or macro of the database calls pragma_user_agent, which is not"
                + " allowed");
  }
}
