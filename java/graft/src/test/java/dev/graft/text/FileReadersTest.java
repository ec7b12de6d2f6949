package dev.graft.text;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.graft.io.InputLimits;
import dev.graft.io.InvalidInputException;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class FileReadersTest {
  @TempDir Path directory;

  private List<String> lines(String text) {
    List<String> lines = new ArrayList<>();
    try (LineReader reader =
        LineReader.open(TextFixtures.write(directory.resolve("lines.txt"), text))) {
      for (String line = reader.next(); line != null; line = reader.next()) {
        lines.add(line);
        assertThat(reader.number()).isEqualTo(lines.size());
      }
      assertThat(reader.next()).isNull();
    }
    return lines;
  }

  @Test
  void lineEnds() {
    assertThat(lines("")).isEmpty();
    assertThat(lines("\n")).containsExactly("");
    assertThat(lines("a")).containsExactly("a");
    assertThat(lines("a\n")).containsExactly("a");
    assertThat(lines("a\r\nb\n\r\nc\r")).containsExactly("a", "b", "", "c");
    assertThat(lines("\uFEFFa\nb\uFEFF")).containsExactly("a", "b\uFEFF");
    assertThat(lines("a\rb\u2028c\u0085d\u000be\n")).containsExactly("a\rb\u2028c\u0085d\u000be");
  }

  @Test
  void longLinesAndBufferBorders() {
    List<String> expected = new ArrayList<>();
    for (int n : new int[] {0, 1, 32766, 32767, 32768, 32769, 65535, 65536, 65537, 200_000}) {
      expected.add("é".repeat(n));
    }
    assertThat(lines(String.join("\n", expected))).isEqualTo(expected);
    assertThat(lines(String.join("\r\n", expected) + "\r\n")).isEqualTo(expected);
  }

  @Test
  void aLineLongerThanTheLimitIsRefused() throws IOException {
    Path file = directory.resolve("long.txt");
    byte[] part = new byte[1 << 20];
    Arrays.fill(part, (byte) 'x');
    try (OutputStream out = Files.newOutputStream(file)) {
      out.write('\n');
      for (int i = 0; i <= InputLimits.LINE >> 20; i++) {
        out.write(part);
      }
    }
    try (LineReader reader = LineReader.open(file)) {
      assertThat(reader.next()).isEmpty();
      assertThatThrownBy(reader::next)
          .isInstanceOf(InvalidInputException.class)
          .hasMessage(file + ": line 2: longer than a line may be (67108864 bytes)");
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 1, 7, 65533, 65534, 65535, 65536, 65537, 200_001})
  void theFirstBadByteIsNamed(int offset) throws IOException {
    byte[][] bad = {
      {(byte) 0x80}, // a continuation without a beginning
      {(byte) 0xC0, (byte) 0x80}, // overlong
      {(byte) 0xED, (byte) 0xA0, (byte) 0x80}, // half a surrogate pair
      {(byte) 0xF4, (byte) 0x90, (byte) 0x80, (byte) 0x80}, // beyond U+10FFFF
      {(byte) 0xE4, (byte) 0xB8} // the file ends within a character
    };
    for (byte[] bytes : bad) {
      byte[] all = new byte[offset + bytes.length];
      Arrays.fill(all, (byte) 'a');
      System.arraycopy(bytes, 0, all, offset, bytes.length);
      Path file = Files.write(directory.resolve("bad.txt"), all);
      assertThatThrownBy(() -> TextReader.pieces(file, piece -> {}))
          .isInstanceOf(InvalidInputException.class)
          .hasMessage(file + ": at byte " + offset + ": not valid UTF-8");
      if (offset > 1) {
        all[offset / 2] = '\n';
        Files.write(file, all);
      }
      try (LineReader lines = LineReader.open(file)) {
        if (offset > 1) {
          assertThat(lines.next()).hasSize(offset / 2);
        }
        assertThatThrownBy(lines::next)
            .hasMessage(file + ": at byte " + offset + ": not valid UTF-8");
      }
    }
  }

  @Test
  void charactersAcrossBufferBorders() throws IOException {
    for (int shift = 0; shift < 4; shift++) {
      String text = "a".repeat(shift) + "\uD83D\uDE00中é".repeat(30_000);
      Path file = directory.resolve("wide.txt");
      Files.write(file, text.getBytes(StandardCharsets.UTF_8));
      assertThat(TextReader.read(file, Integer.MAX_VALUE)).isEqualTo(text);
      assertThatThrownBy(() -> TextReader.read(file, text.length() - 1))
          .isInstanceOf(InvalidInputException.class)
          .hasMessageContaining("wide.txt: larger than this file may be");
    }
  }

  @Test
  void missingFilesAndDirectories() {
    assertThatThrownBy(() -> new Utf8Reader(directory.resolve("none.txt")))
        .isInstanceOf(InvalidInputException.class)
        .hasMessage(directory.resolve("none.txt") + ": no such file");
    assertThatThrownBy(() -> TextReader.pieces(directory, piece -> {}))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageStartingWith(directory + ": ");
  }
}
