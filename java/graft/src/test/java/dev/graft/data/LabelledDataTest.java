package dev.graft.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.graft.io.InvalidInputException;
import dev.graft.text.TextFixtures;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.assertj.core.api.AbstractThrowableAssert;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class LabelledDataTest {
  @TempDir Path directory;

  private Path file(String name, String text) {
    return TextFixtures.write(directory.resolve(name), text);
  }

  private List<LabelledExample> read(String name, String text, Columns columns) {
    return LabelledData.read(file(name, text), columns);
  }

  private AbstractThrowableAssert<?, ?> fails(String name, String text, Columns columns) {
    Path file = file(name, text);
    return assertThatThrownBy(() -> LabelledData.read(file, columns))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageStartingWith(file + ": ");
  }

  @Test
  void quotedFieldsOfCsv() {
    String text =
        "\uFEFFid,text,label\r\n"
            + "1,\"a, \"\"quoted\"\"\nfield\r\nof three lines\",x\r\n"
            + "\r\n"
            + "2,plain \"bare\" quotes,  y  \n"
            + "3,\"\",z";
    assertThat(read("a.csv", text, Columns.detect()))
        .containsExactly(
            new LabelledExample("a, \"quoted\"\nfield\r\nof three lines", null, "x", 4),
            new LabelledExample("plain \"bare\" quotes", null, "y", 6),
            new LabelledExample("", null, "z", 7));
  }

  @Test
  void quotesAreLettersInTsv() {
    String text =
        "\uFEFFQuality\t#1 ID\t#1 String\t#2 String\r\n"
            + "1\t7\t\"Open quote\tits \"\" end\"\r\n"
            + "0\t8\tlone\rreturn\tb\u2028c\r\n";
    assertThat(read("mrpc.txt", text, new Columns("#1 String", "#2 String", "Quality", true)))
        .containsExactly(
            new LabelledExample("\"Open quote", "its \"\" end\"", "1", 2),
            new LabelledExample("lone\rreturn", "b\u2028c", "0", 3));
  }

  @Test
  void jsonLines() {
    String text =
        "{\"text\": \"a\\nb\", \"label\": 1}\n\n"
            + "{\"label\": true, \"text\": \"c\", \"text_b\": \"d\"}\r\n"
            + "{\"text\": \"e\", \"label\": null}\n";
    assertThat(read("a.jsonl", text, Columns.detect()))
        .containsExactly(
            new LabelledExample("a\nb", null, "1", 1),
            new LabelledExample("c", "d", "true", 3),
            new LabelledExample("e", null, null, 4));
  }

  @Test
  void columnsByNumberWithoutHeader() {
    assertThat(read("a.tsv", "x\tone\ny\ttwo\n", new Columns("1", null, "0", false)))
        .extracting(LabelledExample::text, LabelledExample::label)
        .containsExactly(
            org.assertj.core.groups.Tuple.tuple("one", "x"),
            org.assertj.core.groups.Tuple.tuple("two", "y"));
    assertThat(read("b.csv", "only text\n", new Columns(null, null, null, false)))
        .containsExactly(new LabelledExample("only text", null, null, 1));
    fails("a.tsv", "x\ty\n", new Columns("2", null, "0", false))
        .hasMessageContaining("line 1: expected at least 3 fields, got 2");
    fails("a.tsv", "x\ty\n", new Columns("text", null, "0", false))
        .hasMessageContaining("columns are numbers from 0, not 'text'");
    fails("a.tsv", "x\ty\n", new Columns("-1", null, "0", false)).hasMessageContaining("not '-1'");
  }

  @Test
  void labelsInColumnsOfTheirOwn() {
    Columns columns = Columns.ofLabels("text", List.of("price", "staff"));
    Map<String, String> cells = Map.of("price", "1", "staff", "0");
    LabelledExample expected = new LabelledExample("a, b", null, null, cells, 2);
    assertThat(read("a.csv", "staff,text,price\n0,\"a, b\", 1 \n", columns))
        .containsExactly(expected);
    assertThat(read("a.tsv", "price\tstaff\ttext\n1\t0\ta, b\n", columns))
        .containsExactly(expected);
    assertThat(read("a.jsonl", "\n{\"text\": \"a, b\", \"staff\": 0, \"price\": 1}\n", columns))
        .containsExactly(expected);
    List<LabelledExample> rows = read("b.tsv", "0\tx\t1\n", new Columns("1", null, "2,0", false));
    assertThat(rows.get(0).cells()).containsExactly(Map.entry("2", "1"), Map.entry("0", "0"));
    // A column of just this name is one column.
    assertThat(read("c.csv", "text,\"price,staff\"\nx,good\n", columns))
        .containsExactly(new LabelledExample("x", null, "good", 2));
    fails("d.csv", "text,price\nx,1\n", columns)
        .hasMessageContaining("there is no column 'staff'; the columns are [text, price]");
    fails("d.jsonl", "{\"text\": \"x\", \"price\": 1}\n", columns)
        .hasMessageContaining("line 1: there is no field 'staff'");
    fails("e.csv", "text,price\nx,1\n", Columns.of("text", "price,price"))
        .hasMessageContaining("'price' is named twice");
    fails("f.tsv", "0\tx\t1\n", new Columns("1", null, "2,3", false))
        .hasMessageContaining("expected at least 4 fields, got 3");
    assertThatThrownBy(() -> Columns.ofLabels("text", List.of("a,b", "c")))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("'a,b'");
  }

  @Test
  void wrongColumnNamesListTheAvailableOnes() {
    fails("a.csv", "text,label\na,b\n", Columns.of("body", "label"))
        .hasMessageContaining("there is no column 'body'; the columns are [text, label]");
    fails("a.csv", "foo,bar\na,b\n", Columns.detect())
        .hasMessageContaining("name the text column: there are [foo, bar]");
    fails("a.csv", "text,text,label\na,b,c\n", Columns.detect())
        .hasMessageContaining("two columns are named 'text': [text, text, label]");
    fails("a.jsonl", "{\"foo\": 1}\n", Columns.detect())
        .hasMessageContaining("line 1: no field is named")
        .hasMessageContaining("there are [foo]");
    fails("a.jsonl", "{\"text\": \"a\"}\n", Columns.of("body", null))
        .hasMessageContaining("line 1: there is no field 'body'; there are [text]");
    fails("a.jsonl", "{\"text\": \"a\"}\n", Columns.of("text", "mood"))
        .hasMessageContaining("no record has a field 'mood'; the last one has [text]");
  }

  @ParameterizedTest
  @CsvSource({
    "a.csv, 'text,label|a,b|c|', 'line 3: expected 2 fields, got 1'",
    "a.csv, 'text,label|a,b,c|', 'line 2: expected 2 fields, got 3'",
    "a.tsv, 'text\tlabel|a|', 'line 2: expected 2 fields, got 1'",
    "a.tsv, 'text\tlabel|a\tb\tc|', 'line 2: expected 2 fields, got 3'",
    "a.csv, 'text,label|\"a,b|', 'EOF reached before encapsulated token finished'",
    "a.csv, 'text,label|\"a\"b,c|', 'Invalid character between encapsulated token'",
    "a.csv, '', 'there are no examples in it'",
    "a.csv, 'text,label|', 'there are no examples in it'",
    "a.tsv, '||', 'there are no examples in it'",
    "a.jsonl, '', 'there are no examples in it'",
    "a.jsonl, '{\"text\": \"a\"|', 'line 1: not valid JSON'",
    "a.jsonl, '|{\"text\": \"a\"} {}|', 'line 2: not valid JSON'",
    "a.jsonl, '[1]|', 'line 1: expected a JSON object'",
    "a.jsonl, '{\"text\": [1]}|', 'line 1: field ''text'' is not a text or number'",
    "a.xml, 'a|', 'expected a .csv, .tsv, .jsonl or .parquet file'"
  })
  void brokenFilesNameLineAndCause(String name, String text, String message) {
    fails(name, text == null ? "" : text.replace('|', '\n'), Columns.detect())
        .hasMessageContaining(message);
  }

  @Test
  void notUtf8NamesTheByte() throws IOException {
    byte[] bytes = "text,label\nabc,d\nx?,y\n".getBytes();
    int bad = 18;
    bytes[bad] = (byte) 0xE9;
    for (String name : List.of("a.csv", "a.tsv", "a.jsonl")) {
      Path file = Files.write(directory.resolve(name), bytes);
      if (name.equals("a.jsonl")) {
        byte[] json = "{\"text\": \"?\"}\n".getBytes();
        json[10] = (byte) 0xE9;
        Files.write(file, json);
      } else if (name.equals("a.tsv")) {
        Files.write(
            file,
            new String(bytes, java.nio.charset.StandardCharsets.ISO_8859_1)
                .replace(',', '\t')
                .getBytes(java.nio.charset.StandardCharsets.ISO_8859_1));
      }
      assertThatThrownBy(() -> LabelledData.read(file, Columns.detect()))
          .isInstanceOf(InvalidInputException.class)
          .hasMessage(
              file + ": at byte " + (name.equals("a.jsonl") ? 10 : bad) + ": not valid UTF-8");
    }
    assertThatThrownBy(() -> LabelledData.read(directory.resolve("no.csv"), Columns.detect()))
        .isInstanceOf(InvalidInputException.class)
        .hasMessage(directory.resolve("no.csv") + ": no such file");
  }

  @Test
  void largeFieldsComeThroughWhole() {
    String large = "wörd ".repeat(400_000);
    for (String name : List.of("a.csv", "a.tsv")) {
      String between = name.endsWith("csv") ? "," : "\t";
      List<LabelledExample> examples =
          read(name, "text" + between + "label\n" + large + between + "x\n", Columns.detect());
      assertThat(examples).hasSize(1);
      assertThat(examples.get(0).text().equals(large)).isTrue();
    }
  }

  @Test
  void labelsAreNamedByLine() {
    List<LabelledExample> examples =
        read("a.csv", "text,label\na,1\nb,10\nc,2\nd,\n", Columns.detect());
    assertThatThrownBy(() -> LabelSet.of(examples, "a.csv"))
        .isInstanceOf(InvalidInputException.class)
        .hasMessage("a.csv: line 5: an example has no label: d");
    LabelSet labels = LabelSet.of(examples.subList(0, 3), "a.csv");
    assertThat(labels.names()).containsExactly("1", "2", "10");
    assertThat(labels.id(examples.get(1), "a.csv")).isEqualTo(2);
    assertThatThrownBy(() -> labels.id(new LabelledExample("x", null, "7", 9), "b.csv"))
        .isInstanceOf(InvalidInputException.class)
        .hasMessage("b.csv: line 9: the label '7' is not one of the 3 classes [1, 2, 10]");
    assertThat(
            LabelSet.of(
                    List.of(new LabelledExample("a", "b2"), new LabelledExample("a", "b10")), "x")
                .names())
        .containsExactly("b10", "b2");
    assertThatThrownBy(() -> LabelSet.of(examples.subList(0, 1), "a.csv"))
        .hasMessageContaining("at least two classes");
    assertThatThrownBy(() -> new LabelSet(List.of("a", "a"))).hasMessageContaining("named twice");
  }
}
