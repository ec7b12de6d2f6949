package dev.graft.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermission;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class AtomicFilesTest {
  @TempDir Path directory;

  private List<String> names() throws IOException {
    try (Stream<Path> files = Files.list(directory)) {
      return files.map(file -> file.getFileName().toString()).sorted().toList();
    }
  }

  @Test
  void replacesWhole() throws IOException {
    Path file = directory.resolve("f.txt");
    AtomicFiles.write(file, "ä long text");
    AtomicFiles.write(file, "short");
    assertThat(file).hasContent("short");
    assertThat(names()).containsExactly("f.txt");
    AtomicFiles.write(directory.resolve("new/sub/g"), new byte[] {1});
    assertThat(directory.resolve("new/sub/g")).hasBinaryContent(new byte[] {1});
  }

  @Test
  void aFailureKeepsTheOldAndLeavesNothing() throws IOException {
    Path file = directory.resolve("f.txt");
    AtomicFiles.write(file, "old");
    assertThatThrownBy(
            () ->
                AtomicFiles.write(
                    file,
                    channel -> {
                      AtomicFiles.writeFully(channel, ByteBuffer.wrap(new byte[100]));
                      throw new IOException("No space left on device");
                    }))
        .isInstanceOf(InvalidInputException.class)
        .hasMessage(file + ": No space left on device");
    assertThatThrownBy(
            () ->
                AtomicFiles.write(
                    file,
                    channel -> {
                      throw new IllegalStateException("a mistake");
                    }))
        .isInstanceOf(IllegalStateException.class);
    assertThat(file).hasContent("old");
    assertThat(names()).containsExactly("f.txt");
  }

  @Test
  void whereAFileStandsThereIsNoDirectory() throws IOException {
    Path file = directory.resolve("f.txt");
    AtomicFiles.write(file, "old");
    assertThatThrownBy(() -> AtomicFiles.write(file.resolve("g"), "new"))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageStartingWith(file.resolve("g") + ": ");
    Files.createDirectories(directory.resolve("d/e"));
    assertThatThrownBy(() -> AtomicFiles.write(directory.resolve("d"), "new"))
        .isInstanceOf(InvalidInputException.class);
    assertThat(names()).containsExactly("d", "f.txt");
  }

  /** As any other new file's: not closed to others, as those of Files.createTempFile are. */
  @Test
  void permissionsAreThoseOfTheProcess() throws IOException {
    Path plain = Files.write(directory.resolve("plain"), new byte[1]);
    Path atomic = directory.resolve("atomic");
    AtomicFiles.write(atomic, new byte[1]);
    Set<PosixFilePermission> expected = Files.getPosixFilePermissions(plain);
    assertThat(Files.getPosixFilePermissions(atomic)).isEqualTo(expected);
  }
}
