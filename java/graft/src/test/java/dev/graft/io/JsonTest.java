package dev.graft.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class JsonTest {
  @TempDir Path directory;

  private void refused(String json, String message) throws IOException {
    Path file = Files.writeString(directory.resolve("a.json"), json);
    assertThatThrownBy(() -> Json.readObject(file))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageStartingWith(file + ": ")
        .hasMessageContaining(message);
  }

  @Test
  void limitsAndErrors() throws IOException {
    refused("", "expected a JSON object");
    refused("[]", "expected a JSON object");
    refused("{\"a\":1,\"a\":2}", "Duplicate field 'a'");
    refused("{\"a\":1}x", "at byte 8: not valid JSON");
    refused("{\"a\":NaN}", "not valid JSON");
    refused("{\"a\":" + "[".repeat(300) + "]".repeat(300) + "}", "nesting depth");
    refused("{\"a\":" + "9".repeat(500) + "}", "Number value length");
    refused("{\"a\":\"\\uD8\"}", "at byte");
    Path bad = directory.resolve("bad.json");
    Files.write(bad, new byte[] {'{', '"', (byte) 0xFF, '"', ':', '1', '}'});
    assertThatThrownBy(() -> Json.readObject(bad))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageStartingWith(bad + ": at byte ");
  }

  @Test
  void filesLargerThanTheLimitAreNotRead() throws IOException {
    Path file = directory.resolve("large.json");
    try (RandomAccessFile sparse = new RandomAccessFile(file.toFile(), "rw")) {
      sparse.setLength(InputLimits.JSON_FILE + 1);
    }
    assertThatThrownBy(() -> Json.readObject(file))
        .isInstanceOf(InvalidInputException.class)
        .hasMessage(file + ": larger than a JSON file may be (128 MiB)");
  }

  @Test
  void whatIsWrittenIsRead() {
    var node = Json.object().put("a", "ü\n\uD83D\uDE00").put("b", 1.5);
    Path file = directory.resolve("a.json");
    for (String text : new String[] {Json.line(node), Json.pretty(node)}) {
      AtomicFiles.write(file, text);
      assertThat(Json.readObject(file)).isEqualTo(node);
    }
    assertThat(Json.parseObject(file, Json.bytes(node))).isEqualTo(node);
  }

  @Test
  void whatAMessageQuotesStaysOnItsLine() {
    Path file = Path.of("f");
    assertThat(InvalidInputException.of(file, "the columns are [a\nb\u001B[2J\u2028c]"))
        .hasMessage("f: the columns are [a\\nb\\u001B[2J\\u2028c]");
    assertThat(InvalidInputException.of(file, "x".repeat(1 << 20)).getMessage())
        .hasSizeLessThan(2010)
        .endsWith("x…");
  }

  @Test
  void modelDirectories() throws IOException {
    assertThatThrownBy(() -> ModelDirectory.resolve("no-such/model"))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining("no such directory");
    assertThatThrownBy(() -> ModelDirectory.resolve("a/b/c"))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageStartingWith("a/b/c: no such directory, and no model's name on a hub: ");
    assertThatThrownBy(() -> ModelDirectory.resolve("/no/such/dir"))
        .hasMessage("/no/such/dir: no such directory");
    assertThatThrownBy(() -> ModelDirectory.resolve("a\0b")).hasMessageContaining("not a path");
    Path file = Files.writeString(directory.resolve("f"), "x");
    assertThatThrownBy(() -> ModelDirectory.resolve(file))
        .hasMessageContaining("expected a model directory, this is a file");
    assertThatThrownBy(() -> ModelDirectory.resolve(directory).readConfig())
        .hasMessage(directory.resolve("config.json") + ": no such file");
  }
}
