package dev.graft.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.graft.io.InvalidInputException;
import dev.graft.text.TextFixtures;
import dev.graft.text.Tokenizer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DocumentsTest {
  @TempDir Path directory;

  private List<String> documents(DocumentMode mode, String... texts) {
    List<Path> files = new ArrayList<>();
    for (String text : texts) {
      files.add(TextFixtures.write(directory.resolve("f" + files.size()), text));
    }
    List<String> documents = new ArrayList<>();
    StringBuilder open = new StringBuilder();
    Documents.read(
        files,
        mode,
        "text",
        new Documents.Sink() {
          @Override
          public void text(String piece) {
            open.append(piece);
          }

          @Override
          public void endOfDocument() {
            documents.add(open.toString());
            open.setLength(0);
          }
        });
    assertThat(open).isEmpty();
    return documents;
  }

  @Test
  void files() {
    assertThat(documents(DocumentMode.FILE, "a\r\n\r\nb", "", "c"))
        .containsExactly("a\r\n\r\nb", "", "c");
  }

  @Test
  void blocks() {
    assertThat(documents(DocumentMode.BLANK_LINE, "\n\na\n  b \r\n \t\u3000\n\n\nc", "d\n", "\n"))
        .containsExactly("a\n  b ", "c", "d");
  }

  @Test
  void lines() {
    assertThat(documents(DocumentMode.LINE, "a\r\n\n b\rc\n   \nd", "e"))
        .containsExactly("a", " b\rc", "d", "e");
  }

  @Test
  void records() {
    assertThat(
            documents(
                DocumentMode.JSONL,
                "{\"text\": \"a\\n\\nb\", \"n\": 1}\n\n{\"text\": \"\"}\n{\"text\":\"c\"}"))
        .containsExactly("a\n\nb", "c");
    for (String[] bad :
        new String[][] {
          {"{\"text\": \"a\"}\n{\"body\": \"b\"}", "line 2: there is no text field 'text'"},
          {"{\"text\": 1}", "line 1: there is no text field 'text'"},
          {"{\"text\": \"a\"} {\"text\": \"b\"}", "line 1: not valid JSON"},
          {"\n7", "line 2: expected a JSON object"}
        }) {
      assertThatThrownBy(() -> documents(DocumentMode.JSONL, bad[0]))
          .isInstanceOf(InvalidInputException.class)
          .hasMessageStartingWith(directory.resolve("f0") + ": ")
          .hasMessageContaining(bad[1]);
    }
  }

  /** A token may hold a line end and the white space before it. Oracle: the block as one text. */
  @Test
  void aBlocksTokensAreThoseOfItsText() {
    String block = "a  \n   b\n\tc   \n    d ";
    try (Tokenizer tokenizer = Tokenizer.fromPretrained(TextFixtures.path("byte-level-bpe"));
        TokenShards shards =
            TokenShards.build(
                List.of(TextFixtures.write(directory.resolve("block"), block + "\n\n")),
                DocumentMode.BLANK_LINE,
                "text",
                tokenizer,
                directory.resolve("shards"))) {
      int[] expected =
          java.util.Arrays.copyOf(tokenizer.ids(block), tokenizer.ids(block).length + 1);
      expected[expected.length - 1] = tokenizer.eosId();
      assertThat(shards.toArray()).isEqualTo(expected);
    }
  }
}
